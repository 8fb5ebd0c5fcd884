"""Who has which trial, and whether they are still alive.

A running trial belongs to one process. Where the ledger is a file, that process holds a file
lock, which the kernel releases at its death, whatever it died of: no clock, no process number
that may be used again. Where the ledger is a database, the worker may be on another machine, and
shows by heartbeats, timed by the database's own clock, that it lives.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from caviar.base.files import locked

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

MISSED_BEATS = 6  # and a worker is taken for dead


class Claims(Protocol):
    """What a ledger needs to know of running trials, by Optuna's numbers."""

    def exclusive(self) -> AbstractContextManager[object]:
        """Hold the whole study: claims, and everything that only one process may do at a time."""

    def take(self, study_id: int, trial_id: int, running: bool) -> bool:
        """Make the trial this process's; False where a living process has it. Call exclusively."""

    def drop(self, trial_id: int) -> None:
        """Let go of a trial that this process has."""

    def abandoned(self, study_id: int, trial_ids: list[int]) -> set[int]:
        """Those of the running trials whose process is dead."""


class FileClaims:
    """A locked file for each running trial, in a folder beside the ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: dict[int, int] = {}  # trial → file descriptor

    def exclusive(self) -> AbstractContextManager[object]:
        self.folder.mkdir(parents=True, exist_ok=True)
        return locked(self.folder / "all")

    def take(self, study_id: int, trial_id: int, running: bool) -> bool:
        descriptor = self._lock(trial_id)
        if descriptor is None:
            return False
        self._held[trial_id] = descriptor
        return True

    def drop(self, trial_id: int) -> None:
        descriptor = self._held.pop(trial_id, None)
        if descriptor is not None:
            with suppress(OSError):  # of a folder that became read-only
                os.unlink(self._path(trial_id))
            os.close(descriptor)

    def abandoned(self, study_id: int, trial_ids: list[int]) -> set[int]:
        free = set()
        for trial_id in trial_ids:
            if trial_id in self._held:
                continue
            # Not over a file that is gone: looking should leave none behind.
            if not self._path(trial_id).exists():
                free.add(trial_id)
            elif (descriptor := self._lock(trial_id)) is not None:
                free.add(trial_id)
                os.close(descriptor)
        return free

    def _path(self, trial_id: int) -> Path:
        return self.folder / str(trial_id)

    def _lock(self, trial_id: int) -> int | None:
        path = self._path(trial_id)
        while True:
            descriptor = _opened(path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            # Its holder may have removed it between our opening and our locking.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
            os.close(descriptor)


def _opened(path: Path) -> int:
    """A file descriptor; more of them than a system allows at first, for who claims hundreds."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if error.errno != errno.EMFILE or soft == hard:
            raise
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


class Heartbeats:
    """A sign of life in the database, every few seconds, from a thread of the worker, for each of
    its trials."""

    def __init__(self, storage: RDBStorage, study: str) -> None:
        self.storage = storage
        # Advisory locks have numbers: this one is the study's.
        self._number = zlib.crc32(f"caviar/{study}".encode())
        self._held: set[int] = set()
        self._lock = threading.Lock()  # of what is held, and whether the thread runs
        self._beating = False

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        from sqlalchemy import text

        from caviar.ledger.connections import operation

        with operation(self.storage), self.storage.engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": self._number})
            yield

    def take(self, study_id: int, trial_id: int, running: bool) -> bool:
        if running and trial_id not in self.abandoned(study_id, [trial_id]):
            return False
        self.storage.record_heartbeat(trial_id)
        with self._lock:
            self._held.add(trial_id)
            if not self._beating:
                self._beating = True
                threading.Thread(target=self._beat, daemon=True).start()
        return True

    def drop(self, trial_id: int) -> None:
        with self._lock:
            self._held.discard(trial_id)

    def abandoned(self, study_id: int, trial_ids: list[int]) -> set[int]:
        return {*self.storage._get_stale_trial_ids(study_id)} & {*trial_ids}

    def _beat(self) -> None:
        while True:
            time.sleep(self.storage.heartbeat_interval or 0)
            with self._lock:
                held = [*self._held]
                if not held:
                    self._beating = False
                    return
            for trial_id in held:
                with suppress(Exception):  # the database is away for a while: the next may pass
                    self.storage.record_heartbeat(trial_id)
