"""A snapshot of a journal: the columns of its replay, so that nobody replays it from its beginning.

    save(replay, path, journal, upto)        # study.journal.npz, beside the journal
    replay, upto = load(path, journal)

It is derived from the journal and holds nothing of its own. It says up to which byte it goes and
what stood before that byte; one that does not fit, or is damaged, is as good as none. Others may
write into a study's folder, so it is plain arrays and JSON, and nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from caviar.ledger.replay import COLUMNS, NONE, OF_LINES, OF_POINTS, OF_TRIES, Replay, Stage

VERSION = 1
BEFORE = 4096  # bytes before its end that it knows the journal by


def save(replay: Replay, path: Path, journal: Path, upto: int) -> None:
    """Write a snapshot, whole or not at all. What cannot be written is left: a disk may be full.

    Arguments:
        replay: of the journal, up to the byte `upto`.
        path: of the snapshot.
        journal: of the journal.
        upto: where a line ends.
    """
    stages = {
        number: {k: v for k, v in asdict(stage).items() if k != "latest"}
        for number, stage in replay.stages.items()
    }
    head = {
        "version": VERSION,
        "upto": upto,
        "before": _before(journal, upto),
        "made": replay.made,
        "ends": replay.ends,
        "versions": replay.versions,
        "stages": stages,
    }
    columns = {n: np.frombuffer(c, c.typecode) for n, c in replay.columns.items() if len(c)}
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    # Not synced: after a power loss it may be damaged, which `load` sees.
    with suppress(OSError):
        try:
            with open(partial, "wb") as file:
                text = np.frombuffer(json.dumps(head).encode(), np.uint8)
                np.savez(file, allow_pickle=False, head=text, **columns)
            os.replace(partial, path)
        finally:
            with suppress(FileNotFoundError):
                partial.unlink()


def load(path: Path, journal: Path) -> tuple[Replay, int] | None:
    """A replay, and up to which byte it goes; None if no snapshot fits the journal."""
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            head = json.loads(file["head"].tobytes())
            if head["version"] != VERSION or head["before"] != _before(journal, head["upto"]):
                return None
            columns = {n: _column(n, file) for n in COLUMNS}
        replay = Replay()
        replay.made, replay.ends, replay.columns = head["made"], [*head["ends"]], columns
        replay.versions = [*head["versions"]]
        replay.stages = {int(n): Stage(**stage) for n, stage in head["stages"].items()}
        _check(columns, len(replay.ends), len(replay.versions), head["upto"])
        _number(replay)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, BadZipFile):
        return None
    return replay, head["upto"]


def _column(name: str, file: Any) -> array[Any]:
    column: array[Any] = array(COLUMNS[name])
    if name in file.files:
        values = file[name]
        if values.dtype != np.dtype(column.typecode) or values.ndim != 1:
            raise ValueError(name)
        column.frombytes(values.data.cast("B"))
    return column


def _check(columns: dict[str, array[Any]], ends: int, versions: int, upto: int) -> None:
    """Let no place in a damaged snapshot lead out of its columns, or out of the journal.

    Raises:
        ValueError: one does.
    """
    for group in (OF_TRIES, OF_LINES, OF_POINTS):
        if len({len(columns[name]) for name in group}) != 1:
            raise ValueError(f"columns of unlike lengths: {group}")
    lines, points = len(columns["line_at"]), len(columns["point"])
    itself = {"line_before": lines, "point_before": points}
    limits = {
        "code": versions,
        "told": lines,
        "curve": points,
        "end": ends,
        "made_at": upto,
        "line_at": upto,
    }
    for name, limit in (limits | itself).items():
        values = np.frombuffer(columns[name], columns[name].typecode) if columns[name] else None
        if values is None:
            continue
        # A chain leads backwards, so that it comes to an end.
        highest = np.arange(limit) if name in itself else limit
        if (values < NONE).any() or (values >= highest).any():
            raise ValueError(name)


def _number(replay: Replay) -> None:
    """Which try is the latest of each trial."""
    if not replay.columns["study"]:
        return
    studies, numbers = (np.frombuffer(replay.columns[n], np.intc) for n in ("study", "number"))
    for study, stage in replay.stages.items():
        tries = np.flatnonzero(studies == study).astype(np.intc)
        own = numbers[tries]
        count = int(own.max()) + 1 if len(own) else 0
        latest = np.full(count, NONE, np.intc)
        latest[own] = tries  # of several, the last one
        if (latest == NONE).any():
            raise ValueError("a trial without a try")
        stage.latest = array("i", latest.tobytes())


def _before(journal: Path, upto: int) -> str:
    """What stands before a byte of the journal, as a hash; ValueError where it is shorter."""
    with open(journal, "rb") as file:
        start = max(0, upto - BEFORE)
        file.seek(start)
        text = file.read(upto - start)
    if len(text) < upto - start or not text.endswith(b"\n"):
        raise ValueError("the journal is another one")
    return hashlib.sha256(text).hexdigest()
