"""What is done to a run, by a user or by the keeper: always in the journal as well.

How the two are kept together, over all ranks: what is in force is written down, and the other way
round.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from caviar.base.errors import UserError
from caviar.panda.force import InForce
from caviar.panda.groups import OPTIMIZERS, labels
from caviar.panda.journal import (
    BACK,
    DAY,
    MOVES,
    NOTE,
    SET,
    Journal,
    Lineage,
    back_event,
    event,
    moved_words,
    sentence,
    shown,
)
from caviar.panda.nudge import Nudge
from caviar.panda.optimizers import current_lrs, lr_now, remembered
from caviar.screen.view import console
from caviar.training.callbacks import BestMetric


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
        self.force, self.journal = InForce(config), Journal(folder)
        self.branch = Lineage.of(self.journal.events()).branch
        self.day = 0
        """Days that have ended."""

    def begin(self, trainer: pl.Trainer) -> None:
        """Know the optimizers; those that a module builds itself are written down, once."""
        groups = self.force.begin(trainer, self.journal.events())
        if groups is not None:
            words = f"optimizers of its own, {groups.words()}"
            self.write(trainer, NOTE, why=words, facts={OPTIMIZERS: groups.to_facts()})

    def write(self, trainer: pl.Trainer, kind: str, **more: Any) -> None:
        """Write down what has happened, and say it."""
        if trainer.is_global_zero:
            place = (self.branch, self.day, trainer.global_step)
            written = event(kind, *place, epoch=trainer.current_epoch, **more)
            self.journal.write(written)
            console.print(sentence(written))

    def change(self, trainer: pl.Trainer, nudge: Nudge, why: str, by: str) -> None:
        """Put values in force and write them down; neither, on any rank, if one of the two fails.

        Raises:
            UserError: this model has no such lever.
            OSError: the journal's disk is full.
        """
        old = {change.key: change.old for change in nudge.changes}
        undo = remembered(trainer)
        failed: Exception | None = None
        try:
            # In force before it is written: the line says what is, also after a kill between them,
            # since a value that nobody wrote down dies with its process.
            self.force.put(trainer, nudge.new, nudge.moves)
            self.write(trainer, SET, changes=nudge.written, why=why, by=by, facts=nudge.facts)
        except (UserError, OSError) as error:
            failed = error
        # Only the first rank writes. If its disk is full, the others must take theirs back as well.
        failed = trainer.strategy.broadcast(failed)
        if failed is not None:
            with suppress(UserError):  # what could not be set need not be taken back
                self.force.put(trainer, old)
            undo()
            raise failed
        self.force.take(nudge.moves)
        self.log_lr(trainer, trainer.global_step)

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
        after += [moved_words(e.facts.get(MOVES, [])) for e in nudges if not e.changes]
        logged = trainer.callback_metrics.get(best.metric)  # none yet in a process that goes on
        summary = {
            "metric": best.metric,
            "value": best.last if logged is None else float(logged),
            "before": before,
            "after": ", ".join(words for words in after if words),
            "lr": lr_now(trainer),
            "validated": validated,
        }
        self.write(trainer, DAY, facts=summary)

    def log_lr(self, trainer: pl.Trainer, step: int) -> None:
        """By the loggers themselves: `self.log` would round it to single precision."""
        lrs = current_lrs(trainer)
        called = labels(lrs) if len(lrs) > 1 else {}
        row = {
            f"lr/{called[at]}".replace(" ", "_") if called else "lr": lr for at, lr in lrs.items()
        }
        for logger in trainer.loggers:
            logger.log_metrics(row, step=step)

    def write_back(self, trainer: pl.Trainer, to: int, nudge: Nudge, why: str, by: str) -> None:
        """Write down where to go on, on no rank if the journal cannot; `Rollback` is to follow.

        Raises:
            UserError: there is no such day.
            OSError: the journal's disk is full.
        """
        failed: Exception | None = None
        if trainer.is_global_zero:
            written, facts, left = nudge.written, nudge.facts, trainer.global_step
            try:
                events = self.journal.events()
                self.journal.write(back_event(events, to, left, written, why, by, **facts))
            except (UserError, OSError) as error:
                failed = error
        failed = trainer.strategy.broadcast(failed)
        if failed is not None:
            raise failed
