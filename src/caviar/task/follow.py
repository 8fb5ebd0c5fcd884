"""Our callback in somebody else's Trainer: it sees everything and demands nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

from caviar.training.callbacks import BestMetric
from caviar.training.checkpoints import best_checkpoint


class Follow(BestMetric):
    """Follows the declared metric where the module logs it.

    Arguments:
        metric: that a search compares by; the module need not log it.
        mode: `min` or `max`.
        told: called with this callback and a point of the curve; True stops the training.
    """

    trainer: pl.Trainer
    num_params = 0

    def __init__(self, metric: str, mode: str, told: Callable[..., bool]) -> None:
        super().__init__(metric, mode, lambda *point: told(self, *point))
        self.seen: dict[str, float] = {}
        self.tested: dict[str, float] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.trainer = trainer
        self.num_params = sum(p.numel() for p in pl_module.parameters() if p.requires_grad)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Not asked whether it validates: the task may return its value."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._note(trainer)
        if self.metric in trainer.callback_metrics:
            super().on_validation_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._note(trainer)
        super().on_train_end(trainer, pl_module)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.tested |= {name: float(value) for name, value in trainer.callback_metrics.items()}

    def _tell_loggers(self, trainer: pl.Trainer) -> None:
        if "WANDB_SWEEP_ID" in os.environ:  # which watches it
            super()._tell_loggers(trainer)

    # The other ranks of a distributed training are the project's own script, begun again, and have
    # none of this: nothing may be decided for them, nor be asked of them.

    def _agreed(self, trainer: pl.Trainer, prune: bool) -> bool:
        return prune and trainer.world_size == 1

    def _check_finite(self, trainer: pl.Trainer) -> None:
        stopping = trainer.should_stop
        super()._check_finite(trainer)
        if trainer.world_size > 1:
            trainer.should_stop = stopping

    def checkpoint(self) -> str | None:
        """Of the best epoch, if the task keeps any."""
        return best_checkpoint(self.trainer, self)

    def _note(self, trainer: pl.Trainer) -> None:
        values: dict[str, Any] = trainer.callback_metrics
        self.seen |= {name: float(value) for name, value in values.items()}
