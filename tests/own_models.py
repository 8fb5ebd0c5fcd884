"""Modules as people write them, with optimizers of their own: model._target_=own_models.Linear"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from caviar.training.models import MLP

Batch = tuple[Tensor, Tensor]


class Linear(pl.LightningModule):
    """Softmax regression with a rate of its own; logs a score at the end of the epoch."""

    def __init__(self, lr: float = 0.1, scale: float = 1.0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Linear(64, 10)
        self.f1 = MulticlassF1Score(10)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, labels = batch
        return F.cross_entropy(self.net(inputs), labels)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        inputs, labels = batch
        logits = self.net(inputs)
        self.f1.update(logits, labels)
        self.log("val/loss", F.cross_entropy(logits, labels))

    def on_validation_epoch_end(self) -> None:
        self.log("val/f1", self.f1.compute())
        self.f1.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        inputs, labels = batch
        self.log("test/loss", F.cross_entropy(self.net(inputs), labels))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


class LogsBest(Linear):
    """Keeps the best accuracy itself, under the name that Caviar would give it."""

    def __init__(self, lr: float = 0.1) -> None:
        super().__init__(lr)
        self.accuracy, self.best = MulticlassAccuracy(10, average="micro"), 0.0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.accuracy(self.net(batch[0]), batch[1])
        self.log("val/acc", self.accuracy, on_step=False, on_epoch=True)

    def on_validation_epoch_end(self) -> None:
        self.best = max(self.best, float(self.accuracy.compute()))
        self.log("val/acc_best", self.best)


class Partials(Linear):
    """Optimizer and schedule come as Hydra partials."""

    def __init__(
        self,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        scheduler: Callable[..., Any],
    ) -> None:
        super().__init__()
        self.build, self.schedule = optimizer, scheduler

    def configure_optimizers(self) -> Any:
        optimizer = self.build(self.parameters())
        schedule = {"scheduler": self.schedule(optimizer), "monitor": "val/loss"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}


class OwnRate(MLP):
    """Derives from ours, and never asks what the config's optimizer is."""

    def __init__(self, rate: float = 0.1, **settings: Any) -> None:
        super().__init__(**settings)
        self.rate = rate

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.rate)


class UndefinedAtFirst(Linear):
    """Its metric is NaN at the first validation, or at all of them."""

    def __init__(self, always: bool) -> None:
        super().__init__()
        self.always, self.validations = always, 0

    def on_validation_epoch_end(self) -> None:
        defined = self.validations and not self.always
        self.log("val/f1", self.f1.compute() if defined else float("nan"))
        self.validations += 1


class Keeps(Linear):
    """Puts something of its own into its checkpoints."""

    def __init__(self, net: nn.Module, odd: bool = False) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net, self.odd = net, odd

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["threshold"] = {"of": [np.float64(0.5), np.arange(3)]}
        if self.odd:
            checkpoint["threshold"]["odd"] = F.relu

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assert checkpoint["threshold"]["of"][0] == 0.5


class UntestableByMistake(MLP):
    """Has a slip where nobody looks before the search is over."""

    def test_step(self, batch: Any, batch_idx: int) -> None:
        raise ValueError("a slip in test_step")


class Counted(Linear):
    """Steps behind Lightning's back, so that Lightning keeps no checkpoint."""

    def __init__(self, **others: Any) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        optimizer = self.optimizers(use_pl_optimizer=False)
        optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx))
        optimizer.step()
