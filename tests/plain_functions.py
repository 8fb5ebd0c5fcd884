"""Trainings that are plain functions: python train.py train._target_=plain_functions.bowl"""

from __future__ import annotations

import random
from typing import Any

from caviar.plain import report


def bowl(config: Any) -> None:
    """Gradient descent in x², from a start that the seed decides."""
    x = 1 + 0.01 * random.random()
    lr = config.optimizer.lr
    for step in range(1, 9):
        x -= min(lr, 1.0) * x
        report(step, x * x + 0.001 * random.random())


def returns(config: Any) -> float:
    """Reports nothing, and returns its value."""
    return 0.25


def silent(config: Any) -> None:
    """Says nothing at all."""


def backwards(config: Any) -> None:
    """Reports a step that lies behind."""
    report(2, 1.0)
    report(1, 1.0)


def diverges(config: Any) -> None:
    """Is told to stop, whatever it catches."""
    try:
        report(1, float("nan"))
    except Exception:  # not what ends it
        report(2, 0.0)
