"""Stop a run so that it can go on as if it had not been stopped, to the last bit.

    Ctrl-C, then python train.py ckpt_path=runs/train/0/checkpoints/last.ckpt

Lightning's own resume is not exact: it keeps no random state, and a run that was stopped inside of
an epoch sees the epoch's first batches again. What makes it exact here:

- An epoch begins from a random state of its own, a function of (seed, epoch, rank), and its order
  of the data is one of (seed, epoch). A run that goes on from the end of an epoch needs no more.
- A run that is interrupted inside of an epoch writes `last.ckpt` between two steps, with the random
  states, its place in the data (`EpochLoader`) and the losses of the epoch so far (`Classifier`).
- A checkpoint is exact only where no work is half done: gradients that were accumulated and not
  used, or a validation that is due, would be missing in the run that goes on.
- Lightning logs an epoch's training metrics after its checkpoint. The checkpoint keeps them too,
  and `caviar.training.checkpoints.rows_before` puts back what a kill between the two has lost.
- A schedule that counts the steps of the training has Lightning make the loader before it knows the
  checkpoint's place in it; one that follows a metric is stepped after the checkpoint is written.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from caviar.base.errors import Terminated
from caviar.training.callbacks import LOGGED
from caviar.training.data import EpochLoader
from caviar.training.package import is_a


class EpochSeed(pl.Callback):
    """Seeds torch, NumPy and Python at the first batch of every epoch, and fills checkpoints.

    One that is written inside of an epoch gets the random states; one at its end, what was logged
    of the epoch.

    Arguments:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._states: dict[str, Any] | None = None  # of the checkpoint, until the first batch

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Not at the start of the epoch: an iterator over the data draws a random number when it is
        # made, which a run that resumes does at another point than one that was not stopped. By the
        # first batch both have made theirs.
        if batch_idx == 0:
            entropy = [self.seed, trainer.current_epoch, trainer.global_rank]
            words = np.random.SeedSequence(entropy).generate_state(3)
            torch.manual_seed(int(words[0]))
            np.random.seed(int(words[1]))
            random.seed(int(words[2]))
        if self._states is not None:
            _restore(self._states)
            self._states = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if epoch_is_over(trainer):
            checkpoint[LOGGED] = {k: float(v) for k, v in trainer.logged_metrics.items()}
        else:
            checkpoint["random_states"] = _random_states()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._states = checkpoint.get("random_states")
        if self._states is None:
            # Where steps are counted, Lightning would go on inside of the epoch that has ended, and
            # end it once more, with nothing trained. Where epochs are, it does not.
            trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]


class StopBetweenSteps(pl.Callback):
    """Lets the first Ctrl-C or SIGTERM wait for the end of a step, where a checkpoint is whole.

    Only where that checkpoint would be exact: one device, and a loader that knows its place. On
    several, the ranks get the signal at different steps, and saving is for all of them together.
    Elsewhere the signal ends the run at once, and `last.ckpt` is that of the last epoch. A second
    signal does not wait.
    """

    def __init__(self) -> None:
        self._asked: type[KeyboardInterrupt] | None = None  # what the signal is to raise
        self._path: Path | None = None
        self._handlers: dict[int, Any] = {}  # those that were there before, by signal

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        path, loader = last_path(trainer), trainer.train_dataloader
        main = threading.current_thread() is threading.main_thread()
        if (
            path is None
            or not main
            or trainer.world_size > 1
            or not isinstance(loader, EpochLoader)
        ):
            return
        self._path = path
        for number, kind in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)):
            self._handlers[number] = signal.signal(number, self._handler(kind))

    def _handler(self, kind: type[KeyboardInterrupt]) -> Callable[[int, FrameType | None], None]:
        def ask(number: int, frame: FrameType | None) -> None:
            if self._asked is not None:
                raise kind
            self._asked = kind
            if sys.stdin is not None and sys.stdin.isatty():
                print("\nstopping after this step; once more to stop at once", file=sys.stderr)

        return ask

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self._asked is not None and between_steps(trainer):
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

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()


class ResumedSchedule(pl.Callback):
    """Lets schedules go on where a checkpoint was written, those that a module made itself as well.

    Lightning makes the training loader early where `configure_optimizers` asks for the number of
    steps. It then never hands the checkpoint's place to it; so that loader is dropped here, and the
    run has one that was made in time, also where it begins: so both draw the same random numbers.

    Lightning steps a schedule that follows a metric (ReduceLROnPlateau) after the checkpoint of its
    epoch, or step, is written. That step is made up for. And Lightning leaves out the step at the
    end of an epoch that was gone on with.
    """

    def __init__(self) -> None:
        self._missed: dict[str, float] = {}  # metrics of the checkpoint
        self._interval = ""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loop = trainer.fit_loop
        if loop._data_fetcher is not None:
            loop._data_fetcher.teardown()  # ends its worker processes
            loop._data_fetcher = loop._combined_loader = None

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._missed = checkpoint.get("metrics", {})
        self._interval = "step" if "random_states" in checkpoint else "epoch"

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loop, missed, self._missed = trainer.fit_loop.epoch_loop, self._missed, {}
        batches = loop.batch_progress.current.ready
        now = batches if self._interval == "step" else trainer.current_epoch + 1
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
    whole_step = loop.batch_progress.current.ready % trainer.accumulate_grad_batches == 0
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None
    return whole_step and not epoch_is_over(trainer) and not loop._should_check_val_fx(fetcher)


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


def _random_states() -> dict[str, Any]:
    """The states of all generators, as plain containers and tensors, which load safely."""
    numpy: Any = np.random.get_state()
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [numpy[0], numpy[1].tolist(), *numpy[2:]],
        "python": [version, list(words), gauss],
    }


def _restore(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    name, words, *rest = states["numpy"]
    np.random.set_state((name, np.array(words, dtype=np.uint32), *rest))
    version, python, gauss = states["python"]
    random.setstate((version, tuple(python), gauss))
