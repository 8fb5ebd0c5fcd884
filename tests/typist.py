"""Types commands, each into a process of its own that has torch imported already.

    echo '["caviar", "status"]' | python tests/typist.py

A line of JSON on stdin is a command's words, `python train.py …` or `caviar …`; the answer is a
line with its exit code, what it printed and its warnings. A fresh process for a command takes five
seconds, most of them imports; a fork of one that has imported, and run, nothing else takes none.

    echo '["caviar", "status"]' | python tests/typist.py 80

Each in a terminal of its own, of 80 columns; then what it printed is what it wrote to its terminal.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import runpy
import struct
import sys
import tempfile
import termios
from contextlib import suppress
from pathlib import Path
from typing import NoReturn


def run(words: list[str]) -> NoReturn:
    """Be the process of a command, to its end."""
    program, *arguments = words
    code = 0
    try:
        sys.argv = arguments if program == "python" else [program, *arguments]
        if program == "python":
            sys.path[0] = str(Path(arguments[0]).resolve().parent)
            runpy.run_path(arguments[0], run_name="__main__")
        else:
            from caviar.cli import main as caviar

            caviar()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def in_files(words: list[str]) -> tuple[int, str, str]:
    """A command whose output goes into files: its exit code, and what is in them."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            run(words)
        _, status = os.waitpid(pid, 0)
        out.seek(0)
        err.seek(0)
        return os.waitstatus_to_exitcode(status), out.read(), err.read()


def in_terminal(words: list[str], columns: int) -> tuple[int, str, str]:
    """A command in a terminal: its exit code, and what it wrote there."""
    from caviar.screen import view

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    pid = os.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.setsid()
        for number in (0, 1, 2):
            os.dup2(theirs, number)
        os.closerange(3, ours + 2)
        # It was made where no terminal was, and others have it by name.
        view.console.__init__(highlight=False, soft_wrap=True, markup=False)
        run(words)
    os.close(theirs)
    wrote = b""
    with suppress(OSError):  # it has ended
        while read := os.read(ours, 65536):
            wrote += read
    _, status = os.waitpid(pid, 0)
    os.close(ours)
    return os.waitstatus_to_exitcode(status), wrote.decode(), ""


def main() -> None:
    import caviar.app
    import caviar.cli
    import caviar.training  # noqa: F401  torch and Lightning, which take the time

    columns = int(sys.argv[1]) if sys.argv[1:] else None
    for line in sys.stdin:
        words = json.loads(line)
        answer = in_terminal(words, columns) if columns else in_files(words)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
