"""The discrete scales: whole numbers and choices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caviar.space.continuous import Linear, Log, OneMinusLog, ScaleError, number, one_minus


def whole(value: Any) -> int:
    """`value` as an int; 16.0 will do, 16.5 will not."""
    if number(value) != int(value):
        raise ScaleError(f"{value!r} is not a whole number; write one, or use linear or log")
    return int(value)


@dataclass(frozen=True)
class Integer(Linear):
    """Uniform whole numbers, both ends included: `${integer:16,128}`."""

    low: int
    high: int

    kind: ClassVar[str] = "integer"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "low", whole(self.low))
        object.__setattr__(self, "high", whole(self.high))

    def _ends(self) -> tuple[float, float]:
        # Each whole number owns the half step on either side of it.
        low, high = self._straighten(np.array([self.low - 0.5, self.high + 0.5]))
        return float(low), float(high)

    def from_unit(self, unit: ArrayLike) -> NDArray[np.int64]:
        u = np.asarray(unit, dtype=np.float64)
        values = np.rint(self.at(u)).astype(np.int64)
        inside = (u >= 0) & (u <= 1)
        return np.where(inside, np.clip(values, self.low, self.high), values)

    def narrow(self, low: float, high: float) -> Integer:
        """The whole numbers whose unit coordinate lies in [low, high]; never none."""
        step = 1e-9
        wall_low, wall_high = self.walls()
        first, last = (int(v) for v in np.clip(self.from_unit([low, high]), wall_low, wall_high))
        first += bool(self.to_unit(first) < low - step)
        last -= bool(self.to_unit(last) > high + step)
        if first >= last:  # a single value is a choice of one; keep a neighbour instead
            middle = int(self.from_unit((low + high) / 2))
            inner = self.low if low >= 0 else wall_low
            outer = self.high if high <= 1 else wall_high
            first = int(max(middle - 1, inner))
            last = int(max(min(middle + 1, outer), first + 1))
        return type(self)(first, last)

    def walls(self) -> tuple[float, float]:
        """Counts stay counts: a range from 1 never reaches 0, one from 0 never goes below."""
        return (-math.inf if self.low < 0 else min(self.low, 1)), math.inf


@dataclass(frozen=True)
class LogInteger(Integer):
    """Log-uniform whole numbers: `${log_integer:16,4096}` for widths over many octaves."""

    kind: ClassVar[str] = "log_integer"

    def __post_init__(self) -> None:
        if number(self.low) < 1:
            raise ScaleError(f"low {self.low:g} has no logarithm; start at 1, or use integer")
        super().__post_init__()

    _straighten = staticmethod(Log._straighten)
    _bend = staticmethod(Log._bend)


@dataclass(frozen=True)
class Choice:
    """One of a list, each equally often: `${choice:16,32,64,128}`.

    Numbers keep their order (they are neighbours of one another); text does not.
    """

    values: tuple[Any, ...]
    complement: bool = False
    """The values are complements 1-β: a `one_minus_log` axis that was frozen."""

    kind: ClassVar[str] = "choice"

    @property
    def prefix(self) -> str:
        return OneMinusLog.prefix if self.complement else ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise ScaleError("the choice is empty; write at least one value: ${choice:16,32,64}")
        for value in self.values:
            if not isinstance(value, str | int | float | bool | None):
                raise ScaleError(f"{value!r} cannot be a choice; write numbers, text or null")
            if isinstance(value, float):
                number(value)
        if len({(type(v), v) for v in self.values}) < len(self.values):
            raise ScaleError(f"{list(self.values)} holds a value twice; write each once")

    @property
    def ordered(self) -> bool:
        """Whether neighbours in the list are neighbours in meaning."""
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in self.values)
        return numbers and list(self.values) == sorted(self.values)

    def from_unit(self, unit: ArrayLike) -> NDArray[Any]:
        u = np.asarray(unit, dtype=np.float64)
        index = np.clip((u * len(self.values)).astype(np.int64), 0, len(self.values) - 1)
        return self._column()[index]

    def to_unit(self, values: ArrayLike) -> NDArray[np.float64]:
        """Middle of each value's share. A value that is not in the list is a KeyError."""
        position = {(type(v), v): i for i, v in enumerate(self.values)}
        flat = np.asarray(values, dtype=object)
        index = [position[type(v), v] for v in flat.ravel().tolist()]
        return (np.array(index, dtype=np.float64).reshape(flat.shape) + 0.5) / len(self.values)

    def keep(self, used: Any) -> Choice:
        """The choice among those of its values that are in `used`, in the old order."""
        kept = {(type(v), v) for v in used}  # True is not 1
        return Choice(tuple(v for v in self.values if (type(v), v) in kept), self.complement)

    def natural(self, value: Any) -> Any:
        return one_minus(value) if self.complement else value

    def _column(self) -> NDArray[Any]:
        column = np.empty(len(self.values), dtype=object)
        column[:] = self.values
        return column

    def __str__(self) -> str:
        shown = ["null" if v is None else str(self.natural(v)) for v in self.values]
        return f"fixed at {shown[0]}" if len(shown) == 1 else f"choice {', '.join(shown)}"
