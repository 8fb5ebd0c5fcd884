"""`metrics.csv` of a trial that goes on in its own folder: what it had logged stays there."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger

Rows = list[dict[str, Any]]


def logged_until(folder: Path, step: int) -> Rows:
    """The rows of `metrics.csv` that were logged before `step`, which the resumed run repeats."""
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # A row that a kill has cut off has no step.
    return [row for row in rows if (row.get("step") or "").isdigit() and int(row["step"]) < step]


def put_back(loggers: Iterable[Any], rows: Rows) -> None:
    """Hand the rows to the CSV logger, which begins with an empty file."""
    for logger in loggers:
        if rows and isinstance(logger, CSVLogger):
            logger.experiment.metrics = [*rows]
            logger.save()
