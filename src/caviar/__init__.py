"""Hyperparameter tuning done right: spaces, scales, coarse to fine, confirmed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caviar.plain import report

__all__ = ["report"]


def __getattr__(name: str) -> Any:
    # Not at once: whoever imports a part of the package need not wait for the others.
    if name == "report":
        from caviar.plain import report

        return report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
