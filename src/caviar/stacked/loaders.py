"""The batches of all members, with an axis of members in front; each in its own order.

Data of `caviar.training.SplitData` lie in memory once, and a batch of all is one gather. Any other
loaders are read side by side, each in the random state that its member reads it in alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.data import _set_sampler_epoch
from omegaconf import DictConfig
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.data import DataLoader, Dataset, Sampler

from caviar.stacked.errors import NotStackable
from caviar.stacked.members import Member
from caviar.stacked.module import Shared
from caviar.training.data import EpochSampler, Rows, SplitData
from caviar.training.loaders import FETCH, ITERATOR, REQUEST
from caviar.training.prepare import prepare_now
from caviar.training.streams import random_states, restore, stream

Members = Callable[[], Sequence[Member]]  # those that are still trained


class OrderOfAll(Sampler[Tensor]):
    """Which examples each batch takes of each member: index tensors of shape (members, batch).

    Arguments:
        length: examples.
        batch_size: of every member.
        members: whose seeds shuffle.
        epoch: asked when the first batch is; before, a run that resumes does not know where it is.
    """

    def __init__(
        self, length: int, batch_size: int, members: Members, epoch: Callable[[], int]
    ) -> None:
        self.length, self.batch_size = length, batch_size
        self.members, self.epoch = members, epoch

    def __len__(self) -> int:
        return -(-self.length // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        orders = []
        for member in self.members():
            sampler = EpochSampler(self.length, member.data.seed)
            sampler.set_epoch(self.epoch())
            orders.append(list(sampler))
        yield from torch.tensor(orders).split(self.batch_size, dim=1)


class RowsOfAll(Dataset[Any]):
    """`Rows` by an index of shape (members, batch)."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        flat, shape = index.flatten(), index.shape  # one index is six times as fast as two
        parts = (self.rows.inputs, self.rows.labels)
        inputs, labels = (p.index_select(0, flat).view(*shape, *p.shape[1:]) for p in parts)
        return inputs, labels


class SideBySide:
    """Loaders of all members, read together.

    Arguments:
        loaders: of each member.
        members: that are still trained; a loader is found by its member.
        epoch: asked when a pass begins; None where every pass is the same.
    """

    def __init__(
        self, loaders: dict[int, Any], members: Members, epoch: Callable[[], int] | None
    ) -> None:
        self.loaders, self.members, self.epoch = loaders, members, epoch
        lengths = {len(loader) for loader in loaders.values()}
        if len(lengths) > 1:
            raise NotStackable("the members' epochs are not of one length")
        (self.length,) = lengths

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        members, iterators = self.members(), []
        epoch = self.epoch() if self.epoch is not None else 0
        for member in members:
            loader = self.loaders[id(member)]
            if self.epoch is None:
                iterators.append(iter(loader))
                continue
            _set_sampler_epoch(loader, epoch)
            with stream([member.seed, epoch], (ITERATOR,)):
                iterators.append(iter(loader))
        for number in range(self.length):
            batches = []
            for member, iterator in zip(members, iterators, strict=True):
                if number == 0 and self.epoch is not None:
                    with stream([member.seed, epoch], (FETCH, 0)):
                        batches.append(next(iterator))
                    continue
                before = _states()
                batches.append(next(iterator))
                if _states() != before:
                    raise NotStackable("its data draw random numbers while they are read")
            yield together(batches)


def _states() -> tuple[Any, ...]:
    numpy: Any = np.random.get_state()
    return hash(torch.get_rng_state().numpy().tobytes()), numpy[2], hash(random.getstate()[1])


def together(batches: Sequence[Any]) -> Any:
    """Batches of one shape as one, with an axis of members in front."""
    leaves, specs = zip(*(tree_flatten(batch) for batch in batches), strict=True)
    if any(spec != specs[0] for spec in specs):
        raise NotStackable("the members' batches are not of one structure")
    joined = []
    for same in zip(*leaves, strict=True):
        if isinstance(same[0], Tensor):
            if any(leaf.shape != same[0].shape for leaf in same):
                raise NotStackable("the members' batches are not of one shape")
            joined.append(torch.stack(list(same)))
        else:
            joined.append(same[0])
    return tree_unflatten(joined, specs[0])


class SharedBatches(Dataset[Any]):
    """Batches that are the same for all members, such as those of a validation."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Shared:
        return Shared(self.batches[number])


class StackedData(pl.LightningDataModule):
    """The data of all members.

    Arguments:
        members: as they begin.
        alive: those that are still trained.
        alike: whether their configs differ in nothing but the seed.
    """

    def __init__(self, members: Sequence[Member], alive: Members, alike: bool) -> None:
        super().__init__()
        self.all, self.alive = list(members), alive
        first = members[0].data
        self.in_memory = alike and isinstance(first, SplitData) and _as_it_came(first)
        if any(member.data is None for member in members):
            raise NotStackable("the model brings its own data")

    def ready(self, trainer: Any, config: DictConfig) -> None:
        """Prepare and set up, as each run does alone: in the random state of its seed.

        Arguments:
            trainer: that will fit.
            config: of one of the members.
        """
        first = self.all[0].data
        prepare_now(first, "data", config)
        for member in self.all[: 1 if self.in_memory else None]:
            member.data.trainer = trainer
            restore(member.random)
            member.data.setup("fit")
            member.random = random_states()
        if self.in_memory:  # of a fixed split, the same for all seeds
            for member in self.all[1:]:
                member.data.load_state_dict(first.state_dict())
                member.data.splits = first.splits

    def train_dataloader(self) -> Any:
        first = self.all[0].data
        if self.in_memory:
            rows = first.splits["train"]
            order = OrderOfAll(len(rows), first.batch_size, self.alive, self._epoch)
            return DataLoader(RowsOfAll(rows), sampler=order, batch_size=None)
        loaders = {}
        for member in self.all:
            with stream([member.seed, 0], (REQUEST,)):
                loaders[id(member)] = _one(member.data.train_dataloader())
        return SideBySide(loaders, self.alive, self._epoch)

    def val_dataloader(self) -> Any:
        if self.in_memory:
            batches = list(_one(self.all[0].data.val_dataloader()))
            return DataLoader(SharedBatches(batches), batch_size=None, collate_fn=_as_is)
        loaders = {id(m): _one(m.data.val_dataloader()) for m in self.all}
        return SideBySide(loaders, self.alive, None)

    def _epoch(self) -> int:
        assert self.trainer is not None
        return self.trainer.current_epoch


def _as_it_came(data: SplitData) -> bool:
    """Whether nobody has written loaders of his own into a class that derives from `SplitData`."""
    names = ("train_dataloader", "val_dataloader", "_whole", "_trained_batches")
    return all(getattr(type(data), name) is getattr(SplitData, name) for name in names)


def _one(loaders: Any) -> Any:
    if not isinstance(loaders, DataLoader):
        raise NotStackable("it reads more than one loader at a time")
    try:
        len(loaders)
    except TypeError:
        raise NotStackable("its data have no length") from None
    return loaders


def _as_is(batch: Any) -> Any:
    return batch
