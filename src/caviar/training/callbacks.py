"""What every run watches: the declared metric, its best, and whether training diverged."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

from caviar.base.errors import UserError

Report = Callable[[int, float], bool]  # (epoch, value of the metric); True: stop as hopeless


def is_loss(name: str) -> bool:
    """Whether a logged value is a loss, which diverges with the training: by the words of its name.

    `val/loss`, `train_loss` and Lightning's `train/loss_step` are; `val/glossary` is not.
    """
    return "loss" in re.split(r"[/_.\-\s]+", name.lower())


class BestMetric(pl.Callback):
    """Follows the declared metric and stops a run that diverged, or is hopeless.

    Diverged means that the metric, or any logged loss (`is_loss`), is NaN or infinite. Another
    metric may be undefined without harm, such as a score for a class that nobody predicted.

    Logs the best value so far as `<metric>_best`, which is what a W&B sweep watches: a run's
    summary keeps the last value, and the best is what counts.

    Arguments:
        metric: logged by the module at validation, such as `val/loss`.
        mode: `min` or `max`.
        report: called with (epoch, value) after each validation, on rank 0; True stops the run
            as hopeless.
    """

    def __init__(self, metric: str, mode: str, report: Report | None = None) -> None:
        self.metric, self.sign, self.report = metric, 1 if mode == "min" else -1, report
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.last: float | None = None
        self.curve: dict[int, float] = {}  # epoch → metric, since this process began
        self.diverged = self.pruned = False
        self.metrics: dict[str, float] = {}  # of the checkpoint that the run went on from
        self.exception: BaseException | None = None

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if self.metric not in logged:
            raise UserError(
                f"metric.name is {self.metric}, but validation logged only "
                f"{', '.join(sorted(logged)) or 'nothing'}"
            )
        value, epoch = logged[self.metric], trainer.current_epoch
        self.last = self.curve[epoch] = value
        better = self.best is None or self.sign * value < self.sign * self.best
        if math.isfinite(value) and better:  # NaN is no better, and infinity no first best
            self.best, self.best_epoch = value, epoch
        if self.best is not None:
            pl_module.log(f"{self.metric}_best", self.best, sync_dist=True)
        prune = self.report is not None and trainer.is_global_zero and self.report(epoch, value)
        self._check_finite(trainer)
        # Every rank must stop at the same epoch, or the others wait for it without end.
        if trainer.strategy.broadcast(prune) and not self.diverged:
            self.pruned = trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check_finite(trainer)  # the last epoch's training loss is logged after validation

    def _check_finite(self, trainer: pl.Trainer) -> None:
        for name, value in trainer.callback_metrics.items():
            if (name == self.metric or is_loss(name)) and not math.isfinite(float(value)):
                self.diverged = trainer.should_stop = True

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self.exception = exception

    # Not in state_dict, which Lightning asks for before the epoch's last values are known. A run
    # that resumes with nothing left to train has these as its result.
    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["metrics"] = {k: float(v) for k, v in trainer.callback_metrics.items()}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.metrics = checkpoint.get("metrics", {})

    def state_dict(self) -> dict[str, Any]:
        kept = ("metric", "sign", "best", "best_epoch", "last")
        return {name: getattr(self, name) for name in kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if (state_dict["metric"], state_dict["sign"]) != (self.metric, self.sign):
            return  # another metric's best is no best of this one
        self.best = state_dict["best"]
        self.best_epoch = state_dict["best_epoch"]
        self.last = state_dict["last"]
