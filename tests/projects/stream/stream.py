"""A model of a stream of readings: nobody knows how many there are, and workers share them.

    python train.py experiment=stream

Everything is counted in steps, and each step takes two batches.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

Reading = tuple[Tensor, Tensor]


class Readings(IterableDataset[Reading]):
    """Readings of a sensor, some of which are lost.

    Arguments:
        source: of the random numbers that stand for the sensor.
        transform: of what was read.
        at_most: readings of each worker; None: as many as are asked for.
    """

    def __init__(
        self, source: int, transform: Callable[[Tensor], Tensor], at_most: int | None = None
    ) -> None:
        self.source, self.transform, self.at_most = source, transform, at_most

    def __iter__(self) -> Iterator[Reading]:
        worker = get_worker_info()
        number = worker.id if worker is not None else 0
        sensor = torch.Generator().manual_seed(1000 * self.source + number)
        return islice(self._read(sensor), self.at_most)

    def _read(self, sensor: torch.Generator) -> Iterator[Reading]:
        while True:
            reading = torch.rand(6, generator=sensor)
            if reading[5] < 0.1:
                continue
            yield self.transform(reading[:5]), reading[0] * reading[1] + reading[2] ** 2


class Streamed(pl.LightningModule):
    """Arguments: hidden units, and SGD's; its rate falls with every step."""

    def __init__(self, width: int, lr: float, momentum: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Linear(width, 1))
        self.loss = nn.MSELoss()

    def forward(self, readings: Tensor) -> Tensor:
        return self.net(readings).squeeze(1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        readings, targets = batch
        loss = self.loss(self(readings), targets)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        readings, targets = batch
        self.log("val/loss", self.loss(self(readings), targets), batch_size=len(targets))

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        readings, targets = batch
        self.log("test/loss", self.loss(self(readings), targets), batch_size=len(targets))

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.SGD(
            self.parameters(), lr=self.hparams.lr, momentum=self.hparams.momentum
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.max_steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class StreamData(pl.LightningDataModule):
    def __init__(self, batch_size: int = 16, num_workers: int = 2) -> None:
        super().__init__()
        self.batch_size, self.num_workers = batch_size, num_workers

    def _loader(self, source: int, at_most: int | None) -> DataLoader[Any]:
        readings = Readings(source, lambda reading: 2 * reading - 1, at_most)
        return DataLoader(readings, self.batch_size, num_workers=self.num_workers)

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(1, None)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(2, 64)

    def test_dataloader(self) -> DataLoader[Any]:
        return self._loader(3, 64)
