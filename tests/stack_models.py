"""Modules as people write them, for tests of stacks: what can be trained together, and what not."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
import torchmetrics
from sklearn.datasets import load_iris
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, random_split

from caviar.training.models import MLP

WIDTH = 8


class Plain(pl.LightningModule):
    """A classifier of irises that derives from nothing of ours."""

    def __init__(self, lr: float = 0.1, alpha: float = 0.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, WIDTH), self.middle(), nn.Linear(WIDTH, 3))

    def middle(self) -> nn.Module:
        return nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("val/loss", F.cross_entropy(self(x), y))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9)


class Normed(Plain):
    def middle(self) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(WIDTH), nn.ReLU())


class Dropped(Plain):
    def middle(self) -> nn.Module:
        return nn.Sequential(nn.ReLU(), nn.Dropout(self.hparams.dropout))


class Noisy(Plain):
    """Adds noise of its own to what it sees."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return super().training_step((x + 0.1 * torch.randn_like(x), y), batch_idx)


class Metered(Plain):
    """Logs objects of torchmetrics, and the best so far at the end of an epoch."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.seen = torchmetrics.Accuracy("multiclass", num_classes=3, average="micro")
        self.judged = torchmetrics.Accuracy("multiclass", num_classes=3, average="macro")
        self.best = torchmetrics.MaxMetric()
        self.mean = torchmetrics.MeanMetric()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        logits = self(x)
        self.seen(logits.argmax(dim=1), y)
        self.log("train/acc", self.seen, on_step=False, on_epoch=True)
        loss = F.cross_entropy(logits, y)
        self.mean(loss)
        self.log("train/mean", self.mean, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        x, y = batch
        self.judged.update(self(x), y)

    def on_validation_epoch_end(self) -> None:
        self.best(self.judged.compute())
        self.log("val/acc", self.judged.compute())
        self.log("val/acc_best", self.best.compute())
        self.judged.reset()


class Listing(Plain):
    """Keeps the losses of an epoch in a list, and counts its batches."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.losses: list[Tensor] = []
        self.batches = 0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.losses.append(loss.detach())
        self.batches += 1
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("train/spread", torch.stack(self.losses).std())
        self.log("train/batches", float(self.batches))
        self.losses.clear()


class Smoothed(Plain):
    """Reads a setting in its step: only members that share it are alike."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return F.cross_entropy(self(x), y, label_smoothing=self.hparams.alpha)


class Leaky(Plain):
    """A layer has a setting that its shape does not show."""

    def middle(self) -> nn.Module:
        return nn.LeakyReLU(self.hparams.alpha)


class Grouped(Plain):
    """No weight decay for biases, and a warm-up by the step."""

    def configure_optimizers(self) -> Any:
        biases = [p for n, p in self.named_parameters() if n.endswith("bias")]
        others = [p for n, p in self.named_parameters() if not n.endswith("bias")]
        groups = [{"params": others, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=self.hparams.lr)
        total = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.hparams.lr, total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Following(Plain):
    """Its lr follows a metric."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.lr)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "monitor": "val/loss"},
        }


class Python(Plain):
    """Its validation is Python's: what vmap cannot do, one after the other can."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("val/loss", loss if loss.item() < 100 else loss * 2)


# -- what cannot be stacked


class Manual(Plain):
    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.automatic_optimization = False


class Deciding(Plain):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        return loss if loss > 0.5 else 2 * loss


class Undecided(MLP):
    """The template's own, but for a step that decides in Python."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        return loss if loss > 0.5 else 2 * loss


class NormedMLP(MLP):
    """Ours, with a norm before its first layer."""

    def __init__(self, in_features: int, **sizes: Any) -> None:
        super().__init__(in_features, **sizes)
        self.net.insert(0, nn.BatchNorm1d(in_features))


class OwnStep(Plain):
    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.log("grad", next(self.parameters()).grad.norm())


class Gambling(Plain):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) * (0.5 + random.random())


class Rolling(Plain):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        x = x[torch.multinomial(torch.ones(len(x)), len(x))]
        return super().training_step((x, y), batch_idx)


class Rprop(Plain):
    def configure_optimizers(self) -> Any:
        return torch.optim.Rprop(self.parameters(), lr=self.hparams.lr)


class Two(Plain):
    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(part.parameters(), lr=0.1) for part in (self.net[0], self.net[2])]


# -- data


class Irises(pl.LightningDataModule):
    """Split by the run's own random state and shuffled by an ordinary loader, as people do."""

    def __init__(self, batch_size: int = 16, noise: bool = False, stream: bool = False) -> None:
        super().__init__()
        self.batch_size, self.noise, self.stream = batch_size, noise, stream

    def setup(self, stage: str) -> None:
        x, y = load_iris(return_X_y=True)
        rows = TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
        self.train, self.val = random_split(rows, [110, 40])

    def train_dataloader(self) -> Any:
        if self.stream:
            return DataLoader(_Stream(self.train), self.batch_size)
        collate = _noised if self.noise else None
        return DataLoader(self.train, self.batch_size, shuffle=True, collate_fn=collate)

    def val_dataloader(self) -> Any:
        return DataLoader(self.val, 20)


class _Stream(IterableDataset[Any]):
    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __iter__(self) -> Any:
        return iter(self.rows)


def _noised(rows: Any) -> Any:
    x, y = zip(*rows, strict=True)
    return torch.stack(x) + np.float32(np.random.normal()), torch.stack(y)


class Loading(Plain):
    """Brings its own training data."""

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(torch.zeros(8, 4), torch.zeros(8).long()), 4)


class Recurrent(Plain):
    """A layer that keeps references to its own weights, with dropout inside."""

    def middle(self) -> nn.Module:
        return nn.Identity()

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.lstm = nn.LSTM(1, 3, num_layers=2, dropout=0.2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.lstm(x.unsqueeze(-1))[0]
        return hidden[:, -1]


class Wide(Plain):
    """Its width is its own; `kind` says what is in the middle."""

    def __init__(self, units: int = 8, kind: str = "ReLU", **given: Any) -> None:
        super().__init__(**given)
        parts: dict[str, Any] = {
            "Normed": lambda: nn.Sequential(nn.BatchNorm1d(units), nn.SiLU()),
            "Layer": lambda: nn.Sequential(nn.LayerNorm(units), nn.ReLU()),
            "Softmax": lambda: nn.Softmax(dim=-1),
            "Dropped": lambda: nn.Sequential(nn.ReLU(), nn.Dropout(0.2)),
        }
        middle = parts.get(kind, getattr(nn, kind, None))()
        self.net = nn.Sequential(nn.Linear(4, units), middle, nn.Linear(units, 3))


class Averaging(Wide):
    """What it learns from depends on how many units it has."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) + self.net[0].weight.square().mean()


class Counting(Wide):
    """Only its validation depends on how many units it has."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("val/loss", F.cross_entropy(self(x), y) + self.net[0](x).mean())
