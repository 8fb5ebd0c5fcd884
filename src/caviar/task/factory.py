"""Lightning's entry point for callbacks of packages, `pytorch_lightning.callbacks_factory`
and `lightning.pytorch.callbacks_factory`: it is called whenever a Trainer is made.

Almost always it has nothing to add. It is imported by every project that has Caviar installed, so
that it must cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_watching: list[Callable[[str], list[Any]]] = []


def pytorch_lightning() -> list[Any]:
    """Callbacks for a Trainer of `pytorch_lightning`."""
    return _callbacks("pytorch_lightning")


def lightning() -> list[Any]:
    """Callbacks for a Trainer of `lightning`."""
    return _callbacks("lightning.pytorch")


def _callbacks(package: str) -> list[Any]:
    return [callback for watch in _watching for callback in watch(package)]
