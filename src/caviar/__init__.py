"""Hyperparameter tuning done right: spaces, scales, coarse to fine, confirmed.

from caviar import report     # of a plain function: report(step, value)
import caviar
caviar.load("runs/digits")    # the winner of a study, with its weights
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caviar.plain import report
    from caviar.training.winner import load

__all__ = ["load", "report"]
PLACES = {"load": "caviar.training.winner", "report": "caviar.plain"}


def __getattr__(name: str) -> Any:
    # Not at once: whoever imports a part of the package need not wait for the others.
    if name in PLACES:
        return getattr(import_module(PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
