"""From other terminals to the run, and back: a file for each request, and one for its answer.

Files are written whole, taken in the order in which they came, and answered by the run that took
them. Whether a run is there at all, a lock tells, which the kernel frees when it dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caviar.base.errors import UserError
from caviar.base.files import replaced

INBOX, OUTBOX, LOCK = "inbox", "outbox", "run.lock"
POLL = 0.05  # seconds between looks for an answer


@dataclass(frozen=True)
class Request:
    """What a run is asked for."""

    name: str
    """Sorts by the time at which it was made."""
    what: Mapping[str, Any]


class Inbox:
    """The requests to the run in a study's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # -- the run's side

    def clear(self) -> None:
        """Forget what was asked of a run that has ended."""
        for folder in (INBOX, OUTBOX):
            for path in (self.folder / folder).glob("*.json"):
                path.unlink(missing_ok=True)

    def take(self) -> Request | None:
        """The oldest request, which is gone from the folder then; None if there is none."""
        try:
            names = sorted(e.name for e in os.scandir(self.folder / INBOX) if e.name[0] != ".")
        except FileNotFoundError:
            return None
        for name in names:
            path = self.folder / INBOX / name
            with suppress(FileNotFoundError, ValueError):  # withdrawn meanwhile
                what = json.loads(path.read_text(encoding="utf-8"))
                path.unlink()
                return Request(name, what)
        return None

    def answer(self, request: Request, **said: Any) -> None:
        """Tell the other terminal what became of its request."""
        (self.folder / OUTBOX).mkdir(parents=True, exist_ok=True)
        with replaced(self.folder / OUTBOX / request.name) as partial:
            partial.write_text(json.dumps(said), encoding="utf-8")

    # -- the other terminal's side

    def ask(self, what: Mapping[str, Any], patience: float) -> dict[str, Any]:
        """Make a request and wait for its answer.

        Raises:
            UserError: no run is there, it ended, or it did not answer in time; the request is
                withdrawn then.
        """
        if not is_running(self.folder):
            raise UserError(not_running(self.folder))
        (self.folder / INBOX).mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.json"
        with replaced(self.folder / INBOX / name) as partial:
            partial.write_text(json.dumps(dict(what)), encoding="utf-8")
        until = time.monotonic() + patience
        answer, request = self.folder / OUTBOX / name, self.folder / INBOX / name
        try:
            while True:
                gone = not is_running(self.folder)  # before the look, so that no answer is missed
                if answer.exists():
                    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
                    answer.unlink()
                    return found
                if not request.exists() and gone:
                    raise UserError("the run took this and ended; see caviar panda log")
                if request.exists() and (gone or time.monotonic() > until):
                    why = "ended before it took this" if gone else "has not answered"
                    raise UserError(f"the run {why}; nothing was changed")
                time.sleep(POLL)
        finally:
            with suppress(FileNotFoundError):
                request.unlink()


def not_running(folder: Path) -> str:
    """What to do about a run that is not there."""
    return (
        f"{folder.name} does not run; caviar panda start search.study={folder.name} goes on with "
        "it, and takes changes too"
    )


def is_running(folder: Path) -> bool:
    """Whether a process trains in this folder."""
    path = folder / LOCK
    if not path.exists():
        return False
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """Be the process that trains in this folder.

    Raises:
        UserError: another one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "ab") as file:
        until = time.monotonic() + 1
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # perhaps by somebody who looks whether it runs
                if time.monotonic() > until:
                    raise UserError(
                        f"{folder.name} runs already; caviar panda watch shows it"
                    ) from None
                time.sleep(POLL)
        yield
