"""What an epoch's data is read from: a random state that is a function of (seed, epoch).

A loader with `shuffle=True` draws the seed of its order, and that of its workers, from torch's
global state when its iterator is made. Lightning makes the first iterator of a process long before
the first epoch begins, and the later ones inside of it. So in plain Lightning a run that goes on
from a checkpoint reads another order than one that was not stopped. Here every iterator is made,
and everything that is fetched before the first step of an epoch is fetched, in a state of its own.
Ranks have the same one, as they have behind Lightning's `seed_everything`: who deals an order out
to them counts on that. Lightning itself tells their workers apart.

A run that goes on inside of an epoch reads what it has trained once more, and throws it away, where
that leads to the same place. Generators that loaders, samplers and data sets keep for themselves go
into checkpoints.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.data import _set_sampler_epoch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset
from torch.utils.data import sampler as samplers

from caviar.base.signals import uninterrupted
from caviar.training.streams import (
    own_generators,
    own_numbers,
    put_back,
    restore,
    state_of,
    stream,
)

REQUEST, ITERATOR, FETCH = 1, 2, 3  # uses of (seed, epoch), which have numbers of their own each

# They draw once, when they begin, and then follow a generator that nobody else draws from.
DRAW_ONCE = (
    samplers.SequentialSampler,
    samplers.RandomSampler,
    samplers.SubsetRandomSampler,
    samplers.WeightedRandomSampler,
)


@functools.cache
def seeded(kind: Any) -> type[Any]:
    """Lightning's CombinedLoader, which an epoch is read from, as one that its `reading` seeds.

    Arguments:
        kind: the class, of one package or the other.
    """

    class Seeded(kind):
        reading: Reading

        def __iter__(self) -> Any:
            self.reading.begin(self, super().__iter__, super().__next__)
            return self

        def __next__(self) -> Any:
            if self.reading.trains:
                return super().__next__()
            return self.reading.fetch(super().__next__)

    return Seeded


class Reading:
    """How a run reads its training data: where it is, and in which random state.

    Arguments:
        trainer: that is about to fit.
        seed: of the run.
    """

    def __init__(self, trainer: pl.Trainer, seed: int) -> None:
        self.trainer: Any = trainer  # which has more than it declares
        self.seed = seed
        self.trains = False  # whether the epoch's first step has begun
        self.resumed: dict[str, Any] | None = None  # random states to go on with, if inside of one
        self.to_put_back: dict[str, Any] = {}  # states of generators, from the checkpoint
        self.loaders: list[Any] = []
        self.lengths: dict[str, int] = {}  # of the module's own lists, at the epoch's first step
        self.steps = 0  # of the optimizers, in front of this batch, where the module steps itself
        self._place = (0, 0)  # of the iterators: their epoch, and batches that were left out
        self._fetched = 0  # in front of the first step
        self._draws = False  # whether fetching takes random numbers from the global states
        self._at_begin: dict[str, Any] = {}  # states of generators, in front of this epoch
        self._numbers: dict[str, Any] = {}  # that the data keeps, in front of this epoch
        self._changed: set[str] = set()  # which of them change from epoch to epoch
        self._begun = 0  # epochs
        source = self.trainer.fit_loop._data_source
        self._request = source.dataloader
        source.dataloader = self._loaders  # type: ignore[method-assign]

    def _loaders(self) -> Any:
        """What the data module gives, as the loop's CombinedLoader, with seeded iterators."""
        with stream([self.seed, self._made_in()], (REQUEST,)):
            loaders = self._request()
        # Of two packages there is one for each, and only its own is known to the loop.
        combined = sys.modules[type(self.trainer.fit_loop).__module__].CombinedLoader
        if not isinstance(loaders, combined):
            loaders = combined(loaders, "max_size_cycle")
        if not hasattr(loaders, "reading"):
            kind: Any = type(loaders)
            loaders.__class__ = seeded(kind)  # as it is, with whatever its owner set
        loaders.reading = self
        return loaders

    def begin(self, loaders: Any, make: Callable[[], Any], advance: Callable[[], Any]) -> None:
        """Make the iterators of an epoch, beyond the batches that an interrupted run has trained.

        Arguments:
            loaders: a CombinedLoader.
            make: its own `__iter__`.
            advance: its own `__next__`.
        """
        self.loaders = loaders.flattened
        self._place = epoch, left_out = self._next_place()
        self.trains, self._fetched = False, 0
        generators = own_generators(_parts_of(self.loaders))
        for name in self.to_put_back.keys() & generators.keys():
            put_back(generators[name], self.to_put_back[name])
        self._at_begin = {name: state_of(g) for name, g in generators.items()}
        self._watch()
        # Lightning does it later, when workers have begun to read the order.
        for loader in self.loaders:
            _set_sampler_epoch(loader, epoch)
        # Workers are born with the signal handlers of the moment: these let them work on at a
        # Ctrl-C, until this process has come to the end of its step.
        with stream([self.seed, epoch], (ITERATOR,)), uninterrupted():
            make()
        for _ in range(left_out):
            self._fetch(advance)
        if left_out:  # Lightning only knows of loaders that have a state_dict
            warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before")

    def fetch(self, advance: Callable[[], Any]) -> Any:
        """A batch in front of the epoch's first step, or of the first one behind a resume."""
        if self.resumed is None:
            return self._fetch(advance)
        restore(self.resumed)  # in an undisturbed run it is read in the state behind the last step
        return advance()

    def _fetch(self, advance: Callable[[], Any]) -> Any:
        with stream([self.seed, self._place[0]], (FETCH, self._fetched)) as drawn:
            self._fetched += 1
            batch = advance()
            self._draws |= drawn()
        return batch

    def _watch(self) -> None:
        """Notice what the data keeps from epoch to epoch, such as a counter.

        Not what the first epoch alone has changed: that may be a place in the data, at its end.
        """
        before, self._numbers = self._numbers, own_numbers(_parts_of(self.loaders))
        self._begun += 1
        if self._begun > 2:
            both = before.keys() & self._numbers.keys()
            self._changed |= {name for name in both if before[name] != self._numbers[name]}

    def _next_place(self) -> tuple[int, int]:
        """The epoch that comes, and how many of its batches have to be left out."""
        loop = self.trainer.fit_loop
        batches = loop.epoch_loop.batch_progress
        inside = loop.restarting and not batches.is_last_batch
        leave_out = inside and self.can_leave_out()
        return loop.epoch_progress.current.processed, batches.current.ready if leave_out else 0

    def _made_in(self) -> int:
        """The epoch in which an undisturbed run made the loaders that it has now."""
        every = self.trainer.reload_dataloaders_every_n_epochs
        epoch: int = self.trainer.fit_loop.epoch_progress.current.processed
        return epoch - epoch % every if every else 0

    def check_place(self) -> None:
        """Mend where Lightning goes on, once it has read the checkpoint.

        Where steps end the training, it takes an epoch that is over for one that is not, and ends
        it once more. And where `configure_optimizers` asked how many steps there will be, it has
        made the iterators before it knew how far the run was.
        """
        loop = self.trainer.fit_loop
        progress = loop.epoch_progress.current
        if loop.restarting and progress.ready == progress.processed:
            progress.completed = progress.processed
            loop._restarting = loop.epoch_loop.restarting = False
            loop.reset_restart_stage()
        if self.trainer.reload_dataloaders_every_n_epochs:  # counted as an undisturbed run does
            loop._last_train_dl_reload_epoch = self._made_in()
        to_load = loop.restarting and loop._combined_loader_states_to_load
        if self._next_place() != self._place or to_load:
            loop._load_combined_loader_states()
            assert loop._data_fetcher is not None
            iter(loop._data_fetcher)

    def own_states(self, inside: bool) -> dict[str, Any]:
        """The states of the loaders' own generators, for a checkpoint.

        Arguments:
            inside: of an epoch, whose first batches the run that goes on reads once more.
        """
        if inside:
            return self._at_begin
        return {n: state_of(g) for n, g in own_generators(_parts_of(self.loaders)).items()}

    # -- how exact that is

    def can_leave_out(self) -> bool:
        """Whether reading an epoch's first batches once more leads to where it was left.

        It does if what is read depends on nothing but how the epoch began. Random numbers that a
        data set draws in workers are the same again. Those that it draws in this process are not;
        but of a data set that is asked for one example after the other, that is no matter.
        """
        if len(self.loaders) != 1 or not isinstance(loader := self.loaders[0], DataLoader):
            return False
        if type(loader).__iter__ is not DataLoader.__iter__ or knows_its_place(loader):
            return False
        if isinstance(loader.dataset, IterableDataset):
            return loader.num_workers > 0 or not self._draws
        order = (loader.generator, getattr(loader.sampler, "generator", None))
        return (
            type(loader.sampler) in DRAW_ONCE
            and type(loader.batch_sampler) in (BatchSampler, type(None))
            and all(g in order for g in own_generators(_parts_of([loader])).values())
        )

    def can_go_on_inside(self) -> bool:
        """Whether a run goes on with the next batch, where it was stopped inside of an epoch."""
        return self.can_leave_out() or all(knows_its_place(loader) for loader in self.loaders)

    def why_not_exact(self, validation: Iterable[Any]) -> str | None:
        """Why an epoch is no function of (seed, epoch); None if it is, as far as can be known.

        Arguments:
            validation: loaders of it, whose random numbers reach the metric.
        """
        others = [*validation]
        ours = own_generators(_parts_of(self.loaders)).values()
        for loader in (*self.loaders, *others):
            if why := _why_not(loader):
                return why
        if self._changed:
            name = min(self._changed).partition(".")[2]
            return f"the loader's {name} changes from epoch to epoch, and no checkpoint keeps it"
        if any(g not in ours for g in own_generators(_parts_of(others)).values()):
            return "a validation loader has a generator of its own, which no checkpoint keeps"
        trainer, alone = self.trainer, self.trainer.world_size == 1
        if self._at_begin and (trainer.reload_dataloaders_every_n_epochs or not alone):
            return (
                "a generator of the loader's own is made anew with it, or differs between processes"
            )
        return None


def knows_its_place(loader: Any) -> bool:
    """Whether Lightning can put a loader back to where it was inside of an epoch."""
    return hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")


def _why_not(loader: Any) -> str | None:
    if knows_its_place(loader) or isinstance(loader, Sequence):
        return None
    if not isinstance(loader, DataLoader):
        return f"{type(loader).__name__} is no DataLoader of torch's, and has no state_dict"
    if loader.num_workers and loader.persistent_workers:
        return (
            "persistent_workers=True: random numbers that the data set draws in workers go on from "
            "epoch to epoch"
        )
    if loader.num_workers and not loader.in_order:
        return "in_order=False: batches come as the workers happen to be done"
    return None


def _parts_of(loaders: Iterable[Any]) -> dict[str, Any]:
    """What of loaders may keep a state."""
    return {
        f"{number}.{name}": part
        for number, loader in enumerate(loaders)
        for name in ("generator", "sampler", "batch_sampler", "dataset", "collate_fn")
        if (part := getattr(loader, name, None)) is not None
    }
