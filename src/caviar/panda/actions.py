"""What is done to a run, by a user or by the keeper: always in the journal as well."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from caviar.errors import UserError
from caviar.panda.apply import apply_values, current_lr
from caviar.panda.journal import SET, Journal, event, sentence
from caviar.panda.lineage import Lineage, back_event
from caviar.view import console


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
        told = {key: [old[key], new] for key, new in changes.items()}
        failed: Exception | None = None
        try:
            apply_values(trainer, self.config, changes)
            self.write(trainer, SET, changes=told, why=why, by=by)
        except (UserError, OSError) as error:
            failed = error
        failed = trainer.strategy.broadcast(failed)
        if failed is not None:
            with suppress(UserError):
                apply_values(trainer, self.config, old)
            raise failed
        self.log_lr(trainer, trainer.global_step)
        return told

    def log_lr(self, trainer: pl.Trainer, step: int) -> None:
        """By the loggers themselves: `self.log` would round it to single precision."""
        for logger in trainer.loggers:
            logger.log_metrics({"lr": current_lr(trainer)}, step=step)

    def write_back(
        self, trainer: pl.Trainer, to: int, changes: Mapping[str, Any], why: str, by: str
    ) -> None:
        """Write down where to go on; `Rollback` is to follow."""
        failed: Exception | None = None
        if trainer.is_global_zero:
            old = {key: OmegaConf.select(self.config, key) for key in changes}
            told = {key: [old[key], new] for key, new in changes.items()}
            try:
                events = self.journal.events()
                self.journal.write(back_event(events, to, trainer.global_step, told, why, by))
            except (UserError, OSError) as error:
                failed = error
        failed = trainer.strategy.broadcast(failed)
        if failed is not None:
            raise failed
