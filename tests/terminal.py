"""A `caviar` command in a terminal of its own: what it draws, and keys typed into it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from select import select

from conftest import ROOT


class Terminal:
    """A process, and what its terminal has shown so far."""

    def __init__(self, process: subprocess.Popen[bytes], ours: int) -> None:
        self.process, self._ours = process, ours
        self.seen = ""

    def sees(self, text: str) -> bool:
        """Whether it has shown a text by now."""
        while select([self._ours], [], [], 0)[0]:
            try:
                self.seen += os.read(self._ours, 65536).decode(errors="replace")
            except OSError:  # it has ended
                break
        return text in self.seen

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    """`caviar …`, which ends with the block at the latest."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "34"}
    process = subprocess.Popen(
        [sys.executable, "-c", "from caviar.cli import main; main()", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
