"""Data modules and a model as people write them, who never heard of resuming to the last bit.

    python train.py data._target_=ordinary.Data data.name=shuffled model._target_=ordinary.Model

`data.name` is the kind of the training loader, a function below.
"""

import multiprocessing
import os
import random
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Sampler,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
)
from torchmetrics import MaxMetric, MeanMetric

from caviar.training.modules import Module

SIZE = 30


def table(size: int = SIZE) -> TensorDataset:
    inputs = torch.arange(4.0 * size).reshape(size, 4) % 7 - 3
    return TensorDataset(inputs, inputs.sum(1).long() % 3)


class Augmented(Dataset[Any]):
    """With noise of every library, and of a generator of its own."""

    def __init__(self) -> None:
        self.rows, self.transforms = table(), [np.random.default_rng(1), random.Random(2)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        x, y = self.rows[index]
        numpy, python = self.transforms
        own = numpy.random() + python.random()
        return x + torch.rand(4) + np.random.rand() + random.random() + own, y


class Stream(IterableDataset[Any]):
    """Shuffles as it is read, and shares the rows among workers; counts its epochs if it is to."""

    def __init__(self, counts: bool = False) -> None:
        self.counts, self.epoch = counts, 0

    def __iter__(self) -> Iterator[Any]:
        worker, rows = get_worker_info(), list(table())
        self.epoch += self.counts
        mine = rows[worker.id :: worker.num_workers] if worker else rows
        random.shuffle(mine)
        for place in np.random.permutation(len(mine)):
            x, y = mine[place]
            yield x + torch.rand(4) + self.epoch, y


class Tape(IterableDataset[Any]):
    """Has no random numbers but those of a generator that it begins anew, and no length."""

    def __iter__(self) -> Iterator[Any]:
        generator = torch.Generator().manual_seed(3)
        for x, y in table():
            yield x + torch.rand(4, generator=generator), y


class Bucketed(Sampler[list[int]]):
    """A batch sampler that shuffles whole batches, by Python's own state."""

    def __iter__(self) -> Iterator[list[int]]:
        batches = np.arange(SIZE).reshape(-1, 5).tolist()
        random.shuffle(batches)
        return iter(batches)

    def __len__(self) -> int:
        return SIZE // 5


def shuffled() -> Any:
    return DataLoader(table(), 4, shuffle=True, drop_last=True)


def own_generator() -> Any:
    return DataLoader(table(), 4, shuffle=True, generator=torch.Generator().manual_seed(5))


def weighted() -> Any:
    return DataLoader(table(), 4, sampler=WeightedRandomSampler(torch.rand(SIZE), SIZE))


def bucketed() -> Any:
    return DataLoader(table(), batch_sampler=Bucketed())


def augmented() -> Any:
    return DataLoader(Augmented(), 4, shuffle=True)


def several() -> Any:
    short = DataLoader(table(10), 4, shuffle=True)  # begins anew in the middle of an epoch
    return {"long": shuffled(), "short": [short]}


def stream() -> Any:
    return DataLoader(Stream(), 4)


def tape() -> Any:
    return DataLoader(Tape(), 4)


def counting_stream() -> Any:
    return DataLoader(Stream(counts=True), 4)


def shuffled_workers() -> Any:
    return DataLoader(table(60), 4, shuffle=True, num_workers=2, prefetch_factor=1)


def augmented_workers() -> Any:
    return DataLoader(Augmented(), 4, shuffle=True, num_workers=2)


def stream_workers() -> Any:
    return DataLoader(Stream(), 4, num_workers=2)


def out_of_order() -> Any:
    return DataLoader(table(), 4, num_workers=2, in_order=False)


def batches() -> Any:
    return filter(None, shuffled())


def persistent_workers() -> Any:
    return DataLoader(Augmented(), 4, num_workers=2, persistent_workers=True)


class Data(pl.LightningDataModule):
    def __init__(self, name: str, **_: Any) -> None:
        super().__init__()
        self.kind = name

    def train_dataloader(self) -> Any:
        return globals()[self.kind]()

    def val_dataloader(self) -> Any:
        return DataLoader(table(), 10)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if not self.trainer.training:
            return batch
        if isinstance(batch, dict):
            first, (second,) = batch["long"], batch["short"]
            batch = [first[0][: len(second[0])] + second[0], first[1][: len(second[1])]]
        return [batch[0] + torch.rand(1), batch[1]]


class Model(Module):
    """Draws random numbers wherever it may, logs means over an epoch, and keeps its best.

    Arguments:
        stopped: the step in which it gets a Ctrl-C.
        killed: the step in which it dies.
        schedule: none, `cycle`, which must know the number of steps, or `plateau`, by the metric.
    """

    def __init__(self, stopped: int = -1, killed: int = -1, schedule: str = "", **_: Any) -> None:
        super().__init__()
        self.stopped, self.killed, self.schedule = stopped, killed, schedule
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 3))
        self.mean, self.best = MeanMetric(), MaxMetric()
        self.register_buffer("shift", torch.zeros(1))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.05, momentum=0.9)
        if self.schedule == "cycle":
            steps = int(self.trainer.estimated_stepping_batches)
            cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
            return [optimizer], [{"scheduler": cycle, "interval": "step"}]
        if self.schedule == "plateau":
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, patience=0, threshold=0.9
            )
            every = {"monitor": "val/loss", "interval": "epoch", "frequency": 2}
            return [optimizer], [{"scheduler": plateau, **every}]
        return optimizer

    def on_train_start(self) -> None:
        self.best.reset()
        torch.rand(7), np.random.rand(7), random.random()

    def on_train_epoch_start(self) -> None:
        self.shift.copy_(torch.rand(1))

    def loss(self, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0] + self.shift), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if self.global_step == self.stopped - 1:
            self.stopped = -1
            for process in (*multiprocessing.active_children(), multiprocessing.current_process()):
                os.kill(process.pid, signal.SIGINT)  # as a terminal does
        if self.global_step == self.killed - 1:
            raise RuntimeError("killed")
        loss = self.loss(batch)
        self.mean(loss)
        self.log_dict({"train/loss": loss, "train/mean": self.mean}, on_step=False, on_epoch=True)
        self.log("train/worst", loss, on_step=False, on_epoch=True, reduce_fx="max")
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        loss = self.loss(batch)
        self.best(loss)
        self.log_dict({"val/loss": loss, "val/worst": self.best.compute()})


class Collecting(Model):
    """Collects its losses by itself, as Lightning's own guide has it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.outputs: list[Tensor] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.outputs.append(loss.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("train/collected", torch.stack(self.outputs).mean())
        self.outputs.clear()
