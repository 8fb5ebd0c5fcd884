"""A ledger in a file: Optuna's journal, one JSON object a line, read and written by this module.

Optuna's own reader builds an object of every line since the beginning, in every process. This one
reads what is new since it last looked, or since a snapshot that lies beside the journal, and builds
what somebody asks for: opening a study takes as long with 100,000 trials as with ten. The file is
Optuna's all the same, and so is what its dashboard shows.

It is safe in two ways. Its lock is `flock`, which the kernel releases when the holder dies. And a
line that a kill or a full disk has torn is cut off before the next one is written.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from caviar.base.errors import SearchFailed
from caviar.base.files import append_synced
from caviar.ledger import snapshot
from caviar.ledger.operations import RUNNING, WAITING, Operation
from caviar.ledger.overview import UNFINISHED, Overview, statuses_of
from caviar.ledger.replay import Replay, Stage
from caviar.ledger.tries import Try

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

WRITER = "caviar"  # the format wants a name; Optuna raises errors over its own lines alone
SNAPSHOT = ".npz"  # behind the journal's name
# Bytes of a journal that are replayed rather than read from a snapshot: some 20 ms. A snapshot is
# larger the longer the study is, so they grow with it, or a study would write little else.
TAIL, SHARE = 1 << 18, 1 / 64
PAUSE = 5.0  # seconds between two snapshots of one process

Mark = tuple[Replay, int]  # what was read, and how much of it


class Journal:
    """The studies and trials of a journal, as they are now.

    Arguments:
        path: of the file, made if missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.open("ab").close()
        self._lock = threading.RLock()
        self._replay, self._upto = snapshot.load(self._beside, path) or (Replay(), 0)
        self._saved, self._saved_at = self._upto, -PAUSE
        self._sync()

    @property
    def _beside(self) -> Path:
        return self.path.with_name(self.path.name + SNAPSHOT)

    @cached_property
    def optuna(self) -> BaseStorage:
        """The same file as one of Optuna's own storages, for its own tools, such as pruners."""
        import optuna
        from optuna.storages.journal import JournalFileBackend

        path = self.path

        class Backend(JournalFileBackend):
            def append_logs(self, logs: list[dict[str, Any]]) -> None:
                _append(path, logs)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.storages.JournalStorage(Backend(str(path)))

    def write(self, operations: Sequence[Operation]) -> None:
        """Let operations take effect, in their order: all of them, or none.

        Raises:
            OSError: the disk is full; the file is as it was.
            SearchFailed: the file was removed.
        """
        if operations:
            self._sync()  # it is there: else this would make another, of half a study
            _append(self.path, [{**operation, "worker_id": WRITER} for operation in operations])

    # -- what it says now

    def stages(self) -> Mapping[str, int]:
        """Every study's name → its number, in the order in which they were begun."""
        return {stage.name: number for number, stage in self._now().stages.items()}

    def stage(self, study: int) -> Stage:
        """One of them.

        Raises:
            KeyError: it was deleted.
        """
        return self._now().stages[study]

    def tries(self, study: int, numbers: Sequence[int], own: Mapping[int, int]) -> list[Try]:
        """The latest tries of some trials of a stage.

        Arguments:
            study: the stage.
            numbers: of the trials.
            own: number → another try, which is read in place of the latest.

        Raises:
            IndexError: there is no such trial.
        """
        with self._lock:
            latest = self.stage(study).latest
            return self._read([own.get(n, latest[n]) for n in numbers])

    def states(self, study: int) -> list[tuple[int, int]]:
        """By the trials' numbers, each one's latest try and its state."""
        with self._lock:
            latest = self.stage(study).latest
            states = self._replay.columns["state"]
            return [(trial, states[trial]) for trial in latest]

    def overview(self, study: int) -> Overview:
        """Of a stage, from the columns."""
        with self._lock:
            stage, replay = self.stage(study), self._replay
            latest = np.array(stage.latest, np.intc)

            def column(name: str) -> np.ndarray:
                values = replay.columns[name]
                return np.frombuffer(values, values.typecode)[latest] if values else np.empty(0)

            states = np.select([column("state") == s for s in (WAITING, RUNNING)], [0, 1], 2)
            faults = column("faults")
            some = np.flatnonzero(faults)
            return Overview(
                statuses=[*UNFINISHED, *replay.ends],
                codes=statuses_of(states, column("end"), replay.ends),
                values=column("best"),
                seconds=column("seconds"),
                faults=dict(zip(some.tolist(), faults[some].tolist(), strict=True)),
                started=column("started"),
                versions=replay.versions,
                version_of=column("code"),
                mode=stage.mode,
            )

    def mark(self, study: int) -> Mark:
        """Of now, for `changed`."""
        with self._lock:
            return self._now(), len(self._replay.touched)

    def changed(self, study: int, since: Mark | None) -> tuple[Mark, list[Try]]:
        """The latest tries of the trials that were written of since a mark; and the mark for the
        next time.

        Arguments:
            study: whose trials.
            since: a mark that this has given; None for all trials.
        """
        with self._lock:
            latest, columns = self.stage(study).latest, self._replay.columns
            mark = self.mark(study)
            if since is None or since[0] is not self._replay:
                return mark, self._read(latest)
            touched = dict.fromkeys(self._replay.touched[since[1] :])
            numbers = {columns["number"][t] for t in touched if columns["study"][t] == study}
            return mark, self._read([latest[number] for number in sorted(numbers)])

    def _read(self, ids: Sequence[int]) -> list[Try]:
        with self._lines() as line:
            return [self._replay.read(trial, line) for trial in ids]

    def _now(self) -> Replay:
        self._sync()
        return self._replay

    def _sync(self) -> None:
        """Read what was appended since the last look."""
        try:
            if os.stat(self.path).st_size == self._upto:
                return
        except FileNotFoundError:
            raise self._removed() from None
        with self._lock, open(self.path, "rb", buffering=0) as file:
            # Not while somebody writes: what a full disk refuses is taken back.
            fcntl.flock(file, fcntl.LOCK_SH)
            size = os.fstat(file.fileno()).st_size
            if size == 0:  # made anew by somebody who wrote in it, or by a lock on it
                raise self._removed()
            if size < self._upto:  # another file under this name
                self._replay, self._upto = Replay(), 0
            file.seek(self._upto)
            text = file.readall()
            fcntl.flock(file, fcntl.LOCK_UN)
            self._take(text)
            if self._upto - self._saved > max(TAIL, SHARE * self._size()):
                self._save()

    def _removed(self) -> SearchFailed:
        return SearchFailed(
            f"{self.path} was removed while it was in use, with all results in it; put the study's "
            "folder back, or run the command again to begin anew"
        )

    def _take(self, text: bytes) -> None:
        start = 0
        while (end := text.find(b"\n", start)) >= 0:  # a torn last line is cut off some day
            self._replay.apply(text[start:end], self._upto)
            self._upto += end + 1 - start
            start = end + 1

    def _size(self) -> int:
        """Of a snapshot, in bytes."""
        return sum(c.itemsize * len(c) for c in self._replay.columns.values())

    def _save(self) -> None:
        if time.monotonic() - self._saved_at > PAUSE:
            snapshot.save(self._replay, self._beside, self.path, self._upto)
            self._saved, self._saved_at = self._upto, time.monotonic()

    @contextmanager
    def _lines(self) -> Iterator[Callable[[int], bytes]]:
        """Gives the line that begins at a byte."""
        file = os.open(self.path, os.O_RDONLY)

        def line(at: int) -> bytes:
            size = 2048
            while (end := (text := os.pread(file, size, at)).find(b"\n")) < 0:
                if len(text) < size:
                    raise OSError(f"{self.path} was replaced")
                size *= 4
            return text[:end]

        try:
            yield line
        finally:
            os.close(file)


def _append(path: Path, operations: Sequence[Mapping[str, Any]]) -> None:
    lines = "".join(json.dumps(o, separators=(",", ":")) + "\n" for o in operations)
    append_synced(path, lines.encode())
