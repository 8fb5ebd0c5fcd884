"""A Trainer of somebody else's that is taken into our hands: it gets callbacks and a logger, and
goes on exactly from checkpoints in a folder of ours.

    hands = Hands(folder, seed, resume, trusted=False, extend=extend)
    with watching(metric, mode, None, hands):
        task(config)

It is the first one that validates. What is done to it is what the template's own training does
(`caviar.training.run`), by the same callbacks; model, data, optimizers and everything else are the
project's own.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

from caviar.base.errors import UserError
from caviar.training.bar import TrainingBar
from caviar.training.callbacks import BestMetric, not_logged
from caviar.training.checkpoints import LastCheckpoint
from caviar.training.package import adopted, is_a
from caviar.training.resume import EpochSeed, ResumedSchedule, StopBetweenSteps
from caviar.training.safe import checkpoint_plugin

if TYPE_CHECKING:
    from caviar.training.run import Extend

CHECKPOINTS = "checkpoints"  # in the folder


@dataclass
class Hands:
    """What takes a Trainer."""

    folder: Path
    """Of the run."""
    seed: int
    resume: Path | None
    """The checkpoint that it is to go on from."""
    trusted: bool
    """Whether checkpoints may hold anything."""
    extend: Extend
    taken: bool = False

    def hold(self, best: BestMetric, package: str) -> Hold:
        """The callback by which a Trainer that is being made may be taken.

        Arguments:
            best: follows its metric.
            package: of the Trainer.
        """
        return Hold(self, best, package)


class Hold(pl.Callback):
    """Takes its Trainer, if it is the first that validates."""

    def __init__(self, hands: Hands, best: BestMetric, package: str) -> None:
        self.hands, self.best, self.package = hands, best, package
        self.holds = self.loaded = False
        self.loggers: list[Any] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        hands = self.hands
        if stage != "fit" or hands.taken or not trainer.enable_validation:
            return
        if trainer.world_size > 1:
            raise UserError(
                f"the task trains on {trainer.world_size} devices, whose other processes know "
                "nothing of a panda; let its Trainer have one, such as trainer.devices=1"
            )
        hands.taken = self.holds = True
        callbacks, self.loggers = hands.extend(self.best)
        last = hands.folder / CHECKPOINTS / "last.ckpt"
        first: list[pl.Callback] = [
            EpochSeed(hands.seed),
            ResumedSchedule(),
            StopBetweenSteps(last),
        ]
        # As in `caviar.training.run`: checkpoints come last, in their order.
        keeps = LastCheckpoint(last.parent, last.stem, enable_version_counter=False)
        # Lightning goes through the list that was there, so that these have to be set up here.
        running: Any = trainer  # which has more than it declares
        theirs = running.callbacks
        if sys.stdout.isatty() and any(is_a(c, "ProgressBar") for c in theirs):
            # Of one writer with the journal's lines, into which another bar would run.
            first.append(TrainingBar(self.best))
            theirs = [c for c in theirs if not is_a(c, "ProgressBar")]
        ours = [adopted(c, self.package) for c in (*first, *callbacks, keeps)]
        running.callbacks = [*ours[: len(first)], *theirs, *ours[len(first) :]]
        for callback in ours:
            callback.setup(trainer, pl_module, stage)
        if type(trainer.strategy.checkpoint_io).__name__ == "TorchCheckpointIO":  # no other plugin
            trainer.strategy.checkpoint_io = checkpoint_plugin(self.package, hands.trusted)

    def on_load_checkpoint(self, *_: Any) -> None:
        self.loaded = True

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Not before: where a Trainer has no logger of its own, callbacks that keep checkpoints
        # choose their folders by that.
        if self.holds:
            own = [adopted(logger, self.package) for logger in self.loggers]
            trainer.loggers = [*trainer.loggers, *own]
            self.loggers = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.holds and self.hands.resume is not None and not self.loaded:
            raise UserError(
                f"the task was to go on from {self.hands.resume}, and began anew: let it hand the "
                "config's checkpoint (caviar.keys.resume) to Trainer.fit, as ckpt_path=…"
            )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        logged, metric = trainer.callback_metrics, self.best.metric
        validated = trainer.state.fn == "fit" and not trainer.sanity_checking
        if self.holds and validated and metric not in logged:
            raise UserError(not_logged(metric, logged, "caviar.metric.name"))
