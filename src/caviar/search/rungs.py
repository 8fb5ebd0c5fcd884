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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from caviar.base.environment import several_devices
from caviar.base.errors import UserError
from caviar.config.keys import FUNCTION, TASK, Keys, epochs_of
from caviar.ledger import Trial
from caviar.search.study import Study


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

        A trial that failed has no place. If it is put back after the decision, and is among the
        best then, it goes on as if it had never failed, since its fault says nothing of its
        setting. The one whose place it takes has gone on by then and is not called back: so for
        each such trial one more may be trained on than `keep` says.

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


def rungs_of(spec: Mapping[str, Any]) -> Rungs | None:
    """The rungs of a stage that was begun; None if it has none."""
    if not (kept := spec.get("rungs")):
        return None
    return Rungs(tuple(kept["epochs"]), kept["keep"])


def planned_trials(study: Study) -> dict[str, int]:
    """How many trials each stage of a search has, by its full name: as many as its settings say, or
    else as its share of the budget pays for.

    A stage that has begun keeps its number, until its settings say a larger one.
    """
    settings, begun = study.settings, study.stages()
    stages = settings.stage_names()
    config = study.compose(study.overrides)
    left = settings.budget - settings.confirm.budget
    shares = sum(stage.share for stage in stages.values())
    numbers = {}
    for name, stage in stages.items():
        if stage.num_trials is not None:
            numbers[name] = stage.num_trials
        elif name in begun:
            numbers[name] = study.begun_sweep(name).num_trials
        else:
            rungs = rungs_asked(config, *settings.rungs_of(name))
            cost = 1.0 if rungs is None else rungs.cost(epochs_of(config) or 1)
            numbers[name] = max(2, int(left * stage.share / shares / cost + 1e-6))
    return numbers


def rungs_asked(config: DictConfig, rungs: Sequence[float], keep: float) -> Rungs | None:
    """The rungs that settings ask for; None where the trials are trained whole.

    Arguments:
        config: of its trials.
        rungs: epochs, or shares of the training below 1. A share that is the whole training, as of
            one epoch, is none.
        keep: share of the trials that goes on behind each.

    Raises:
        UserError: a rung lies behind the end of the training.
    """
    if not rungs or why_whole(config) is not None:
        return None
    total = int(config.trainer.max_epochs)
    for rung in rungs:
        if rung >= total and rung >= 1:
            raise UserError(
                f"rungs {[*rungs]}: a training ends after {total} epochs (trainer.max_epochs), and "
                "a rung lies before; write a smaller one, or a share such as 0.25"
            )
    epochs = [int(r) if r >= 1 else math.ceil(r * total) for r in rungs]
    inside = [epoch for epoch in dict.fromkeys(epochs) if epoch < total]
    return Rungs(tuple(inside), keep) if inside else None


def why_whole(config: DictConfig) -> str | None:
    """Why a training cannot wait at the end of an epoch, and go on from there; None if it can."""
    keys = Keys.of(config)
    if keys.kind == FUNCTION:
        return "caviar.train is a function of its own"
    if keys.kind == TASK and keys.resume is None:
        return "no key of the config resumes a training (caviar.keys.resume)"
    if keys.kind == TASK and several_devices(config):
        return "a task on several devices is a run of its own"
    trainer: Any = config.get("trainer") or {}
    if trainer.get("max_epochs") in (None, -1) or trainer.get("max_steps", -1) not in (None, -1):
        return "its length is not in epochs (trainer.max_epochs)"
    if trainer.get("val_check_interval") not in (None, 1.0):
        return f"trainer.val_check_interval={trainer.val_check_interval} validates inside of epochs"
    kept = [c for c in (config.get("callbacks") or {}).values() if c and _is_last(c)]
    return None if kept else "no callback keeps its last checkpoint"


def _is_last(callback: Any) -> bool:
    target = str(callback.get("_target_", ""))
    keeps = callback.get("monitor") is None or callback.get("save_last")
    return target.endswith("Checkpoint") and bool(keeps)
