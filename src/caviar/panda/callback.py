"""Days, nudges and rollbacks, inside the training.

Nudges come in front of a step. A day ends behind one, or behind an epoch, with a checkpoint that
the run can go on from bit for bit. A day of steps or minutes that is over where no such checkpoint
can be written (gradients are being accumulated, a validation is to come) ends a step later.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig

from caviar.base.errors import UserError
from caviar.config.reading import refuse_unread
from caviar.panda.actions import Actions, Rollback
from caviar.panda.force import datamodule_of
from caviar.panda.groups import RATE
from caviar.panda.inbox import Inbox, Request
from caviar.panda.journal import DAY, NOTE, RESUME, Lineage, day_checkpoint
from caviar.panda.keeper import Day, PandaSettings, decide
from caviar.panda.levers import BATCH_SIZE
from caviar.panda.nudge import Nudge, read_changes
from caviar.panda.optimizers import lr_now
from caviar.space import Space
from caviar.training.callbacks import BestMetric
from caviar.training.resume import between_steps, epoch_is_over

STATE = "panda"  # in a checkpoint: branch, day, values in force
LOOK = 50  # batches between looks at the loss for NaN: each waits for the device


# A Checkpoint, so that Lightning runs it behind the module's own epoch end.
class PandaCallback(pl.callbacks.Checkpoint):
    """What makes a training a panda.

    Arguments:
        folder: of the study.
        config: of the run; nudges are written into it.
        settings: the config's `panda` node.
        best: follows the metric.
    """

    def __init__(
        self, folder: Path, config: DictConfig, settings: PandaSettings, best: BestMetric
    ) -> None:
        self.folder, self.settings, self.best = folder, settings, best
        self.length = Day.parse(settings.day)
        self.at, self.inbox = Actions(folder, config), Inbox(folder)
        self._begun = 0.0  # where the day began, in its own unit
        self._loaded: dict[str, Any] | None = None
        self._validated = False  # since the day began
        self._trainer: pl.Trainer | None = None

    # -- the run begins, or goes on

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._loaded = checkpoint.get(STATE)
        # A checkpoint inside of an epoch: it goes on with the batches that it was cut into, though
        # another size may be in force from the next epoch on.
        data = datamodule_of(trainer)
        if self._loaded and "random_states" in checkpoint and hasattr(data, "batch_size"):
            data.batch_size = self._loaded["values"].get(BATCH_SIZE) or data.batch_size

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        values = self.at.force.values()
        if BATCH_SIZE in values and not epoch_is_over(trainer):
            loader: Any = trainer.train_dataloader
            values[BATCH_SIZE] = getattr(loader, "batch_size", None)
        spent = self._clock(trainer) - self._begun
        where = {"branch": self.at.branch, "day": self.at.day, "spent": spent}
        checkpoint[STATE] = {**where, "values": values}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._trainer, spent = trainer, 0.0
        if self._loaded is not None:
            self.at.day, spent = self._loaded["day"], self._loaded["spent"]
        self.at.begin(trainer)
        if self._loaded is not None:
            # The checkpoint's optimizer has the values of its day; ours are those in force.
            old, now = self._loaded["values"], self.at.force.values()
            self.at.force.put(trainer, {k: v for k, v in now.items() if old.get(k) != v})
        # A checkpoint from the end of an epoch still says that the epoch is over.
        epochs = self.length.unit == "epochs"
        now_on = float(trainer.current_epoch) if epochs else self._clock(trainer)
        self._begun = now_on - spent
        if self._loaded is not None and trainer.is_global_zero:
            # The checkpoint of a day is written before its line in the journal, never behind it: a
            # line without a checkpoint would be a day to go back to that is not there. Where the
            # line is missing, it is written now.
            events = self.at.journal.events()
            ended = {(e.branch, e.day) for e in events if e.kind == DAY}
            own = self._loaded["branch"] == self.at.branch and self.at.day > events[0].day
            if own and (self.at.branch, self.at.day) not in ended:
                self.at.write_day(trainer, self.best, self._validated)
            self.at.write(trainer, RESUME)
        self._loaded = None  # a script may fit more than once

    def left_at(self) -> tuple[int, int] | None:
        """Step and epoch that the training has come to; None where it had not begun."""
        trainer = self._trainer
        return None if trainer is None else (trainer.global_step, trainer.current_epoch)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.at.force.follow_batch_size(trainer)

    # -- nudges

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        while (request := self._next_request(trainer)) is not None:
            self._serve(trainer, request)

    def _next_request(self, trainer: pl.Trainer) -> Request | None:
        """The next one, the same on every rank of a distributed run."""
        request = self.inbox.poll() if trainer.is_global_zero else None
        if trainer.world_size == 1:
            return request
        # In front of every step, so a number first: an object is pickled and takes two broadcasts.
        there = torch.tensor([int(request is not None)], device=trainer.strategy.root_device)
        torch.distributed.broadcast(there, src=0)
        same: Request | None = trainer.strategy.broadcast(request) if there.item() else None
        return same

    def _serve(self, trainer: pl.Trainer, request: Request) -> None:
        what, why = request.what, request.what.get("why", "")
        if what.get("stop"):
            self._answer(trainer, request, step=trainer.global_step)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        try:
            nudge = self._read(trainer, what["set"], what["force"])
            if "back" in what:
                self.at.write_back(trainer, what["back"], nudge, why, "user")
                self._answer(trainer, request, step=trainer.global_step)
                raise Rollback
            self.at.change(trainer, nudge, why, "user")
        except (UserError, OSError) as error:
            self._answer(trainer, request, error=str(error))
            return
        place = {"step": trainer.global_step, "epoch": trainer.current_epoch}
        words = {"changes": nudge.written, "lr": lr_now(trainer), **nudge.facts}
        self._answer(trainer, request, **words, **place)

    def _read(self, trainer: pl.Trainer, overrides: Sequence[str], force: bool) -> Nudge:
        """What is asked for, against what is in force, which the config has: nudges go into it."""
        if not overrides:
            return Nudge([])
        plain, groups = self.at.force.plain(), self.at.force.groups(trainer)
        nudge = read_changes(overrides, plain, {}, Space.parse(plain["space"]), force, groups)
        if groups is None:  # a cyclic schedule may set what the optimizer has
            refuse_unread(self.at.force.config, nudge.new, reads_declared=True)
        return nudge

    def _answer(self, trainer: pl.Trainer, request: Request, **words: Any) -> None:
        if trainer.is_global_zero:
            # On a full disk the training goes on, and who asked is told to look into the journal.
            with suppress(OSError):
                self.inbox.answer(request, **words)

    # -- days

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        ends = self.length.unit != "epochs" and self._is_over(trainer) and between_steps(trainer)
        # Under DDP only where a day ends: every rank has to look, and to agree.
        if ends or (trainer.world_size == 1 and batch_idx % LOOK == LOOK - 1):
            loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
            if not self._is_finite(trainer, loss):
                self._diverged(trainer)
                return
        if ends:
            self._end_day(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated |= not trainer.sanity_checking

    def _is_finite(self, trainer: pl.Trainer, loss: Any) -> bool:
        """Whether the loss is a number on every rank."""
        if not isinstance(loss, torch.Tensor):
            return True
        total = trainer.strategy.reduce(loss.detach().float().sum(), reduce_op="sum")
        return bool(torch.isfinite(total))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.at.log_lr(trainer, trainer.global_step - 1)
        self.at.force.end_epoch(trainer)
        value = float(trainer.callback_metrics.get(self.best.metric, math.nan))
        if self.best.diverged or math.isinf(value):
            self._diverged(trainer)
        elif self._is_over(trainer):
            self._end_day(trainer)

    def _clock(self, trainer: pl.Trainer) -> float:
        """Where the run is, in the day's own unit."""
        if self.length.unit == "steps":
            return float(trainer.global_step)
        if self.length.unit == "seconds":
            return time.monotonic()
        return float(trainer.current_epoch + epoch_is_over(trainer))

    def _is_over(self, trainer: pl.Trainer) -> bool:
        over = self._clock(trainer) - self._begun >= self.length.length
        if self.length.unit == "seconds" and trainer.world_size > 1:  # the clocks differ
            over = trainer.strategy.broadcast(over)
        return over

    def _end_day(self, trainer: pl.Trainer) -> None:
        self.at.day += 1
        # A day that was put off by a step puts off no other: the next one is counted from where
        # this one should have ended. By the clock it is not; there a day is a length of work.
        now, length = self._clock(trainer), self.length.length
        whole = self._begun + (now - self._begun) // length * length
        self._begun = now if self.length.unit == "seconds" else whole
        trainer.save_checkpoint(day_checkpoint(self.folder, self.at.branch, self.at.day))
        self.at.write_day(trainer, self.best, self._validated)
        self._validated = False
        self._keep(trainer, diverged=False)

    # -- the keeper

    def _diverged(self, trainer: pl.Trainer) -> None:
        self.best.diverged = trainer.should_stop = True
        self._keep(trainer, diverged=True)

    def _keep(self, trainer: pl.Trainer, diverged: bool) -> None:
        """Do what the rules say, on every rank the same."""
        if not self.settings.keeper:
            return
        action = None
        if trainer.is_global_zero:
            events = self.at.journal.events()
            days = Lineage.of(events).days()
            mode = "min" if self.best.sign == 1 else "max"
            action = decide(self.settings.rules, events, days, mode, diverged)
        action = trainer.strategy.broadcast(action)
        if action is None:
            return
        lower = [] if action.lr is None else [f"{RATE}=*{action.lr}"]  # of all there are
        nudge = self._read(trainer, lower, force=True)
        if action.stop:
            trainer.should_stop = True
            self.at.write(trainer, NOTE, why=f"stops: {action.why}", by="keeper")
        elif action.back_to is not None:
            self.at.write_back(trainer, action.back_to, nudge, action.why, "keeper")
            raise Rollback
        else:
            self.at.change(trainer, nudge, action.why, "keeper")
