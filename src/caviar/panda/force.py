"""What is in force in a training that runs: in optimizers and schedules, dropout, batch size,
clipping and length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from caviar.base.errors import UserError
from caviar.config.reading import unread
from caviar.panda.groups import Groups, Move, hyperparameters
from caviar.panda.journal import Event
from caviar.panda.levers import (
    BATCH_SIZE,
    DECLARED_RATE,
    MAX_EPOCHS,
    MAX_STEPS,
    plain_nodes,
    settable,
)
from caviar.panda.optimizers import (
    groups_of,
    is_declared,
    is_displaced,
    keep_initial,
    rebuild_schedule,
    set_value,
    values_of,
)
from caviar.training.modules import set_live
from caviar.training.reading import reads_declared
from caviar.training.schedule import needs_end


class InForce:
    """The values of a run, in its training and in its config alike.

    Arguments:
        config: of the run; changes are written into it.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self._own: Groups | None = None
        self._reloads_from: int | None = None  # the epoch since which a new loader is due
        self._reloaded_every = 0  # epochs, before

    def begin(self, trainer: pl.Trainer, events: Sequence[Event]) -> Groups | None:
        """Know the optimizers of a training that begins, or goes on.

        Those that the module builds itself get what nudges have made of them, which a checkpoint of
        an earlier day does not know, nor a model that begins anew.

        Returns:
            Their groups, if the journal does not have them yet.
        """
        keep_initial(trainer)
        if is_declared(trainer.lightning_module):
            return None
        groups = groups_of(trainer)
        values = {at: values_of(group) for at, group in groups.items()}
        self._own = Groups.of(events)
        if self._own is None:
            config, read = self.plain(), reads_declared(trainer.lightning_module)
            by_nobody = unread(self.config, [key for key, _ in hyperparameters(config)], read)
            self._own = Groups.begin(values, config, self.plain(resolve=False), by_nobody)
            return self._own
        for (at, name), value in self._own.nudged.items():
            if values.get(at, {}).get(name, value) != value:
                set_value(trainer, groups[at], name, value)
        return None

    def groups(self, trainer: pl.Trainer) -> Groups | None:
        """The groups as they are now; None where the config declares the optimizer."""
        if self._own is not None:
            now = groups_of(trainer)  # to which a module may have added some since it began
            self._own.values = {at: values_of(group) for at, group in now.items()}
        return self._own

    def take(self, moves: Iterable[Move]) -> None:
        """Know what has become of groups."""
        if self._own is not None:
            self._own.take(moves)

    def plain(self, resolve: bool = True) -> dict[str, Any]:
        """The config as plain containers."""
        return plain_nodes(self.config, resolve)

    def values(self) -> dict[str, Any]:
        """Of everything that can be changed, as plain values."""
        return {
            key: OmegaConf.select(self.config, key) for key in settable(self.plain(), self._own)
        }

    def put(
        self, trainer: pl.Trainer, values: Mapping[str, Any], moves: Iterable[Move] = ()
    ) -> None:
        """Let values be in force; the config has them from then on as well.

        Arguments:
            trainer: in the middle of fitting.
            values: config key → value, checked by `caviar.panda.nudge`.
            moves: of the groups, where the module builds its own optimizers.

        Raises:
            UserError: this model, optimizer or loader does not have it.
        """
        before = self._schedule()  # resolved, so that it shows what an interpolation makes of it
        groups = groups_of(trainer)
        for key, value in values.items():
            node, _, name = key.partition(".")
            if self._own is not None and key in self._own.keys:
                pass  # its groups are among the moves
            elif node == "optimizer":
                for group in groups.values():
                    set_value(trainer, group, name, value)
            elif node == "model":
                _set_model(trainer, key, value)
            elif node == "data":
                self._set_batch_size(trainer, key, value)
            elif node == "trainer":
                _set_trainer(trainer, key, value)
            if OmegaConf.select(self.config, key) != value:  # not over what says the same already
                OmegaConf.update(self.config, key, value)
        for move in moves:
            if move.new != move.old:
                set_value(trainer, groups[move.place], move.name, move.new)
        # Not only where a key of its own was set: OneCycleLR's max_lr follows optimizer.lr, a
        # cosine ends with the training, and each schedule of a sequence keeps an lr to begin with.
        after = self._schedule()
        causes: tuple[str, ...] = ("scheduler.",)
        if needs_end(after) or "schedulers" in after:
            causes = ("scheduler.", DECLARED_RATE, MAX_EPOCHS, MAX_STEPS, BATCH_SIZE)
        if after != before or any(key.startswith(causes) for key in values):
            rebuild_schedule(trainer, self.config.get("scheduler"))

    def follow_batch_size(self, trainer: pl.Trainer) -> None:
        """Give a schedule that counts the steps of the training another length, where an epoch
        begins with another number of them."""
        scheduler = self.config.get("scheduler")
        if is_displaced(trainer, scheduler):
            rebuild_schedule(trainer, scheduler)

    def _schedule(self) -> dict[str, Any]:
        """The config's schedule, resolved."""
        schedule: dict[str, Any] = self.plain()["scheduler"]
        return schedule

    def _set_batch_size(self, trainer: pl.Trainer, key: str, value: int) -> None:
        data = datamodule_of(trainer)
        if not hasattr(data, "batch_size"):
            kind = type(data).__name__ if data is not None else "a model with loaders of its own"
            raise UserError(f"{key}: {kind} keeps no batch_size")
        data.batch_size = value
        has = getattr(trainer.train_dataloader, "batch_size", None)
        if has != value:  # the next epoch is to have a loader of its own
            if self._reloads_from is None:
                running: Any = trainer
                self._reloaded_every = running.reload_dataloaders_every_n_epochs
            self._reloads_from = trainer.current_epoch
            _reload(trainer, 1)

    def end_epoch(self, trainer: pl.Trainer) -> None:
        """Let only one epoch have a new loader, not every one: its processes would start anew."""
        if self._reloads_from is not None and trainer.current_epoch > self._reloads_from:
            self._reloads_from = None
            _reload(trainer, self._reloaded_every)


def _set_model(trainer: pl.Trainer, key: str, value: Any) -> None:
    if not set_live(trainer.lightning_module, key.partition(".")[2], value):
        raise UserError(f"{key}: the model has no dropout layer; write it a set_live(name, value)")


def _set_trainer(trainer: pl.Trainer, key: str, value: Any) -> None:
    if key == "trainer.gradient_clip_val":
        if not trainer.lightning_module.automatic_optimization:
            raise UserError(
                f"{key}: this module optimizes by hand, and so clips its gradients itself"
            )
        trainer.gradient_clip_val = value
    elif key == MAX_EPOCHS:
        if 0 <= value <= trainer.current_epoch:
            raise UserError(f"{key}={value}: epoch {trainer.current_epoch} runs already")
        trainer.fit_loop.max_epochs = value
    elif key == MAX_STEPS:
        if 0 <= value <= trainer.global_step:
            raise UserError(f"{key}={value}: {trainer.global_step} steps were taken already")
        trainer.fit_loop.epoch_loop.max_steps = value


def datamodule_of(trainer: pl.Trainer) -> Any:
    """The run's data module, which Lightning attaches without declaring it; None without one."""
    running: Any = trainer
    return running.datamodule


def _reload(trainer: pl.Trainer, every: int) -> None:
    running: Any = trainer  # Lightning sets what it does not declare
    running.reload_dataloaders_every_n_epochs = every
