"""Rungs: the trials of a stage wait for each other, and the best of them go on.

    caviar search 'search.stages.coarse.rungs=[0.25]' search.stages.coarse.keep=0.33

Most settings of a first round are hopeless after a few epochs. So all its trials are trained to
the first rung, the best share of them goes on from its checkpoints to the next one, and the last
ones to the end: successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943), in lockstep. Who
goes on follows from the curves in the ledger and from nothing else, so the answer is the same with
any number of workers and after a kill; that of a pruner, which decides as results come in, is not.

A trial that goes on is the training that it would have been without rungs: its schedule is that of
the whole length, and resuming is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from caviar.base.errors import UserError
from caviar.ledger import Trial
from caviar.plain import is_function


@dataclass(frozen=True)
class Rungs:
    """Where the trials of a stage wait, and which share of them goes on."""

    epochs: tuple[int, ...]
    keep: float

    def until(self, rung: int) -> int | None:
        """Epochs to which a trial is trained that has come past `rung` rungs; None for the end."""
        return self.epochs[rung] if rung < len(self.epochs) else None

    def promoted(self, trials: Sequence[Trial], mode: str) -> tuple[int, list[int]]:
        """Which trials go on from the rung that all have come to.

        Arguments:
            trials: of the stage, all of them finished, or waiting at a rung.
            mode: `min` or `max`, of the metric.

        Returns:
            The number of the rung behind, from 1, and the numbers of trials that have not gone on
            yet; none where all is done. A kill may have let some go on and others not.
        """
        sign = 1 if mode == "min" else -1
        for rung, until in enumerate(self.epochs):
            here = [t for t in trials if t.rung >= rung and not t.failed]
            ranked = sorted(
                (sign * best, t.number, t)
                for t in here
                if (best := best_until(t, until, sign)) is not None
            )
            going = [t for *_, t in ranked[: max(1, round(self.keep * len(here)))]]
            if behind := [t.number for t in going if t.rung == rung and t.stopped]:
                return rung + 1, behind
        return 0, []

    def cost(self, total: int) -> float:
        """Share of a stage's full trainings that it trains.

        Arguments:
            total: epochs of a full training.
        """
        ends = (*self.epochs, total)
        parts = [b - a for a, b in zip((0, *ends), ends, strict=False)]
        return sum(part * self.keep**rung for rung, part in enumerate(parts)) / total


def best_until(trial: Trial, until: int, sign: int) -> float | None:
    """The best value of the metric that a trial had shown at a rung; None if it diverged before.

    By its curve, since one that has gone on has another result by now.
    """
    best: float | None = None
    for point, value in trial.curve.items():
        if not math.isfinite(value):
            return None
        best = value if best is None else min(sign * best, sign * value) * sign
        if point + 1 >= until:
            return best
    # It ended before the rung: by itself, or because its training diverged.
    return best if trial.finished and trial.status != "diverged" else None


def rungs_of(spec: dict[str, Any]) -> Rungs | None:
    """The rungs of a stage that was begun; None if it has none."""
    if not (kept := spec.get("rungs")):
        return None
    return Rungs(tuple(kept["epochs"]), kept["keep"])


def rungs_spec(config: DictConfig, rungs: Sequence[float], keep: float) -> dict[str, Any] | None:
    """What the ledger keeps of a stage's rungs; None for a stage without.

    Arguments:
        config: of its trials.
        rungs: epochs, or shares of the training below 1.
        keep: share of the trials that goes on behind each.

    Raises:
        UserError: its trials cannot wait at rungs.
    """
    if not rungs:
        return None
    total = _length(config)
    epochs = [int(r) if r >= 1 else max(1, math.ceil(r * total)) for r in rungs]
    inside = [e for e in dict.fromkeys(epochs) if e < total]
    if len(inside) < len(rungs):
        raise UserError(
            f"search rungs {[*rungs]}: of {total} epochs (trainer.max_epochs) they are "
            f"{epochs}; they must rise, and end before the training does"
        )
    return {"epochs": inside, "keep": keep}


def _length(config: DictConfig) -> int:
    """Epochs of a training whose trials can wait at an epoch's end.

    Raises:
        UserError: they cannot.
    """
    no = "rungs stop trials at the end of an epoch, and go on from the last checkpoint"
    if is_function(config):
        raise UserError(f"{no}; train._target_ is a function of its own: write search.rungs=[]")
    trainer = config.trainer
    if trainer.get("max_epochs") in (None, -1) or trainer.get("max_steps", -1) not in (None, -1):
        raise UserError(f"{no}; write trainer.max_epochs=…, and no trainer.max_steps")
    if trainer.get("val_check_interval") not in (None, 1.0):
        raise UserError(
            f"{no}; trainer.val_check_interval={trainer.val_check_interval} validates in between: "
            "write search.rungs=[]"
        )
    kept = [c for c in (config.callbacks or {}).values() if c and _is_last(c)]
    if not kept:
        raise UserError(f"{no}; no callback keeps one: write callbacks=default")
    return int(trainer.max_epochs)


def _is_last(callback: Any) -> bool:
    target = str(callback.get("_target_", ""))
    return target.endswith("Checkpoint") and callback.get("monitor") is None
