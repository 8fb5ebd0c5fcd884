"""A Lightning logger over `metrics.jsonl`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from caviar.panda.record import append_row


class RecordLogger(Logger):
    """Appends what Lightning logs, with where the run is.

    Arguments:
        folder: of the study.
        branch: that the run is on.
    """

    def __init__(self, folder: Path, branch: int) -> None:
        super().__init__()
        self.folder, self.branch = folder, branch

    @property
    def name(self) -> str:
        return "record"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """The config is in the folder already."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        where = {"branch": self.branch, "step": step, "time": round(time.time(), 3)}
        append_row(self.folder, {**where, **metrics})
