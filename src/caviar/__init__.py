"""Hyperparameter tuning done right: spaces, scales, coarse to fine, confirmed.

    caviar.report(epoch, loss)    # in a training loop of your own: a point of its curve
    caviar.Result(best=loss)      # or what such a training returns
    caviar.load("runs/digits")    # the winner of a study, with its weights
    caviar.Ledger("runs/digits")  # every trial of it, to read
    caviar.space                  # spaces and scales: drawn, refined and written as sweep files

That is the public interface, with `caviar.training`'s Module, Classifier, Regressor and DataModule
for the template. Everything else may change from one version to the next: docs/api.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caviar import space
    from caviar.base.result import Result
    from caviar.ledger.study import Ledger
    from caviar.plain import report
    from caviar.training.winner import load

__all__ = ["Ledger", "Result", "load", "report", "space"]


def __getattr__(name: str) -> Any:
    # Not at once: whoever imports a part of the package need not wait for torch.
    from importlib import import_module

    places = {
        "Ledger": ("caviar.ledger.study", "Ledger"),
        "Result": ("caviar.base.result", "Result"),
        "load": ("caviar.training.winner", "load"),
        "report": ("caviar.plain", "report"),
        "space": ("caviar.space", None),
    }
    if name not in places:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = places[name]
    found = import_module(module)
    return found if attribute is None else getattr(found, attribute)
