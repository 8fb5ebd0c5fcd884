"""What every run watches: the declared metric, its best, and whether training diverged.

Everything here decides when a validation has ended. By then each of its metrics is known, wherever
the module logged it: in a step, as an object of torchmetrics, or at the end of the epoch.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch

from caviar.base.errors import UserError
from caviar.base.result import EPOCH, Length, Report
from caviar.training.length import length_of, refuse_without_validation, steps_taken

LOGGED = "logged"  # in a checkpoint at the end of an epoch: what was logged of that epoch


def is_loss(name: str) -> bool:
    """Whether a logged value is a loss, which diverges with the training: by the words of its name.

    `val/loss`, `train_loss` and Lightning's `train/loss_step` are; `val/glossary` is not.
    """
    return "loss" in re.split(r"[/_.\-\s]+", name.lower())


class BestMetric(pl.Callback):
    """Follows the declared metric and stops a run that diverged, or is hopeless.

    Diverged means that the metric, or any logged loss (`is_loss`), is NaN or infinite. Another
    metric may be undefined without harm, such as a score for a class that nobody predicted. At the
    first validation so may be the declared one, if the weights are still finite.

    Tells the loggers the best value so far as `<metric>_best`, which is what a W&B sweep watches: a
    run's summary keeps the last value, and the best is what counts. Not by the module's `log`,
    through which the module may log a value of that name itself.

    Arguments:
        metric: logged by the module at validation, such as `val/loss`.
        mode: `min` or `max`.
        report: called after each validation, on rank 0; True stops the run as hopeless.
    """

    def __init__(self, metric: str, mode: str, report: Report | None = None) -> None:
        self.metric, self.sign, self.report = metric, 1 if mode == "min" else -1, report
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.best_step: int | None = None
        self.last: float | None = None
        self.points = 0  # validations so far
        self.length = Length()
        self.curve: dict[int, float] = {}  # point → metric, since this process began
        self.diverged = self.pruned = False
        self.metrics: dict[str, float] = {}  # of the checkpoint that the run went on from

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.last is None:
            refuse_without_validation(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if self.metric not in logged:
            raise UserError(not_logged(self.metric, logged))
        self.length = length_of(trainer)
        value, epoch, step = logged[self.metric], trainer.current_epoch, steps_taken(trainer)
        point = epoch if self.length.unit == EPOCH else self.points
        first, self.points = self.points == 0, self.points + 1
        self.last = self.curve[point] = value
        better = self.best is None or self.sign * value < self.sign * self.best
        if math.isfinite(value) and better:  # NaN is no better, and infinity no first best
            self.best, self.best_epoch, self.best_step = value, epoch, step
        if f"{self.metric}_best" not in logged:
            self._tell_loggers(trainer)
        prune = False
        if self.report is not None and trainer.is_global_zero:
            prune = self.report(point, value, self.length)
        if not (first and _weights_are_finite(pl_module)):
            self._check_finite(trainer)
        if self._agreed(trainer, prune) and not self.diverged:
            self.pruned = trainer.should_stop = True

    def _agreed(self, trainer: pl.Trainer, prune: bool) -> bool:
        """What the first rank has decided: every rank must stop at the same epoch, or the others
        wait for it without end."""
        return bool(trainer.strategy.broadcast(prune))

    def _tell_loggers(self, trainer: pl.Trainer) -> None:
        if self.best is None:
            return
        told = {f"{self.metric}_best": self.best, "epoch": trainer.current_epoch}
        for logger in trainer.loggers:
            logger.log_metrics(told, step=_logged_step(trainer))
            # Before a checkpoint is written, which takes for granted that this is in the file.
            logger.save()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check_finite(trainer)  # the last epoch's training loss is logged after validation

    def _check_finite(self, trainer: pl.Trainer) -> None:
        for name, value in trainer.callback_metrics.items():
            if (name == self.metric or is_loss(name)) and not math.isfinite(float(value)):
                self.diverged = trainer.should_stop = True

    # Not in state_dict, which Lightning asks for before the epoch's last values are known. A run
    # that resumes with nothing left to train has these as its result.
    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["metrics"] = self.known(trainer)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.metrics = checkpoint.get("metrics", {})

    def known(self, trainer: pl.Trainer) -> dict[str, float]:
        """Every metric that was logged last, and the best of the declared one."""
        logged = {k: float(v) for k, v in trainer.callback_metrics.items()}
        if logged and self.best is not None:
            logged.setdefault(f"{self.metric}_best", self.best)
        return logged

    def state_dict(self) -> dict[str, Any]:
        kept = ("metric", "sign", "best", "best_epoch", "best_step", "last", "points")
        return {name: getattr(self, name) for name in kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if (state_dict["metric"], state_dict["sign"]) != (self.metric, self.sign):
            return  # another metric's best is no best of this one
        self.best = state_dict["best"]
        self.best_epoch = state_dict["best_epoch"]
        self.last = state_dict["last"]
        # A checkpoint of an earlier version lacks these two.
        self.best_step = state_dict.get("best_step")
        self.points = state_dict.get("points", 0 if self.last is None else 1)


def not_logged(metric: str, logged: Iterable[str], key: str = "metric.name") -> str:
    """What is wrong where a validation does not log the metric; its key in the config."""
    names = ", ".join(sorted(logged)) or "nothing"
    close = difflib.get_close_matches(metric, list(logged), n=1)
    meant = f"; did you mean {key}={close[0]}?" if close else ""
    return f"{key} is {metric}, but validation logged only {names}{meant}"


def _weights_are_finite(module: pl.LightningModule) -> bool:
    return all(bool(torch.isfinite(p).all()) for p in module.parameters())


def _logged_step(trainer: pl.Trainer) -> int:
    """The step that Lightning itself logs a validation's metrics with."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped
