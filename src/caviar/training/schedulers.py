"""Learning-rate schedules that torch does not have."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def inverse_time(optimizer: Optimizer, rate: float) -> LambdaLR:
    """lr / (1 + rate · epoch), the learning-rate decay of the lecture; rate 0 is constant."""
    return LambdaLR(optimizer, lambda epoch: 1.0 / (1.0 + rate * epoch))
