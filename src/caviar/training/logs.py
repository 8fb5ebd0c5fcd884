"""`metrics.csv` of a trial that goes on in its own folder: what it had logged stays there."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger

LOGGED = "logged"  # in a checkpoint at the end of an epoch: what was logged of that epoch

Rows = list[dict[str, Any]]


def rows_before(folder: Path, checkpoint: Mapping[str, Any]) -> Rows:
    """The rows of `metrics.csv` that a run which resumes from `checkpoint` does not log again.

    Lightning logs an epoch's training metrics after its checkpoint: a process that was killed
    between the two left a checkpoint that knows more than the file, and that is added.
    """
    path, step = folder / "metrics.csv", checkpoint["global_step"]
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # A row that a kill has cut off has no step.
    kept = [row for row in rows if (row.get("step") or "").isdigit() and int(row["step"]) < step]
    row = missing_row(kept, checkpoint)
    return kept if row is None else [*kept, row]


def missing_row(kept: Rows, checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a checkpoint at an epoch's end knows of the epoch, and the rows before it lack."""
    step = checkpoint["global_step"]
    last = [row for row in kept if int(row["step"]) == step - 1]
    written = {name for row in last for name, value in row.items() if value != ""}
    logged = checkpoint.get(LOGGED) or {}
    missing = {name: value for name, value in logged.items() if name not in written}
    if not last or not missing:
        return None
    epoch = {"epoch": last[0]["epoch"]} if "epoch" in written else {}
    return {**epoch, **missing, "step": step - 1}


def put_back(loggers: Iterable[Any], rows: Rows) -> None:
    """Hand the rows to the CSV logger, which begins with an empty file."""
    for logger in loggers:
        if rows and isinstance(logger, CSVLogger):
            logger.experiment.metrics = [*rows]
            logger.save()
