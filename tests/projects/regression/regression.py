"""The next value of a series from those before it, judged by R².

python train.py experiment=regression
"""

from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.regression import R2Score


class Forecaster(LightningModule):
    """Arguments: values that are looked back on, hidden units, and AdamW's."""

    def __init__(self, lags: int, width: int, lr: float, weight_decay: float) -> None:
        super().__init__()
        self.lr, self.weight_decay = lr, weight_decay
        self.net = nn.Sequential(nn.Linear(lags, width), nn.Tanh(), nn.Linear(width, 1))
        self.r2 = nn.ModuleDict({"val": R2Score(), "test": R2Score()})

    def forward(self, past: Tensor) -> Tensor:
        return self.net(past).squeeze(1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        past, value = batch
        loss = mse_loss(self(past), value)
        self.log("train/mse", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self._judge(batch, "val")

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self._judge(batch, "test")

    def _judge(self, batch: list[Tensor], part: str) -> None:
        past, value = batch
        self.r2[part].update(self(past), value)
        self.log(f"{part}/r2", self.r2[part])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.parameters(), lr=self.lr, weight_decay=self.weight_decay, betas=(0.9, 0.99)
        )


class Series(LightningDataModule):
    """Two seasons, a trend and noise: trained on the beginning, judged on what comes later.

    Arguments: values that are looked back on, shares of train and validation, and the loader's.
    """

    def __init__(
        self, lags: int, batch_size: int, train: float = 0.7, validation: float = 0.15
    ) -> None:
        super().__init__()
        self.lags, self.batch_size = lags, batch_size
        self.shares = (train, validation)

    def setup(self, stage: str) -> None:
        time = np.arange(900)
        noise = np.random.default_rng(5).normal(scale=0.2, size=len(time))
        series = np.sin(time / 4) + 0.5 * np.sin(time / 27) + time / 900 + noise
        past = np.lib.stride_tricks.sliding_window_view(series[:-1], self.lags)
        value = series[self.lags :]
        first, second = (int(end * len(value)) for end in np.cumsum(self.shares))
        # By the past alone.
        self.mean, self.deviation = float(value[:first].mean()), float(value[:first].std())
        self.parts = {
            name: TensorDataset(self._scaled(past[part]), self._scaled(value[part]))
            for name, part in (
                ("train", slice(first)),
                ("val", slice(first, second)),
                ("test", slice(second, None)),
            )
        }

    def _scaled(self, values: np.ndarray) -> Tensor:
        return torch.tensor((values - self.mean) / self.deviation, dtype=torch.float32)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts["train"], self.batch_size, shuffle=True, drop_last=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts["val"], batch_size=256)

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts["test"], batch_size=256)
