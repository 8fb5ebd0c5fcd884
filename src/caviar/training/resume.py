"""Stop a run so that it can go on as if it had not been stopped, to the last bit.

    Ctrl-C, then python train.py ckpt_path=runs/train/0/checkpoints/last.ckpt

Lightning's own resume is not exact: it keeps no random state, and a run that was stopped inside of
an epoch sees the epoch's first batches again. What makes it exact here:

- An epoch begins from a random state of its own, a function of (seed, epoch, rank), and so is what
  its data is read from (`caviar.training.loaders`), be it an ordinary `DataLoader(shuffle=True)`.
- A run that is interrupted inside of an epoch writes `last.ckpt` between two steps, with the random
  states, its place in the data and what the epoch has gathered so far.
- A checkpoint is exact only where no work is half done: gradients that were accumulated and not
  used, or a validation that is due, would be missing in the run that goes on.
- Lightning logs an epoch's training metrics after its checkpoint. The checkpoint keeps them too,
  and `caviar.training.checkpoints.rows_before` puts back what a kill between the two has lost.
- A schedule that counts the steps of the training has Lightning make the loader before it knows the
  checkpoint's place in it; one that follows a metric is stepped after the checkpoint is written.

Not every run can have all of that. `resume_kind` says which can, and every checkpoint and every
result repeats it.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl

from caviar.base.errors import Terminated
from caviar.base.terminal import complain
from caviar.training.callbacks import LOGGED
from caviar.training.gathered import gathered, lengths, put_back_logged, put_back_metrics
from caviar.training.loaders import Reading
from caviar.training.package import is_a, is_inherited
from caviar.training.streams import random_states, seed_generators

EPOCH = 1  # use of (seed, epoch, rank) where an epoch begins; at its first batch there is none
INSIDE = "random_states"  # in a checkpoint that was written inside of an epoch
KIND = "resume"  # in every checkpoint: what `resume_kind` said
TO_THE_STEP, FROM_AN_EPOCH = "exact to the step", "exact from the end of an epoch"
NOT_EXACT = "not exact: "


class EpochSeed(pl.Callback):
    """Seeds torch, NumPy and Python at every epoch, and how its data is read; fills checkpoints.

    One that is written inside of an epoch gets the random states; one at its end, what was logged
    of the epoch.

    Arguments:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.reading: Reading  # of the data; while it fits
        self._gathered: dict[str, Any] = {}  # of the checkpoint

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            self.reading = Reading(trainer, self.seed)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.reading.check_place()
        trainer.callback_metrics.update(self._gathered.pop("known", {}))
        self.reading.lengths = lengths(pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # For what the module draws before its first batch.
        seed_generators([self.seed, trainer.current_epoch, trainer.global_rank], (EPOCH,))

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        reading = self.reading
        if batch_idx == 0:
            seed_generators([self.seed, trainer.current_epoch, trainer.global_rank])
        if not reading.trains:  # the first batch of an epoch, or the first one behind a resume
            reading.trains, reading.resumed, reading.to_put_back = True, None, {}
            put_back_metrics(pl_module, self._gathered.pop("metrics", {}))
            reading.lengths = lengths(pl_module)
        if not pl_module.automatic_optimization:
            reading.steps = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        if logged := self._gathered.get("logged"):
            put_back_logged(trainer, logged)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._gathered.pop("logged", None)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        inside = not epoch_is_over(trainer)
        if inside:
            checkpoint[INSIDE] = random_states()
        else:
            checkpoint[LOGGED] = {k: float(v) for k, v in trainer.logged_metrics.items()}
        checkpoint["gathered"] = gathered(trainer, pl_module, inside)
        checkpoint["generators"] = self.reading.own_states(inside)
        checkpoint[KIND] = resume_kind(trainer)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn != "fit":
            return
        self.reading.resumed = checkpoint.get(INSIDE)
        self.reading.to_put_back = checkpoint.get("generators", {})
        self._gathered = checkpoint.get("gathered", {})


class StopBetweenSteps(pl.Callback):
    """Lets the first Ctrl-C or SIGTERM wait for the end of a step, where a checkpoint is whole.

    Only where that checkpoint would be exact (`resume_kind`). Elsewhere the signal ends the run at
    once, and `last.ckpt` is what it was. A second signal does not wait.

    Arguments:
        path: of that checkpoint; by default what a callback for the last epoch says.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._own = path
        self._asked: type[KeyboardInterrupt] | None = None  # what the signal is to raise
        self._path: Path | None = None
        self._handlers: dict[int, Any] = {}  # those that were there before, by signal

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._path = self._own or last_path(trainer)
        main = threading.current_thread() is threading.main_thread()
        if self._path is None or not main or resume_kind(trainer) != TO_THE_STEP:
            return
        for number, kind in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)):
            self._handlers[number] = signal.signal(number, self._handler(kind))

    def _handler(self, kind: type[KeyboardInterrupt]) -> Callable[[int, FrameType | None], None]:
        def ask(number: int, frame: FrameType | None) -> None:
            if self._asked is not None:
                raise kind
            self._asked = kind
            if sys.stdin is not None and sys.stdin.isatty():
                complain("\nstopping after this step; once more to stop at once")

        return ask

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self._asked is None:
            return
        exact = resume_kind(trainer) == TO_THE_STEP  # more is known than when training began
        if exact and not between_steps(trainer):
            return
        if exact:
            assert self._path is not None
            trainer.save_checkpoint(self._path)
        self._stop()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # The signal came at the end of the epoch before, whose own checkpoint is written by now.
        if self._asked is not None:
            self._stop()

    def _stop(self) -> None:
        kind, self._asked = self._asked, None
        assert kind is not None
        raise kind

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        # A signal that a terminal sends reaches worker processes too, and their end raises here.
        if self._asked is not None and not isinstance(exception, KeyboardInterrupt):
            self._stop()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()


class ResumedSchedule(pl.Callback):
    """Lets schedules go on where a checkpoint was written, those that a module made itself as well.

    Lightning steps a schedule that follows a metric (ReduceLROnPlateau) after the checkpoint of its
    epoch, or step, is written. That step is made up for. And Lightning leaves out the step at the
    end of an epoch that was gone on with.
    """

    def __init__(self) -> None:
        self._missed: dict[str, float] = {}  # metrics of the checkpoint
        self._interval = ""

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._missed = checkpoint.get("metrics", {})
        self._interval = "step" if INSIDE in checkpoint else "epoch"

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loop, missed, self._missed = trainer.fit_loop, self._missed, {}
        epochs, batches = loop.epoch_progress, loop.epoch_loop.batch_progress
        now = (batches if self._interval == "step" else epochs).current.ready
        for schedule in trainer.lr_scheduler_configs:
            due = schedule.interval == self._interval and now % schedule.frequency == 0
            if schedule.reduce_on_plateau and due and schedule.monitor in missed:
                pl_module.lr_scheduler_step(schedule.scheduler, missed[schedule.monitor])

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        # By now everything that asks whether the epoch is gone on with has asked, but for its end.
        trainer.fit_loop._restarting = False


def between_steps(trainer: pl.Trainer) -> bool:
    """Whether a checkpoint that is written behind this batch is exact.

    It is if the gradients were used, and no validation follows, which the run that resumes would
    leave out. The end of an epoch has a checkpoint of its own.
    """
    loop = trainer.fit_loop.epoch_loop
    if trainer.lightning_module.automatic_optimization:
        used = loop.batch_progress.current.ready % trainer.accumulate_grad_batches == 0
    else:  # a module that steps by itself may have its own idea of accumulating
        used = trainer.global_step > reading_of(trainer).steps
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None
    return used and not epoch_is_over(trainer) and not loop._should_check_val_fx(fetcher)


def resume_kind(trainer: pl.Trainer) -> str | None:
    """How exactly a run goes on from its checkpoints, as far as can be known by now.

    Not considered is what a model or a data set keeps where nobody looks, such as in a file, and
    that many operations of a GPU are never repeated to the bit.

    Returns:
        `TO_THE_STEP`, `FROM_AN_EPOCH`, or `NOT_EXACT` and why; None if it has read no data.
    """
    if trainer.fit_loop._combined_loader is None:
        return None
    reading = reading_of(trainer)
    validation = trainer.fit_loop.epoch_loop.val_loop._combined_loader
    why = reading.why_not_exact([] if validation is None else validation.flattened)
    if why is not None:
        return f"{NOT_EXACT}{why}"
    # On several devices the ranks get a signal at different steps, and the states kept are those
    # of one of them.
    inside = trainer.world_size == 1 and reading.can_go_on_inside()
    # What a module collects by itself over an epoch is in the checkpoint only if it puts it there.
    module: Any = trainer.lightning_module
    puts = not is_inherited(module, "on_save_checkpoint")
    grown = any(reading.lengths.get(name, n) != n for name, n in lengths(module).items())
    return TO_THE_STEP if inside and (puts or not grown) else FROM_AN_EPOCH


def going_on(checkpoint: Mapping[str, Any]) -> str:
    """From where a run goes on with a checkpoint, and how exactly, in words.

    Arguments:
        checkpoint: as `read_checkpoint` gives it; an earlier version's says nothing of it.
    """
    kind = checkpoint.get(KIND)
    if kind is None or kind.startswith(NOT_EXACT):
        return kind or ""
    if INSIDE not in checkpoint:
        epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        return f"exactly from the end of epoch {epochs - 1}"
    where = f"step {checkpoint['global_step']}"
    return f"exactly from {where}" if kind == TO_THE_STEP else f"from {where}; {kind} alone"


def reading_of(trainer: pl.Trainer) -> Reading:
    """How a run that fits reads its data."""
    loaders: Any = trainer.fit_loop._combined_loader
    reading: Reading = loaders.reading
    return reading


def epoch_is_over(trainer: pl.Trainer) -> bool:
    """Whether the last batch of the epoch has been trained."""
    return bool(trainer.fit_loop.epoch_loop.batch_progress.is_last_batch)


def last_path(trainer: pl.Trainer) -> Path | None:
    """Where the checkpoint to resume from is written; None if the callbacks write none."""
    callbacks: list[Any] = [c for c in trainer.checkpoint_callbacks if is_a(c, "ModelCheckpoint")]
    for callback in callbacks:
        if callback.monitor is None and callback.dirpath:
            return Path(callback.dirpath) / f"{callback.filename}.ckpt"
    return None
