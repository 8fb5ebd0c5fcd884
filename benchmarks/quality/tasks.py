"""Nine small trainings, each with a space of its own.

Networks, optimizers and schedules are the project's, and so is the stack that trains them
(`trained.py`). They differ in what a search may meet: images, tables of classes and of numbers,
text; two to eight axes, whole numbers and choices among them; wide and narrow walls; noisy labels;
small and large validation sets.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from data import PACKAGES, cancer, diabetes, digits, friedman, noisy, source, wine

from caviar.space import Space
from caviar.training import models

LR = "optimizer.lr"
DECAY = "scheduler.rate"


def log(low: float, high: float) -> dict[str, Any]:
    return {"scale": "log", "low": low, "high": high}


def one_minus(low: float, high: float) -> dict[str, Any]:
    return {"scale": "one_minus_log", "low": low, "high": high}


def whole(low: int, high: int, scale: str = "integer") -> dict[str, Any]:
    return {"scale": scale, "low": low, "high": high}


def among(*values: Any) -> dict[str, Any]:
    return {"scale": "choice", "values": list(values)}


@dataclass(frozen=True)
class Task:
    """What is trained, and where a search may look."""

    load: Callable[[], tuple[Any, Any]]
    """Inputs and labels."""
    parts: tuple[int, int]
    """Examples to train on and to validate on; the rest is left alone."""
    space: dict[str, Any]
    epochs: int
    default: dict[str, Any]
    """Of what the space, or the network, asks for."""
    cap: float
    """The loss that a training which diverges counts as."""
    optimizer: str = "sgd"
    model: Any = models.MLP
    classes: int | None = 10
    """None for numbers."""

    @functools.cached_property
    def searched(self) -> Space:
        return Space.parse(self.space)


@dataclass(frozen=True)
class Job:
    """One training: its setting in search coordinates, by the space's order, and its seed."""

    point: tuple[Any, ...]
    seed: int


WIDE = {
    "optimizer": {
        "lr": log(1e-6, 10),
        "momentum": one_minus(0, 0.999),
        "weight_decay": log(1e-6, 1),
    },
    "scheduler": {"rate": log(1e-3, 10)},
}
SGD = {LR: 0.01, "optimizer.momentum": 0.9, "optimizer.weight_decay": 0.0, DECAY: 0.05}
ADAM = {LR: 0.001, "optimizer.weight_decay": 0.0, DECAY: 0.0}


def sizes(width: int, depth: int, batch_size: int) -> dict[str, Any]:
    return {"model.width": width, "model.depth": depth, "data.batch_size": batch_size}


TASKS = {
    "digits": Task(digits, (600, 1196), WIDE, 10, SGD | sizes(32, 1, 64), cap=3.0),
    "wine": Task(wine, (100, 77), WIDE, 12, SGD | sizes(16, 1, 16), cap=3.0, classes=3),
    "narrow": Task(
        digits,
        (400, 300),
        {"optimizer": {"lr": log(1e-3, 1), "momentum": one_minus(0.9, 0.999)}},
        8,
        SGD | sizes(32, 2, 32),
        cap=3.0,
    ),
    "cancer": Task(
        cancer,
        (340, 60),
        {
            "optimizer": {
                "lr": log(1e-4, 1),
                "momentum": one_minus(0.9, 0.999),
                "weight_decay": log(1e-5, 1e-1),
            },
            "model": {"width": whole(4, 64, "log_integer")},
            "data": {"batch_size": among(16, 64)},
            "scheduler": {"rate": log(1e-3, 1)},
        },
        12,
        SGD | sizes(32, 1, 32),
        cap=1.5,
        classes=2,
    ),
    "diabetes": Task(
        diabetes,
        (260, 120),
        {
            "optimizer": {
                "lr": log(1e-5, 1),
                "beta1": one_minus(0.5, 0.99),
                "weight_decay": log(1e-5, 1),
            },
            "model": {"width": whole(8, 64)},
            "scheduler": {"rate": log(1e-3, 1)},
        },
        15,
        ADAM | sizes(32, 2, 32),
        cap=2.0,
        optimizer="adamw",
        model=models.MLPRegressor,
        classes=None,
    ),
    "noisy": Task(
        noisy,
        (500, 600),
        {
            "optimizer": {
                "lr": log(1e-4, 1),
                "momentum": one_minus(0.5, 0.999),
                "weight_decay": log(1e-5, 1e-1),
            },
            "model": {"width": whole(8, 64)},
            "scheduler": {"rate": log(1e-3, 1)},
        },
        10,
        SGD | sizes(32, 1, 32),
        cap=3.0,
        classes=5,
    ),
    "image": Task(
        digits,
        (200, 400),
        {
            "optimizer": {"lr": log(1e-5, 1), "weight_decay": log(1e-5, 1)},
            "model": {"channels": whole(2, 4)},
        },
        6,
        ADAM
        | {"model.channels": 4, "model.depth": 1, "model.kernel_size": 3}
        | {"data.batch_size": 32},
        cap=3.0,
        optimizer="adamw",
        model=models.ConvNet,
    ),
    "text": Task(
        source,
        (700, 400),
        {
            "optimizer": {
                "lr": log(1e-5, 1),
                "beta1": one_minus(0.5, 0.99),
                "beta2": one_minus(0.9, 0.9999),
                "weight_decay": log(1e-4, 10),
            },
            "model": {"width": whole(4, 64, "log_integer")},
            "scheduler": {"rate": log(1e-3, 10)},
        },
        8,
        ADAM | sizes(32, 1, 64),
        cap=3.0,
        optimizer="adamw",
        classes=len(PACKAGES),
    ),
    "numbers": Task(
        friedman,
        (400, 200),
        {
            "optimizer": {
                "lr": log(1e-4, 1),
                "momentum": one_minus(0.5, 0.99),
                "weight_decay": log(1e-5, 1e-1),
            },
            "model": {"width": whole(8, 64), "depth": whole(1, 2)},
            "data": {"batch_size": among(16, 64)},
            "scheduler": {"rate": log(1e-3, 1)},
            "trainer": {"gradient_clip_val": log(0.1, 10)},
        },
        10,
        SGD | sizes(32, 1, 32),
        cap=2.0,
        model=models.MLPRegressor,
        classes=None,
    ),
}
