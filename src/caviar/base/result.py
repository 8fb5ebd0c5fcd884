"""What one training run leaves behind."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from caviar.base.files import replaced

COMPLETE, DIVERGED, PRUNED = "complete", "diverged", "pruned"
OUT_OF_MEMORY, EXCEPTION, TIMEOUT, KILLED = "out of memory", "exception", "timeout", "killed"
FAULTS = (OUT_OF_MEMORY, EXCEPTION, TIMEOUT, KILLED)  # they say nothing of the setting
TRANSIENT = (OUT_OF_MEMORY, KILLED)  # perhaps the machine's fault: worth another try

EPOCH, STEP = "epoch", "step"  # what a learning curve may count

# In the summary of a W&B run, written last: its status, and the whole result as JSON. A run that
# lacks them did not come to its end, whatever W&B calls it.
MARKER, RESULT = "caviar/status", "caviar/result"


@dataclass(frozen=True)
class Length:
    """How long a training is, in what its learning curve counts.

    A curve has a point for each validation. Where an epoch has at most one, a point is known by its
    epoch. Where it has several, it is known by its number: settings of unlike batch sizes validate
    at unlike steps, and a pruner can compare them only at the same share of the training.
    """

    unit: str = EPOCH
    """`epoch` or `step`."""
    total: int | None = None
    """Epochs, or optimizer steps, of the whole training; None where nobody knows."""
    points: int | None = None
    """Validations of the whole training, or the epochs; None where nobody knows."""

    def at(self, point: int) -> int:
        """Epochs, or steps, that were trained at a point of the curve."""
        if self.unit == EPOCH:
            return point + 1
        if not self.total or not self.points:
            return point  # of a plain function, which counts itself
        return round((point + 1) * self.total / self.points)


# (number of the point, value of the metric, length of the training); True: stop as hopeless
Report = Callable[[int, float, Length], bool]


@dataclass
class Result:
    """Outcome of one run; plain data, written as `result.json` and into the ledger.

    The names of the fields are keys on disk: those of studies made before must be read for ever.
    """

    status: str = COMPLETE
    """`complete`, `diverged` (a metric was NaN or infinite), `pruned` (stopped as hopeless), or
    one of the faults."""
    best: float | None = None
    """Best value of the declared metric over epochs; None before the first validation."""
    best_epoch: int | None = None
    """Epoch of the best value, from 0."""
    best_step: int | None = None
    """Optimizer steps that had been taken at the best value; None for runs of earlier versions."""
    last: float | None = None
    """The metric's last value."""
    unit: str = EPOCH
    """What its curve counts: `epoch`, or `step` where an epoch has several validations."""
    epochs: int | None = None
    """Epochs that were trained, begun ones among them."""
    steps: int | None = None
    """Optimizer steps that were taken."""
    seconds: float = 0.0
    """Wall time of fitting and testing."""
    num_params: int = 0
    """Trainable parameters."""
    seed: int | None = None
    """The seed that was used, also where the config said null."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Every metric at the end, `test/…` among them if the test set was opened."""
    checkpoint: str | None = None
    """Checkpoint of the best epoch."""
    resume: str | None = None
    """How exactly it goes on from its checkpoints: `exact to the step`, `exact from the end of an
    epoch`, or `not exact` and why; None of a run that did not train."""
    error: str | None = None
    """One line, where the run failed: the exception, or the signal that killed it."""

    @property
    def failed(self) -> bool:
        """Whether a fault ended it."""
        return self.status in FAULTS

    def loss(self, mode: str) -> float:
        """The value to minimise: worst (infinite) for a diverged run, NaN for a failed one.

        A diverged run tells of its setting, and no best value from before makes up for it. A failed
        one tells nothing, so it must not be compared at all.

        Arguments:
            mode: `min` or `max`, of the declared metric.
        """
        if self.failed or (self.status != DIVERGED and self.best is None):
            return math.nan
        if self.status == DIVERGED or self.best is None:
            return math.inf
        return self.best if mode == "min" else -self.best

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; NaN and infinity become None, which JSON has."""
        return {key: finite(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Result:
        """Unknown keys, of a newer version, are ignored."""
        return cls(**{k: v for k, v in values.items() if k in cls.__dataclass_fields__})

    def write(self, folder: Path) -> None:
        """Write `result.json`, whole or not at all."""
        with replaced(folder / "result.json") as partial:
            partial.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")


Ended = Callable[[Result, Mapping[int, float]], None]  # the result; the metric by point


class Train(Protocol):
    """The seam: what trains a config into a folder, reports its curve, goes on from a checkpoint of
    an earlier try, and tells what came of it."""

    def __call__(
        self,
        config: Any,
        output: Path,
        report: Report | None = None,
        resume: Path | None = None,
        *,
        ended: Ended | None = None,
    ) -> Result: ...


@dataclass(frozen=True)
class Rehearsal:
    """What two batches of everything have shown of a model, before a search."""

    reads_declared: bool
    """Whether its optimizer is the one that the config declares."""
    keeps_checkpoint: bool
    """Whether there is a checkpoint of the best epoch, which confirm could test."""

    FILE = "rehearsal.json"

    def write(self, folder: Path) -> None:
        """Write it down for who has asked, perhaps on another machine."""
        (folder / self.FILE).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Rehearsal | None:
        """What was written; None where the rehearsal did not come to its end."""
        path = folder / cls.FILE
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def test_metric(metric: str) -> str:
    """The name of a validation metric on the test set: `val/loss` → `test/loss`.

    One that does not begin with `val`, `valid` or `validation` keeps its name.
    """
    return re.sub(r"^(validation|valid|val)(?=\W|_)", "test", metric)


def finite(value: Any) -> Any:
    """Plain containers with None, which JSON has, for NaN and infinity, which it has not."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
