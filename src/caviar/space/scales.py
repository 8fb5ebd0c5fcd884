"""The six scales: how one axis of a space is drawn.

    >>> lr = Log(1e-4, 1.0)
    >>> lr.from_unit([0, 0.25, 0.5, 1]).tolist()
    [0.0001, 0.001, 0.01, 1.0]
    >>> lr.to_unit(0.01).tolist()
    0.5
    >>> str(lr.narrow(0.25, 0.75))
    'log 0.001 … 0.1'

A scale maps the unit interval, drawn uniformly, to *search coordinates* and back. For five of the
six the search coordinate is the config's own value. For `one_minus_log` it is the complement 1-β,
because what matters about a momentum β is how many steps it averages over, about 1/(1-β):

    >>> momentum = OneMinusLog.from_natural(0.9, 0.999)
    >>> [momentum.natural(complement) for complement in momentum.from_unit([0, 0.5, 1]).tolist()]
    [0.999, 0.99, 0.9]

Points outside [0, 1] are legal in both directions: that is how a range is asked to grow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caviar.space.values import ScaleError, number, one_minus, round_significant, whole

Array = NDArray[np.float64]

VALUE_DIGITS = 6  # enough to tell any two settings apart, few enough to be typed exactly
BOUND_DIGITS = 4  # of a narrowed range: people read these


@dataclass(frozen=True)
class Linear:
    """Uniform between two numbers: `${linear:0,0.5}`. Also the base of all scales with two ends."""

    low: float
    high: float

    kind: ClassVar[str] = "linear"
    prefix: ClassVar[str] = ""  # of the axis' name in every engine
    logarithmic: ClassVar[bool] = False
    half_step: ClassVar[float] = 0.0  # that each end owns on its outer side

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", number(self.low))
        object.__setattr__(self, "high", number(self.high))
        if self.low >= self.high:
            low, high = self.declared()
            mend = "swap them" if low > high else "give it some width, or drop the axis"
            raise ScaleError(f"low {low:g} is not below high {high:g}; {mend}")

    # The monotone map that makes draws uniform, its inverse, and where the ends are on it
    def _straighten(self, values: Array) -> Array:
        return np.log(values) if self.logarithmic else values

    def _bend(self, straight: Array) -> Array:
        return np.exp(straight) if self.logarithmic else straight

    def _ends(self) -> Array:
        return self._straighten(np.array([self.low - self.half_step, self.high + self.half_step]))

    def at(self, unit: ArrayLike) -> Array:
        """Places on the scale at `unit`, as a picture needs them: neither rounded nor whole."""
        low, high = self._ends()
        return self._bend(low + np.asarray(unit, dtype=np.float64) * (high - low))

    def from_unit(self, unit: ArrayLike) -> NDArray[Any]:
        """Search coordinates at `unit`, of the same shape; inside [0, 1] never beyond the ends."""
        u = np.asarray(unit, dtype=np.float64)
        values = self._rounded(self.at(u))
        inside = (u >= 0) & (u <= 1)
        return np.where(inside, np.clip(values, self.low, self.high), values)

    def to_unit(self, values: ArrayLike) -> Array:
        """The inverse of `from_unit`, up to the rounding of values."""
        low, high = self._ends()
        return (self._straighten(np.asarray(values, dtype=np.float64)) - low) / (high - low)

    def _rounded(self, values: Array) -> NDArray[Any]:
        return round_significant(values, VALUE_DIGITS)

    def narrow(self, low: float, high: float) -> Linear:
        """The same scale between two unit coordinates, which may lie beyond the ends."""
        units, own = np.array([low, high]), np.array([self.low, self.high])
        ends = self.from_unit(units)
        short = round_significant(ends, BOUND_DIGITS)
        # Short ends where they say the same: 0.9951 … 0.9953 for 0.99513 … 0.99527 does not.
        if abs(np.diff(short) - np.diff(ends)) <= 0.02 * np.diff(ends):
            ends = short
        ends = np.where(units == [0, 1], own, ends)  # a wall that stays is the same wall
        # Rounding must not step over an end that was not asked to move, nor over a hard wall.
        inside = (units >= 0) & (units <= 1)
        ends = np.clip(np.where(inside, np.clip(ends, *own), ends), *self.walls())
        return type(self)(*ends.tolist()) if ends[0] < ends[1] else self

    def walls(self) -> tuple[float, float]:
        """Search coordinates that growth must not pass.

        A range declared without negative numbers keeps out of them, and one inside [0, 1] (a
        dropout, a share) stays there.
        """
        if self.low < 0:
            return -math.inf, math.inf
        return 0.0, 1.0 if self.high <= 1 else math.inf

    def declared(self) -> tuple[float, float]:
        """The two ends as a user writes them in a space, in natural values."""
        return self.low, self.high

    def natural(self, value: Any) -> Any:
        """The config's value for a search coordinate."""
        return value

    def __str__(self) -> str:
        low, high = self.declared()
        return f"{self.kind} {low:.12g} … {high:.12g}"


@dataclass(frozen=True)
class Log(Linear):
    """Log-uniform: every decade is drawn equally often. `${log:1e-4,1}` for a learning rate."""

    kind: ClassVar[str] = "log"
    logarithmic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if number(self.low) <= 0:
            raise ScaleError(
                f"low {self.low:g} has no logarithm; write a small positive number, such as "
                f"{abs(number(self.high)) / 1e4 or 1e-4:g}, or use linear"
            )
        super().__post_init__()

    def walls(self) -> tuple[float, float]:
        return 0.0, math.inf


@dataclass(frozen=True)
class OneMinusLog(Log):
    """Log-uniform in the complement: `${one_minus_log:0.9,0.999}` for a momentum.

    `low` and `high` are complements, the search coordinate: half of the draws on β in
    [0.9, 0.999] have 1-β below 0.01. Build it from β with `from_natural`.
    """

    kind: ClassVar[str] = "one_minus_log"
    prefix: ClassVar[str] = "one_minus."

    @classmethod
    def from_natural(cls, low: float, high: float) -> OneMinusLog:
        """From the ends of β itself, 0 ≤ low < high < 1."""
        low, high = number(low), number(high)
        if low < 0 or one_minus(high) <= 0:
            raise ScaleError(
                f"{low:g} … {high:g} is not inside [0, 1): an average over 1/(1-β) steps needs "
                "0 ≤ β < 1; write, for example, 0.9,0.999"
            )
        # 1 - 0.999 is 0.0010000000000000009; nobody means that.
        return cls(*round_significant([1 - high, 1 - low], 12).tolist())

    def walls(self) -> tuple[float, float]:
        return 0.0, 1.0

    def declared(self) -> tuple[float, float]:
        return self.natural(self.high), self.natural(self.low)

    def natural(self, value: Any) -> Any:
        return one_minus(value)


@dataclass(frozen=True)
class Integer(Linear):
    """Uniform whole numbers, both ends included: `${integer:16,128}`."""

    low: int
    high: int

    kind: ClassVar[str] = "integer"
    half_step: ClassVar[float] = 0.5  # without it the ends were drawn half as often as the others

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "low", whole(self.low))
        object.__setattr__(self, "high", whole(self.high))

    def _rounded(self, values: Array) -> NDArray[np.int64]:
        return np.rint(values).astype(np.int64)

    def narrow(self, low: float, high: float) -> Integer:
        """The whole numbers whose unit coordinate lies in [low, high]; two of them at least."""
        wall_low, wall_high = self.walls()
        first, last = (int(v) for v in np.clip(self.from_unit([low, high]), wall_low, wall_high))
        first += bool(self.to_unit(first) < low - 1e-9)  # but for the last digits
        last -= bool(self.to_unit(last) > high + 1e-9)
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
    logarithmic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if number(self.low) < 1:
            raise ScaleError(f"low {self.low:g} has no logarithm; start at 1, or use integer")
        super().__post_init__()


@dataclass(frozen=True)
class Choice:
    """One of a list, each equally often: `${choice:16,32,64,128}`.

    Numbers keep their order (they are neighbours of one another); text does not.
    """

    values: tuple[Any, ...]
    complement: bool = False
    """The values are complements 1-β: a `one_minus_log` axis that was frozen."""

    kind: ClassVar[str] = "choice"

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise ScaleError("the choice is empty; write at least one value: ${choice:16,32,64}")
        for value in self.values:
            if not isinstance(value, str | int | float | bool | None):
                raise ScaleError(f"{value!r} cannot be a choice; write numbers, text or null")
            if isinstance(value, float):
                number(value)
        if len(set(map(_typed, self.values))) < len(self.values):
            raise ScaleError(f"{list(self.values)} holds a value twice; write each once")

    @property
    def prefix(self) -> str:
        return OneMinusLog.prefix if self.complement else ""

    @property
    def ordered(self) -> bool:
        """Whether neighbours in the list are neighbours in meaning."""
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in self.values)
        return numbers and list(self.values) == sorted(self.values)

    def from_unit(self, unit: ArrayLike) -> NDArray[Any]:
        """The values at `unit`, as they are in the list: an array of objects of the same shape."""
        u = np.asarray(unit, dtype=np.float64)
        column = np.empty(len(self.values), dtype=object)  # np.array would turn 1, "a" into text
        column[:] = self.values
        return column[np.clip((u * len(column)).astype(np.int64), 0, len(column) - 1)]

    def to_unit(self, values: ArrayLike) -> Array:
        """Middle of each value's share. A value that is not in the list is a KeyError."""
        place = {_typed(v): i for i, v in enumerate(self.values)}
        flat = np.asarray(values, dtype=object)
        index = [place[_typed(v)] for v in flat.ravel().tolist()]
        return (np.array(index, dtype=np.float64).reshape(flat.shape) + 0.5) / len(self.values)

    def keep(self, used: Sequence[Any]) -> Choice | None:
        """The choice among those of its values that are in `used`; None if none of them is."""
        wanted = set(map(_typed, used))
        kept = tuple(v for v in self.values if _typed(v) in wanted)
        return Choice(kept, self.complement) if kept else None

    def natural(self, value: Any) -> Any:
        return one_minus(value) if self.complement else value

    def __str__(self) -> str:
        shown = ["null" if v is None else str(self.natural(v)) for v in self.values]
        return f"fixed at {shown[0]}" if len(shown) == 1 else f"choice {', '.join(shown)}"


def _typed(value: Any) -> tuple[type, Any]:
    """What tells two values of a choice apart: True is not 1, and 1 is not 1.0."""
    return type(value), value


Scale = Linear | Choice
SCALES: dict[str, type[Linear] | type[Choice]] = {
    cls.kind: cls for cls in (Log, OneMinusLog, Linear, Integer, LogInteger, Choice)
}
