"""Trainings that are plain functions: python train.py caviar.train=plain_functions.bowl"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from caviar.base.errors import Terminated
from caviar.base.result import Result
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


def tells(config: Any, output: Path, report: Any, resume: Path | None) -> Result:
    """Takes all of the seam: goes on where it was stopped, and says more than a number."""
    begun = int(resume.stem.removeprefix("last_")) if resume else 0
    for step in range(begun + 1, 4):
        report(step, 1 / step)
        with ZipFile(output / f"last_{step}.pt", "w"):
            pass
    return Result(best=1 / 3, last=1 / 3, metrics={"val/loss": 1 / 3, "begun": begun})


def interrupted(config: Any) -> None:
    """Is told to end in a training of Lightning's, which leaves by an exit."""
    report(1, 1.0)
    try:
        raise Terminated
    except KeyboardInterrupt:
        raise SystemExit(1)  # noqa: B904  as Lightning does


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
