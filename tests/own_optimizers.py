"""Modules with several optimizers or parameter groups: model._target_=own_optimizers.Gan"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, TensorDataset

from caviar.panda.inbox import INBOX
from caviar.training.models import MLP

Batch = tuple[Tensor, Tensor]


class Generates:
    """A generator and a discriminator of digits, each with its own rate, stepped by hand.

    Arguments:
        lr_g: of the generator.
        lr_d: of the discriminator; None for a fourth of the other.
        dropout: of what the generator makes.
        sleep: seconds more for each step, for a test that interferes.
    """

    def __init__(
        self,
        lr_g: float = 4e-4,
        lr_d: float | None = None,
        dropout: float = 0.0,
        sleep: float = 0.0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.rates, self.sleep = (lr_g, lr_g / 4 if lr_d is None else lr_d), sleep
        self.generator = nn.Sequential(nn.Linear(8, 64), nn.Dropout(dropout))
        self.discriminator = nn.Linear(64, 1)

    def configure_optimizers(self) -> Any:
        nets = (self.generator, self.discriminator)
        optimizers = [
            torch.optim.Adam(net.parameters(), lr=lr, betas=(0.5, 0.999))
            for net, lr in zip(nets, self.rates, strict=True)
        ]
        return optimizers, [StepLR(optimizers[0], step_size=1, gamma=0.5)]

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        time.sleep(self.sleep)
        real = batch[0]
        made = self.generator(torch.randn(len(real), 8))
        for optimizer, loss in zip(
            self.optimizers(),
            (-self.discriminator(made).mean(), self._distance(real, made.detach())),
            strict=True,
        ):
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()

    def on_train_epoch_end(self) -> None:
        self.lr_schedulers().step()

    def _distance(self, real: Tensor, made: Tensor) -> Tensor:
        return (
            F.softplus(-self.discriminator(real)).mean()
            + F.softplus(self.discriminator(made)).mean()
        )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("val/loss", self._distance(batch[0], torch.zeros(1, 64)))


class Gan(Generates, pl.LightningModule):
    """That of `pytorch_lightning`; `lightning_gan.Gan` is that of `lightning`."""


class Grouped(MLP):
    """No weight decay for biases; leaves all else of its optimizer to the config."""

    def configure_optimizers(self) -> Any:
        weights = [p for p in self.parameters() if p.ndim > 1]
        biases = [p for p in self.parameters() if p.ndim == 1]
        config = self.optimizer_config
        optimizer = torch.optim.SGD(
            [{"params": weights}, {"params": biases, "weight_decay": 0.0}],
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": ReduceLROnPlateau(optimizer), "monitor": "val/loss"},
        }


class Partial(MLP):
    """Optimizer and schedule come as Hydra partials; the head learns ten times as fast."""

    def __init__(
        self,
        optimizer: Callable[..., torch.optim.Optimizer],
        schedule: Callable[..., Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.build, self.schedule = optimizer, schedule

    def configure_optimizers(self) -> Any:
        lr = self.build.keywords["lr"]
        *body, head = list(self.net)
        optimizer = self.build(
            [
                {"params": [p for part in body for p in part.parameters()]},
                {"params": list(head.parameters()), "lr": 10 * lr},
            ]
        )
        if self.schedule is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.schedule(optimizer), "interval": "step"},
        }


class Loads(pl.LightningModule):
    """A line through points, with loaders of its own: ten batches an epoch."""

    def __init__(self, lr: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Linear(1, 1)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

    def train_dataloader(self) -> Any:
        points = torch.linspace(-1, 1, 40).unsqueeze(1)
        return DataLoader(TensorDataset(points), batch_size=4)

    val_dataloader = train_dataloader

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.mse_loss(self.net(batch[0]), 2 * batch[0])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", self.training_step(batch, batch_idx))


class Asks(pl.Callback):
    """Asks the panda that it is a callback of, at the batches that ASKS names, as another terminal
    does, but for waiting: ASKS='{"40": {"set": ["model.lr=*2"]}}'. So a test needs no process."""

    def __init__(self) -> None:
        self.requests = json.loads(os.environ.get("ASKS", "{}"))

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        batch = str(trainer.fit_loop.epoch_loop.total_batch_idx + 1)
        if batch in self.requests:
            inbox = Path(trainer.default_root_dir) / INBOX
            inbox.mkdir(exist_ok=True)
            request = {"force": False, **self.requests.pop(batch)}
            (inbox / f"{int(batch):05d}.json").write_text(json.dumps(request))
