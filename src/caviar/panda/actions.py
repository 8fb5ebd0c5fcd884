"""What is done to a run, by a user or by the keeper: always in the journal as well.

First how the two are kept together, over all ranks; then how a value is changed in a training that
runs: in optimizer, schedule, dropout, batch size, clipping.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from caviar.base.errors import UserError
from caviar.panda.journal import (
    BACK,
    DAY,
    SET,
    Journal,
    Lineage,
    back_event,
    event,
    sentence,
    shown,
)
from caviar.panda.levers import MAX_EPOCHS
from caviar.screen.view import console
from caviar.training.callbacks import BestMetric
from caviar.training.modules import Module
from caviar.training.resume import epoch_is_over
from caviar.training.schedule import build_schedule, needs_end, training_length


# An interrupt, so that Lightning shuts its loops and loaders down, and `train` hands it on.
class Rollback(KeyboardInterrupt):
    """The run goes on from an earlier day, which the journal names."""


class Actions:
    """Changes, rollbacks and lines in the journal, on every rank of a run the same.

    Arguments:
        folder: of the study.
        config: of the run; changes are written into it.
    """

    def __init__(self, folder: Path, config: DictConfig) -> None:
        self.config, self.journal = config, Journal(folder)
        self.branch = Lineage.of(self.journal.events()).branch
        self.day = 0
        """Days that have ended."""

    def write(self, trainer: pl.Trainer, kind: str, **more: Any) -> None:
        """Write down what has happened, and say it."""
        if trainer.is_global_zero:
            place = (self.branch, self.day, trainer.global_step)
            written = event(kind, *place, epoch=trainer.current_epoch, **more)
            self.journal.write(written)
            console.print(sentence(written))

    def change(
        self, trainer: pl.Trainer, changes: Mapping[str, Any], why: str, by: str
    ) -> dict[str, list[Any]]:
        """Put values in force and write them down; neither, on any rank, if one of the two fails.

        Returns:
            Config key → [old, new].

        Raises:
            UserError: this model has no such lever.
            OSError: the journal's disk is full.
        """
        old = {key: OmegaConf.select(self.config, key) for key in changes}
        moves = {key: [old[key], new] for key, new in changes.items()}
        failed: Exception | None = None
        try:
            # In force before it is written: the line says what is, also after a kill between them,
            # since a value that nobody wrote down dies with its process.
            apply_values(trainer, self.config, changes)
            self.write(trainer, SET, changes=moves, why=why, by=by)
        except (UserError, OSError) as error:
            failed = error
        # Only the first rank writes. If its disk is full, the others must take theirs back as well.
        failed = trainer.strategy.broadcast(failed)
        if failed is not None:
            with suppress(UserError):  # what could not be set need not be taken back
                apply_values(trainer, self.config, old)
            raise failed
        self.log_lr(trainer, trainer.global_step)
        return moves

    def write_day(self, trainer: pl.Trainer, best: BestMetric, validated: bool) -> None:
        """Write down the end of a day: its metric, that of the day before, what was changed.

        Arguments:
            trainer: at the day's end.
            best: follows the metric.
            validated: whether the metric is of this day, and not of an earlier one.
        """
        if not trainer.is_global_zero:
            return
        lineage = Lineage.of(self.journal.events())
        before = next((e.facts.get("value") for e in reversed(lineage.days())), None)
        today = (self.branch, self.day - 1)
        nudges = [e for e in lineage.events if e.kind in (SET, BACK) and (e.branch, e.day) == today]
        after = [f"{key} {shown(new)}" for e in nudges for key, (_, new) in e.changes.items()]
        logged = trainer.callback_metrics.get(best.metric)  # none yet in a process that goes on
        summary = {
            "metric": best.metric,
            "value": best.last if logged is None else float(logged),
            "before": before,
            "after": ", ".join(after),
            "lr": current_lr(trainer),
            "validated": validated,
        }
        self.write(trainer, DAY, facts=summary)

    def log_lr(self, trainer: pl.Trainer, step: int) -> None:
        """By the loggers themselves: `self.log` would round it to single precision."""
        for logger in trainer.loggers:
            logger.log_metrics({"lr": current_lr(trainer)}, step=step)

    def write_back(
        self, trainer: pl.Trainer, to: int, changes: Mapping[str, Any], why: str, by: str
    ) -> None:
        """Write down where to go on, on no rank if the journal cannot; `Rollback` is to follow.

        Raises:
            UserError: there is no such day.
            OSError: the journal's disk is full.
        """
        failed: Exception | None = None
        if trainer.is_global_zero:
            old = {key: OmegaConf.select(self.config, key) for key in changes}
            moves = {key: [old[key], new] for key, new in changes.items()}
            try:
                events = self.journal.events()
                self.journal.write(back_event(events, to, trainer.global_step, moves, why, by))
            except (UserError, OSError) as error:
                failed = error
        failed = trainer.strategy.broadcast(failed)
        if failed is not None:
            raise failed


BETAS = {"beta1": 0, "beta2": 1}  # config keys for what torch has as one pair


def apply_values(trainer: pl.Trainer, config: DictConfig, values: Mapping[str, Any]) -> None:
    """Put values in force, each by its config key; the config has them from then on as well.

    Arguments:
        trainer: in the middle of fitting.
        config: of the run.
        values: checked by `caviar.panda.levers`.

    Raises:
        UserError: this model, optimizer or loader does not have it.
    """
    before = _schedule(config)  # resolved, so that it shows what an interpolation makes of it
    for key, value in values.items():
        node, _, name = key.partition(".")
        if node == "optimizer":
            _set_optimizer(trainer, config, name, value)
        elif node == "model":
            _set_model(trainer, key, value)
        elif node == "data":
            _set_batch_size(trainer, key, value)
        elif key == "trainer.gradient_clip_val":
            trainer.gradient_clip_val = value
        elif key == MAX_EPOCHS:
            _set_max_epochs(trainer, value)
        if OmegaConf.select(config, key) != value:  # not over an interpolation that says the same
            OmegaConf.update(config, key, value)
    # Not only where a key of its own was set: OneCycleLR's max_lr follows optimizer.lr, a cosine
    # ends with the training, and each schedule of a sequence keeps an lr to begin with.
    after = _schedule(config) or {}
    moves: tuple[str, ...] = ("scheduler.",)
    if needs_end(after) or "schedulers" in after:
        moves = ("scheduler.", "optimizer.lr", MAX_EPOCHS, "data.batch_size")
    if after != (before or {}) or any(key.startswith(moves) for key in values):
        _rebuild_schedule(trainer, config)


def _schedule(config: DictConfig) -> Any:
    """The schedule's parameters, resolved."""
    return OmegaConf.to_container(config.scheduler, resolve=True) if config.scheduler else None


def current_lr(trainer: pl.Trainer) -> float:
    """The learning rate of the next step, the schedule's factor included."""
    return float(trainer.optimizers[0].param_groups[0]["lr"])


def _set_optimizer(trainer: pl.Trainer, config: DictConfig, name: str, value: Any) -> None:
    for optimizer in trainer.optimizers:
        for group in optimizer.param_groups:
            if name in BETAS and "betas" in group:
                betas = list(group["betas"])
                betas[BETAS[name]] = value
                group["betas"] = tuple(betas)
            elif name == "lr":
                # The config's lr is where the schedule begins; what it has made of it is kept.
                base = group.get("initial_lr", group["lr"])
                factor = group["lr"] / base if base else 1.0
                group["lr"] = value * factor
                if "initial_lr" in group:
                    group["initial_lr"] = value
            elif name in group:
                group[name] = value
            else:
                raise UserError(f"optimizer.{name}: this optimizer has no {name}")
    # A schedule computes the next lr from these, and would undo the change with its next step.
    if name == "lr":
        for schedule in trainer.lr_scheduler_configs:
            scheduler: Any = schedule.scheduler
            if hasattr(scheduler, "base_lrs"):
                scheduler.base_lrs = [value] * len(scheduler.base_lrs)
                scheduler._last_lr = [g["lr"] for g in scheduler.optimizer.param_groups]


def _set_model(trainer: pl.Trainer, key: str, value: Any) -> None:
    module = trainer.lightning_module
    assert isinstance(module, Module)
    if not module.set_live(key.partition(".")[2], value):
        raise UserError(f"{key}: this model has nothing that it could change; see Module.set_live")


def _set_batch_size(trainer: pl.Trainer, key: str, value: int) -> None:
    data = datamodule_of(trainer)
    if not hasattr(data, "batch_size"):
        raise UserError(f"{key}: {type(data).__name__} keeps no batch_size")
    data.batch_size = value
    renew_loader(trainer)


def renew_loader(trainer: pl.Trainer) -> None:
    """Let the next epoch have a loader of its own, if the batch size was changed; once.

    Not in every epoch: the processes of a loader would start anew in each.
    """
    running: Any = trainer  # Lightning sets what it does not declare
    wanted = getattr(datamodule_of(trainer), "batch_size", None)
    has = getattr(trainer.train_dataloader, "batch_size", wanted)
    running.reload_dataloaders_every_n_epochs = int(wanted != has)


def datamodule_of(trainer: pl.Trainer) -> Any:
    """The run's data module, which Lightning attaches without declaring it."""
    running: Any = trainer
    return running.datamodule


def _set_max_epochs(trainer: pl.Trainer, value: int) -> None:
    if value <= trainer.current_epoch:
        raise UserError(f"trainer.max_epochs={value}: epoch {trainer.current_epoch} runs already")
    trainer.fit_loop.max_epochs = value


def follow_batch_size(trainer: pl.Trainer, config: DictConfig) -> None:
    """Give a schedule that counts the steps of the training another length, where an epoch begins
    with another number of them."""
    for schedule in trainer.lr_scheduler_configs:
        if _steps_due(trainer, config, schedule) != _steps_of(schedule.scheduler):
            _rebuild_schedule(trainer, config)


def _steps_due(trainer: pl.Trainer, config: DictConfig, schedule: Any) -> int:
    """How far along a schedule is; in an epoch that was cut into batches anew, of the new ones."""
    epochs, module = trainer.max_epochs, trainer.lightning_module
    declared = _schedule(config) if getattr(module, "has_declared_schedule", False) else {}
    counted = schedule.interval == "step" and trainer.max_steps == -1 and needs_end(declared)
    if not counted or not epoch_is_over(trainer):
        return _steps_of(schedule.scheduler)
    length = training_length(trainer, schedule.interval, schedule.frequency)
    assert length is not None  # or it could not have been built
    return length * trainer.current_epoch // (epochs or 1)


def _steps_of(scheduler: Any) -> int:
    """How often a schedule was stepped; a ChainedScheduler leaves the counting to its parts."""
    while not hasattr(scheduler, "last_epoch"):
        scheduler = scheduler._schedulers[0]
    return int(scheduler.last_epoch)


def _rebuild_schedule(trainer: pl.Trainer, config: DictConfig) -> None:
    """The schedule with its new parameters, as far along as the old one.

    Many schedules compute each lr from the one before, so the new one is walked from the start.
    """
    for schedule in trainer.lr_scheduler_configs:
        old: Any = schedule.scheduler
        if schedule.reduce_on_plateau:  # it has no past to walk, only what it has seen
            for name, value in config.scheduler.items():
                if hasattr(old, name):
                    setattr(old, name, value)
            continue
        steps = _steps_due(trainer, config, schedule)
        for group in old.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        built = build_schedule(config.scheduler, old.optimizer, trainer, str(schedule.monitor))
        assert built is not None  # there is an old one
        new = built["scheduler"]
        with warnings.catch_warnings():
            # torch takes this for a training loop in the wrong order.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            for _ in range(steps):
                new.step()
        schedule.scheduler = new
