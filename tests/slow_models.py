"""Models that give a test the time to interfere: python train.py model._target_=slow_models.Slow"""

import os
import time
from typing import Any

from caviar.training.models import MLP


class Slow(MLP):
    """Takes 5 ms more for each step, so an epoch of digits at batch size 32 takes 0.2 s."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        time.sleep(0.005)
        return super().training_step(batch, batch_idx)


class Waits(MLP):
    """Trains no step before a file is there: however long another process takes, it meets it."""

    def __init__(self, until: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.until = until

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        while not os.path.exists(self.until):
            time.sleep(0.02)
        return super().training_step(batch, batch_idx)


class Signalled(MLP):
    """Sends its own process a signal in the middle of a step: SIGNAL_AT=170:9 is `kill -9` in the
    step with number 170. So a test needs not wait for the right moment, and always has the same."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        step, _, number = os.environ.get("SIGNAL_AT", "").partition(":")
        if step == str(self.global_step):
            os.kill(os.getpid(), int(number))
        return super().training_step(batch, batch_idx)


class Hangs(MLP):
    """Never comes back from its first step, if it is wide."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        while self.net[0].out_features > 64:
            time.sleep(1)
        return super().training_step(batch, batch_idx)


class Hungry(MLP):
    """Asks for 200 GiB in its first step, if it is wide."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.net[0].out_features > 64:
            self.net[0].weight.new_empty((200, 2**30 // 4))
        return super().training_step(batch, batch_idx)


class ByWidth(MLP):
    """Raises at 96 units while it trains, at 99 as it is built, and is slow at 100, so that one
    sweep holds every kind of run."""

    def __init__(self, **settings: Any) -> None:
        if settings["width"] == 99:
            raise ValueError("99 cannot be built")
        super().__init__(**settings)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.net[0].out_features == 96:
            raise ValueError("too wide for me")
        if self.net[0].out_features == 100:
            time.sleep(0.05)
        return super().training_step(batch, batch_idx)


class DivergesLater(MLP):
    """Its loss explodes from step 50 on, for as long as the learning rate is above 0.006."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        lr = self.trainer.optimizers[0].param_groups[0]["lr"]
        return super().training_step(batch, batch_idx) * (
            1e30 if self.global_step > 50 and lr > 0.006 else 1.0
        )


class RanksAgree(Slow):
    """Raises at the end if the processes of a distributed run have other weights, as they would if
    one of them trained otherwise."""

    def on_train_end(self) -> None:
        total = sum(p.detach().double().sum() for p in self.parameters())
        everywhere = self.all_gather(total)
        assert bool((everywhere == total).all()), everywhere


class Unmended(MLP):
    """Has the bug that UNMENDED names, until somebody mends it.

    `train`: from the second epoch on it raises above 80 units, and hangs above 64. `confirm`: the
    default setting, of 64 units, raises there; `test`: each test raises; `test 1`: that of trial 1.
    """

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        bug, width = os.environ.get("UNMENDED", ""), self.net[0].out_features
        if batch_idx == 0:
            with open(os.path.join(self.trainer.default_root_dir, "epochs.txt"), "a") as file:
                file.write(f"{self.current_epoch} ")
        stage = os.path.basename(os.path.dirname(self.trainer.default_root_dir))
        late = bug == "train" and self.current_epoch > 0
        if (late and width > 80) or (bug == stage == "confirm" and width == 64):
            raise ValueError("not mended")
        while late and width > 64:
            time.sleep(1)
        return super().training_step(batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        number = os.path.basename(self.trainer.default_root_dir)
        if os.environ.get("UNMENDED") in ("test", f"test {number}"):
            raise ValueError("not mended")
        super().test_step(batch, batch_idx)
