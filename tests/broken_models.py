"""Models that go wrong, for tests: python train.py model._target_=broken_models.Raises"""

import atexit
import os
import signal
from typing import Any

import pytorch_lightning as pl

from caviar.training.models import MLP


class Raises(MLP):
    """Raises while it trains, if it is wide."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.net[0].out_features > 64:
            raise ValueError("too wide for me")
        return super().training_step(batch, batch_idx)


class Exits(MLP):
    """Leaves the process, as code that was a script once may do."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        raise SystemExit(3)


class Untestable(MLP):
    """Has no test_step."""

    test_step = pl.LightningModule.test_step


class UndefinedScore(MLP):
    """Logs a score that is undefined, which is no divergence."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        self.log("val/f1_of_an_absent_class", float("nan"))


class Interrupted(MLP):
    """Gets a Ctrl-C in its twelfth step, unless it goes on from a checkpoint."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 11 and self.trainer.ckpt_path is None:
            os.kill(os.getpid(), signal.SIGINT)
        return super().training_step(batch, batch_idx)


class InterruptedAtOnce(MLP):
    """Is interrupted in its tenth step, which leaves the checkpoint of the epoch before."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 9 and self.trainer.ckpt_path is None:
            raise KeyboardInterrupt
        return super().training_step(batch, batch_idx)


class LogsNan(MLP):
    """Logs a value that is not a number, under any name."""

    def __init__(self, name: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.logged_as = name

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log(self.logged_as, float("nan"), on_step=True, on_epoch=True)
        return super().training_step(batch, batch_idx)


class RaisesOnRank1(MLP):
    """Raises in the second process of a distributed run, which then dies of its own clean-up, as
    gloo's threads may let it."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_rank == 1:
            atexit.register(os.abort)
            raise ValueError("rank 1 does not like it")
        return super().training_step(batch, batch_idx)


class LeavesAtOnce(MLP):
    """Ends its process without any exception, as a crash in C code may, if it is wide."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.net[0].out_features > 64:
            os._exit(3)
        return super().training_step(batch, batch_idx)
