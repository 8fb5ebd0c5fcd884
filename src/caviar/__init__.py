"""Hyperparameter tuning done right: spaces, scales, coarse to fine, confirmed.

import caviar
caviar.load("runs/digits")    # the winner of a study, with its weights

A plain function reports by `report` of `caviar.plain`; `caviar.report` is the room of that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caviar.training.winner import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # Not at once: whoever imports a part of the package need not wait for torch.
    if name == "load":
        from caviar.training.winner import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
