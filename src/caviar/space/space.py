"""Space: which config keys are searched, each on its scale.

    >>> space = Space.parse({"optimizer": {"lr": {"scale": "log", "low": 1e-4, "high": 1}}})
    >>> space.point(seed=0, stage="01_coarse", number=7)
    {'optimizer.lr': 0.000573597}

A space mirrors the config (`conf/space/*.yaml`), so it composes and is overridden like any
config. Its points are pure functions of (seed, stage, number); see `sampling`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caviar.space import sampling
from caviar.space.scales import SCALES, Choice, Linear, OneMinusLog, Scale
from caviar.space.values import ScaleError

TIERS = "tiers"  # the one key of a space that is no part of the config


class SpaceError(ValueError):
    """One axis of a space is wrong. `key` is the config key, the message says what to write."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}")
        self.key, self.message = key, message


def scale_from_dict(declared: dict[str, Any]) -> Scale:
    """The scale that a resolver described, in natural values.

    >>> scale_from_dict({"scale": "one_minus_log", "low": 0.9, "high": 0.99})
    OneMinusLog(low=0.01, high=0.1)
    """
    kind = declared.get("scale")
    if kind == "choice":
        return Choice(tuple(declared.get("values") or ()))
    if kind not in SCALES:
        raise ScaleError(f"{kind!r} is no scale; use one of {', '.join(SCALES)}")
    cls = SCALES[kind]
    assert issubclass(cls, Linear)
    build = cls.from_natural if issubclass(cls, OneMinusLog) else cls
    low: Any = declared.get("low")  # `number` says what is wrong with a missing one
    high: Any = declared.get("high")
    return build(low, high)


@dataclass(frozen=True)
class Axis:
    """One searched hyperparameter."""

    key: str
    """Its key in the config: `optimizer.momentum`."""
    scale: Scale
    tier: int | None = field(default=None, compare=False)
    """Its importance by the lecture, 1 to 3; a prior, to be measured."""

    @property
    def name(self) -> str:
        """Name of the search coordinate in every engine: `one_minus.optimizer.momentum`."""
        return self.scale.prefix + self.key


@dataclass(frozen=True)
class Space:
    """An ordered set of axes."""

    axes: tuple[Axis, ...]

    @classmethod
    def parse(cls, tree: Mapping[str, Any]) -> Space:
        """From the resolved `space` node: nested keys down to what the scale resolvers return.

        Raises:
            SpaceError: an entry is no scale, or a range that the scale cannot be.
        """
        tiers = tree.get(TIERS) or {}
        axes = []
        for key, declared in _leaves({k: v for k, v in tree.items() if k != TIERS}):
            if not isinstance(declared, dict):
                raise SpaceError(
                    key, f"{declared!r} is no scale; write one, such as ${{log:1e-4,1}}"
                )
            try:
                axes.append(Axis(key, scale_from_dict(declared), tiers.get(key)))
            except ScaleError as error:
                raise SpaceError(key, str(error)) from None
        return cls(tuple(axes))

    @property
    def names(self) -> list[str]:
        """Names of the search coordinates, in order."""
        return [axis.name for axis in self.axes]

    def __len__(self) -> int:
        return len(self.axes)

    def __iter__(self) -> Iterator[Axis]:
        return iter(self.axes)

    def axis(self, name: str) -> Axis:
        """The axis with this coordinate name."""
        return self.axes[self.names.index(name)]

    def draw(
        self, seed: int, stage: str, count: int, *, first: int = 0, sampler: str = "random"
    ) -> dict[str, NDArray[Any]]:
        """Search coordinates of trials first … first+count-1: a column of `count` for each name."""
        return self.from_unit(sampling.units(sampler, seed, stage, self.names, first, count))

    def point(self, seed: int, stage: str, number: int, sampler: str = "random") -> dict[str, Any]:
        """Search coordinates of one trial, as plain Python values."""
        columns = self.draw(seed, stage, 1, first=number, sampler=sampler)
        return {name: column.tolist()[0] for name, column in columns.items()}

    def from_unit(self, units: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Columns of search coordinates from unit coordinates of shape (n, axes)."""
        return {a.name: a.scale.from_unit(units[:, j]) for j, a in enumerate(self.axes)}

    def to_unit(self, columns: Mapping[str, Any]) -> NDArray[np.float64]:
        """Unit coordinates, shape (n, axes). Values outside the ranges leave [0, 1]."""
        return np.column_stack([a.scale.to_unit(columns[a.name]) for a in self.axes])

    def natural(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """A point as the config's own keys and values: {"optimizer.momentum": 0.99}."""
        return {a.key: a.scale.natural(point[a.name]) for a in self.axes if a.name in point}

    def replace(self, scales: Mapping[str, Scale]) -> Space:
        """The same axes with other scales, by coordinate name."""
        return Space(tuple(Axis(a.key, scales.get(a.name, a.scale), a.tier) for a in self.axes))


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, node in tree.items():
        key = f"{prefix}{name}"
        # A config may have a key `scale` of its own; there it holds a dict, here the scale's name.
        if isinstance(node, Mapping) and not isinstance(node.get("scale"), str):
            yield from _leaves(node, f"{key}.")
        else:
            yield key, node
