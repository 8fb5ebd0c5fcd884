"""From other terminals to the run, and back: what is asked of it, and how it gets there.

A file in `inbox/` is a request, one in `outbox/` its answer. Files are written whole, taken in the
order in which they came, and answered by the run that took them. Whether a run is there at all, a
lock tells, which the kernel frees when it dies: no file that a killed run left behind can lie. A
run that goes back hands it on to the process that takes its place, so that it is there meanwhile,
and whatever is asked of it waits.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from caviar.base.environment import PANDA_LOCK
from caviar.base.errors import UserError
from caviar.base.files import replaced
from caviar.config.commands import caviar_command
from caviar.panda.journal import (
    MOVES,
    STOP,
    Journal,
    Lineage,
    back_event,
    checkpoint_of,
    moved_words,
    shown,
)
from caviar.panda.nudge import Change, Nudge, checked_changes, refuse_short

INBOX, OUTBOX, LOCK = "inbox", "outbox", "run.lock"
POLL = 0.05  # seconds between looks for an answer
AGAIN = 1.0  # seconds between the run's looks into the inbox, whatever its date says


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
        self._changed = 0  # the inbox's date when nothing was left in it, in ns
        self._looked = 0.0  # when the run last looked into it

    # -- the run's side

    def clear(self) -> None:
        """Forget what was asked of a run that has ended."""
        for folder in (INBOX, OUTBOX):
            for path in (self.folder / folder).glob("*.json"):
                path.unlink(missing_ok=True)

    def poll(self) -> Request | None:
        """The oldest request, asked for before every step: it takes microseconds without one.

        Only the folder's date is read, unless it has changed. Some file systems tell time in
        seconds, so that a second request in one of them leaves the date as it was: hence `AGAIN`.
        """
        try:
            changed = os.stat(self.folder / INBOX).st_mtime_ns
        except FileNotFoundError:
            return None
        now = time.monotonic()
        if changed == self._changed and now <= self._looked + AGAIN:
            return None
        request = self.take()
        self._looked = now
        self._changed = 0 if request is not None else changed  # there may be another one
        return request

    def take(self) -> Request | None:
        """The oldest request, which is gone from the folder then; None if there is none.

        Whoever removes the file decides: the run, that it is done, or who asked, that it is not.
        """
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

    def answer(self, request: Request, **words: Any) -> None:
        """Tell the other terminal what became of its request.

        Raises:
            OSError: the disk is full.
        """
        (self.folder / OUTBOX).mkdir(parents=True, exist_ok=True)
        with replaced(self.folder / OUTBOX / request.name) as partial:
            partial.write_text(json.dumps(words), encoding="utf-8")

    # -- the other terminal's side

    def ask(self, what: Mapping[str, Any], patience: float) -> dict[str, Any]:
        """Make a request and wait for its answer.

        Arguments:
            what: is asked for, as JSON.
            patience: seconds for the run to take it, and again as many to answer.

        Raises:
            UserError: no run is there, it ended, or it did not take the request in time, which is
                withdrawn then; or it took it and says nothing, and may have done it.
        """
        if not is_running(self.folder):
            raise UserError(not_running(self.folder))
        (self.folder / INBOX).mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.json"
        answer, request = self.folder / OUTBOX / name, self.folder / INBOX / name
        with replaced(request) as partial:
            partial.write_text(json.dumps(dict(what)), encoding="utf-8")
        until, taken = time.monotonic() + patience, False
        try:
            while True:
                gone = not is_running(self.folder)  # before the look, so that no answer is missed
                if answer.exists():
                    words: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
                    answer.unlink()
                    return words
                if not taken and not request.exists():
                    until, taken = time.monotonic() + patience, True
                late = time.monotonic() > until
                if taken and gone:
                    raise UserError("the run took this and ended; see caviar panda log")
                if taken and late:  # its disk may be full: the answer is a file as well
                    raise UserError(
                        "the run took this, but has not answered; see caviar panda log for whether "
                        "it was done"
                    )
                if not taken and (gone or late) and _removed(request):
                    why = "ended before it took this" if gone else "has not answered"
                    raise UserError(f"the run {why}; nothing was changed")
                time.sleep(POLL)
        finally:
            _removed(request)  # also on Ctrl-C: what nobody waits for is not to happen


def _removed(path: Path) -> bool:
    """Whether it was this call that removed the file, and not the run that took it."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


# -- what is asked


def nudge(
    folder: Path, overrides: Sequence[str], why: str, force: bool, patience: float
) -> list[str]:
    """Change values of the run; a line for each that is in force.

    Raises:
        UserError: a change that cannot be, or no run that could take it.
    """
    if not is_running(folder):
        raise UserError(not_running(folder))
    checked_changes(folder, overrides, force)
    # As it was typed: the run reads it once more, and another nudge may come before this one.
    answer = _asked(folder, {"set": list(overrides), "force": force, "why": why}, patience)
    changes = [Change(key, old, new) for key, (old, new) in answer["changes"].items()]
    place = f"step {answer['step']}, epoch {answer['epoch']}"
    lines = [
        f"{c.key} {shown(c.old)} → {shown(c.new)}, in force {c.when} of {place}" for c in changes
    ]
    if moved := moved_words(answer.get(MOVES, [])):
        lines.append(f"{moved}{'' if lines else f', in force within one step of {place}'}")
    if moved or any(c.key.startswith(("optimizer.lr", "scheduler.")) for c in changes):
        lrs = answer["lr"] if isinstance(answer["lr"], list) else [answer["lr"]]
        lines.append(f"the next step has lr {', '.join(f'{lr:.6g}' for lr in lrs)}")
    return lines


def go_back(
    folder: Path, to: str, overrides: Sequence[str], why: str, force: bool, patience: float
) -> str:
    """Go on from an earlier day; of a run that is stopped, when it is started again.

    Raises:
        UserError: there is no such day, or a change that cannot be.
    """
    day = day_number(to)
    journal = Journal(folder)
    lineage = Lineage.of(journal.events())
    path = checkpoint_of(folder, lineage, day)
    if path is not None and not path.is_file():
        raise UserError(f"the checkpoint of day {day} is gone: {path}")
    nudge = checked_changes(folder, overrides, force) if overrides else Nudge([])
    refuse_short(nudge.changes, [e for e in lineage.days() if e.day <= day])
    if is_running(folder):
        _asked(folder, {"back": day, "set": list(overrides), "force": force, "why": why}, patience)
        return f"back to day {day}; the run goes on from there as a new branch"
    with running(folder):  # so that no run begins while its journal is written by another
        left, written = lineage.events[-1].step, nudge.written
        journal.write(back_event(lineage.events, day, left, written, why, **nudge.facts))
    return f"back to day {day}; go on: {caviar_command('panda start', folder.name)}"


def stop_run(folder: Path, patience: float) -> str:
    """Let the run leave, and wait until it has.

    Raises:
        UserError: none is there.
    """
    answer = _asked(folder, {"stop": True}, patience)
    until = time.monotonic() + patience
    while is_running(folder) and time.monotonic() < until:
        time.sleep(POLL)
    start = caviar_command("panda start", folder.name)
    last = Journal(folder).events()[-1]
    if last.kind != STOP:  # a validation, or a checkpoint on a slow disk
        return f"it stops behind step {answer['step']}; then go on: {start}"
    return f"stopped at step {last.step}; go on: {start}"


def _asked(folder: Path, what: Mapping[str, Any], patience: float) -> dict[str, Any]:
    answer = Inbox(folder).ask(what, patience)
    if "error" in answer:
        raise UserError(f"the run refused: {answer['error']}")
    return answer


def day_number(text: str) -> int:
    """Of `day3` or `3`.

    Raises:
        UserError: it is no day.
    """
    match = re.fullmatch(r"(?:day\s*)?(\d+)", text.strip())
    if match is None:
        raise UserError(f"{text} is no day; write day3, or 3; day0 is the beginning")
    return int(match[1])


# -- whether a run is there


def not_running(folder: Path) -> str:
    """What to do about a run that is not there."""
    return (
        f"{folder.name} does not run; {caviar_command('panda start', folder.name)} goes on with "
        "it, and takes changes too"
    )


def run_state(folder: Path, lineage: Lineage) -> str:
    """`running`, `stopped`, `finished` or `diverged`: the word for screen and page alike."""
    return "running" if is_running(folder) else lineage.ending


def is_running(folder: Path) -> bool:
    """Whether another process trains in this folder."""
    path = folder / LOCK
    if not path.exists() or handed_on(folder) is not None:
        return False
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def running(folder: Path) -> Iterator[IO[bytes]]:
    """Be the process that trains in this folder; the file whose lock says so, for `hand_on`.

    Raises:
        UserError: another one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handed = handed_on(folder)
    with open(folder / LOCK if handed is None else handed, "ab") as file:
        os.environ.pop(PANDA_LOCK, None)
        os.set_inheritable(file.fileno(), False)  # not for the processes that it starts
        until = time.monotonic() + 1
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # also if it is held already
                break
            except BlockingIOError:  # perhaps by `is_running`, which holds it for microseconds
                if time.monotonic() > until:
                    watch = caviar_command("panda watch", folder.name)
                    raise UserError(f"{folder.name} runs already; {watch} shows it") from None
                time.sleep(POLL)
        yield file


def hand_on(file: IO[bytes]) -> dict[str, str]:
    """Let the lock outlive this process's program, for the one that takes its place.

    Returns:
        What that one finds it by, in its environment.
    """
    os.set_inheritable(file.fileno(), True)
    return {PANDA_LOCK: str(file.fileno())}


def handed_on(folder: Path) -> int | None:
    """The open file of the lock that this process was handed on and has not taken up yet."""
    try:
        number = int(os.environ[PANDA_LOCK])
        same = os.path.samestat(os.fstat(number), os.stat(folder / LOCK))
    except (KeyError, ValueError, OSError):
        return None
    return number if same else None
