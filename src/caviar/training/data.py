"""Data modules: fixed splits, and an order that is a pure function of (seed, epoch).

    class MyData(DataModule):
        def load(self):
            return inputs, labels      # tensors or arrays, one row an example

`SplitData` is the same for what is no table, such as text (`caviar.training.text`). Any other
LightningDataModule works as well; `data.batch_size` can be searched if it is an argument of it.

The order is no shuffling of a shared generator: so it is the same in every rank, in a run that
resumes, and for every hyperparameter that draws random numbers of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from caviar.base.errors import UserError

Batch = tuple[Tensor, Tensor]


class Rows(Dataset[Batch]):
    """Inputs and labels held in memory, one row an example.

    A whole batch is fetched by one index operation, which spares a small model the time that it
    takes to collate single examples.
    """

    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        self.inputs, self.labels = inputs, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        return self.inputs[index], self.labels[index]

    def __getitems__(self, indices: list[int]) -> Batch:
        return self.inputs[indices], self.labels[indices]


class EpochSampler(Sampler[int]):
    """Shuffles by (seed, epoch), and deals the order out to the ranks of a distributed run.

    Every rank gets the same number of examples, or one would wait for the gradients of the others
    at the end of the epoch; the order is padded from its start.

    Arguments:
        length: examples of all ranks together.
        seed: of the run.
        rank: of this process.
        world_size: processes.
    """

    def __init__(self, length: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.length, self.seed, self.rank, self.world_size = length, seed, rank, world_size
        self.epoch = 0
        self.skip = 0  # examples of the next pass alone, which an interrupted run has seen
        self.trained: Callable[[], int] = lambda: 0  # batches of this epoch so far

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.length // self.world_size)

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        padded = np.resize(order, len(self) * self.world_size)
        first, self.skip = self.skip, 0
        return iter(padded[self.rank :: self.world_size].tolist()[first:])


class EpochLoader(DataLoader[Batch]):
    """A loader whose pass over the data can be taken up in the middle of an epoch.

    Lightning keeps `state_dict()` in checkpoints, and hands it back when a run resumes. What counts
    is the batches that were trained, not those that were fetched: Lightning may fetch one ahead.
    """

    def state_dict(self) -> dict[str, int]:
        return {"batches": self.sampler.trained()} if isinstance(self.sampler, EpochSampler) else {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        if isinstance(self.sampler, EpochSampler):
            self.sampler.skip = state["batches"] * (self.batch_size or 1)


class SplitData(pl.LightningDataModule):
    """Train / validation / test data held in memory, whatever its shape.

    Derive from it and fill `self.splits` in `setup`, by `parts`; `DataModule` is that for a table.

    Arguments:
        batch_size: examples per training step, on each device.
        split_seed: of the split alone.
        fractions: shares of train, validation and test.
        seed: of the training order; the run's seed.
    """

    eval_batch_size = 1024  # has no influence on a metric, only on memory and time

    def __init__(
        self,
        batch_size: int,
        split_seed: int = 0,
        fractions: Sequence[float] = (0.6, 0.2, 0.2),
        seed: int = 0,
    ) -> None:
        super().__init__()
        if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
            raise UserError(f"data.fractions {list(fractions)} are not three shares of 1")
        if batch_size < 1:
            raise UserError(f"data.batch_size {batch_size} is below 1")
        self.batch_size, self.seed = batch_size, seed
        self.split_seed, self.fractions = split_seed, tuple(fractions)
        self.splits: dict[str, Rows] = {}

    def parts(self, count: int) -> dict[str, np.ndarray]:
        """Which things are for `train`, `val` and `test`: shuffled indices of each.

        Arguments:
            count: things there are, examples or files.

        Raises:
            UserError: a part would be empty.
        """
        order = np.random.default_rng(self.split_seed).permutation(count)
        ends = np.rint(np.cumsum(self.fractions) * count).astype(int)
        parts = dict(zip(("train", "val", "test"), np.split(order, ends[:-1]), strict=True))
        for name, part in parts.items():
            if not len(part):
                raise UserError(
                    f"data.fractions {list(self.fractions)} of {count} leave nothing for {name}; "
                    "give it a larger share"
                )
        return parts

    def train_dataloader(self) -> DataLoader[Batch]:
        rows = self.splits["train"]
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        sampler = EpochSampler(len(rows), self.seed, rank, world_size)
        sampler.trained = self._trained_batches
        return EpochLoader(rows, self.batch_size, sampler=sampler, collate_fn=_as_is)

    def _trained_batches(self) -> int:
        if self.trainer is None:
            return 0
        batches = self.trainer.fit_loop.epoch_loop.batch_progress
        # At an epoch's end none of the next one. Lightning hands that on where steps are counted.
        return 0 if batches.is_last_batch else batches.current.ready

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._whole("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._whole("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self._whole("test")  # what the model was neither trained nor chosen by

    def _whole(self, split: str) -> DataLoader[Batch]:
        # Not dealt out to ranks: padding would bias the metric, and every rank must see the same
        # value to stop, or keep a checkpoint, at the same epoch.
        return DataLoader(self.splits[split], batch_size=self.eval_batch_size, collate_fn=_as_is)


class DataModule(SplitData):
    """Train / validation / test split of one table, fixed by a seed of its own.

    What is to be predicted is either a class or numbers; which, the config says, since the model is
    built from it before the data is loaded.

    Arguments:
        num_features: columns of the table; the model's `in_features` follows it.
        num_classes: classes among the labels, which are whole numbers from 0 on.
        num_outputs: numbers to predict for each example, in place of a class.
        split: `batch_size`, `split_seed`, `fractions` and `seed`, as of `SplitData`.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int | None = None,
        num_outputs: int | None = None,
        **split: Any,
    ) -> None:
        super().__init__(**split)
        if (num_classes is None) == (num_outputs is None):
            raise UserError(
                f"data.num_classes={num_classes} data.num_outputs={num_outputs}: write one of the "
                "two, num_classes for labels that are classes, num_outputs for numbers"
            )
        self.num_features, self.num_classes = num_features, num_classes
        self.num_outputs = num_outputs
        self.mean: Tensor | None = None  # of the training part's inputs, shape (num_features,)
        self.deviation: Tensor | None = None

    def load(self) -> tuple[Any, Any]:
        """All inputs, shape (examples, num_features), and what is to be predicted.

        That is labels of shape (examples,), or numbers of shape (examples,) or
        (examples, num_outputs).
        """
        raise NotImplementedError(f"{type(self).__name__} needs a load() of its own")

    def setup(self, stage: str | None = None) -> None:
        """Load once, split, and standardise by the training part's mean and deviation."""
        if self.splits:
            return
        inputs, targets = (torch.as_tensor(values) for values in self.load())
        inputs = inputs.float()
        targets = self._labels(targets) if self.num_outputs is None else targets.float()
        self._check_sizes(inputs.shape[1], targets)
        parts = self.parts(len(targets))
        if self.mean is None:  # else they came from a checkpoint, with the weights
            # By the training part alone: the others must not be seen before they are asked for.
            part = inputs[parts["train"]]
            self.mean, self.deviation = part.mean(0), part.std(0)
        inputs = self.transform(inputs)
        self.splits = {name: Rows(inputs[part], targets[part]) for name, part in parts.items()}

    def _labels(self, targets: Tensor) -> Tensor:
        """Classes, as whole numbers."""
        labels = targets.long()
        odd = labels.to(targets.dtype) != targets
        if odd.any() or labels.min() < 0:
            wrong = targets[odd] if odd.any() else targets[labels < 0]
            raise UserError(
                f"data.num_classes={self.num_classes}, but a label is {wrong[0].item():g}, and "
                "classes are whole numbers from 0 on; to predict numbers, write data.num_outputs=… "
                "in place of num_classes"
            )
        return labels

    def _check_sizes(self, features: int, targets: Tensor) -> None:
        """Refuse data that is not what the config says."""
        if self.num_outputs is None:
            kind, asked, has = "classes", self.num_classes, int(targets.max()) + 1
        else:
            kind, asked, has = "outputs", self.num_outputs, targets[0].numel()
        if (features, has) != (self.num_features, asked):
            raise UserError(
                f"the data has {features} features and {has} {kind}, but the config says "
                f"data.num_features={self.num_features} data.num_{kind}={asked}"
            )

    def transform(self, inputs: Any) -> Tensor:
        """Inputs as they came, scaled as the model wants them: by the training part's statistics.

        Arguments:
            inputs: shape (examples, num_features).

        Raises:
            UserError: the data has not been set up, nor loaded from a checkpoint.
        """
        if self.mean is None or self.deviation is None:
            raise UserError(
                f"{type(self).__name__} has no statistics yet: call setup(), or take it from "
                "caviar.load"
            )
        inputs = torch.as_tensor(inputs).float()
        return (inputs - self.mean) / torch.where(self.deviation > 0, self.deviation, 1.0)

    def state_dict(self) -> dict[str, Any]:
        """What was computed from the training part; Lightning keeps it in checkpoints."""
        return {} if self.mean is None else {"mean": self.mean, "deviation": self.deviation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Scale as the run did whose checkpoint it is."""
        before: Any = (self.mean, self.deviation)
        now = (state_dict["mean"].cpu(), state_dict["deviation"].cpu())
        self.mean, self.deviation = now
        if not self.splits or all(torch.equal(*pair) for pair in zip(before, now, strict=True)):
            return
        self.splits = {}  # it has been set up with a split that the checkpoint's run did not have
        self.setup()


class SklearnData(DataModule):
    """A data set that ships inside scikit-learn: `digits`, `breast_cancer`, `wine` or `iris`, which
    have classes, or `diabetes`, which has a number for each patient."""

    NAMES = ("digits", "breast_cancer", "wine", "iris", "diabetes")

    def __init__(self, name: str, **table: Any) -> None:
        super().__init__(**table)
        if name not in self.NAMES:
            raise UserError(f"data.name {name!r} is not one of {', '.join(self.NAMES)}")
        self.name = name

    def load(self) -> tuple[Any, Any]:
        from sklearn import datasets

        return getattr(datasets, f"load_{self.name}")(return_X_y=True)


def _as_is(batch: Any) -> Any:  # `Rows` gives whole batches; no lambda, which cannot be pickled
    return batch
