"""Models that give a test the time to interfere: python train.py model._target_=slow_models.Slow"""

import time
from typing import Any

from caviar.training.models import MLP


class Slow(MLP):
    """Takes 5 ms more for each step, so an epoch of digits at batch size 32 takes 0.2 s."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        time.sleep(0.005)
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
    """Raises at 96 units, and is slow at 100, so that one sweep holds every kind of run."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.net[0].out_features == 96:
            raise ValueError("too wide for me")
        if self.net[0].out_features == 100:
            time.sleep(0.05)
        return super().training_step(batch, batch_idx)
