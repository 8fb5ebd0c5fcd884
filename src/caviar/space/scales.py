"""The continuous scales: linear, log, and log in 1-β."""

# MERGED space.discrete """The discrete scales: whole numbers and choices."""
#
# MERGED space.scales """The six scales: how one axis of a space is drawn.
#
#     >>> Log(1e-4, 1.0).from_unit(0.5)
#     array(0.01)
#
# A scale maps the unit interval to *search coordinates* and back. For five of the six the search
# coordinate is the value itself; for `one_minus_log` it is the complement 1-β, because what matters
# about a momentum β is how many steps it averages over, about 1/(1-β). Points outside [0, 1] are
# legal in both directions: that is how a range is asked to grow.
#
# All maps are vectorised over NumPy arrays. Continuous values are rounded to six significant digits:
# enough to tell any two settings apart, few enough to be read, typed and reproduced exactly.
# """
#

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

VALUE_DIGITS = 6
BOUND_DIGITS = 4  # of a narrowed range: people read these


class ScaleError(ValueError):
    """A range that no scale can be. The message says what is wrong and what to write instead."""


def round_significant(values: ArrayLike, digits: int) -> NDArray[np.float64]:
    """Round to `digits` significant digits; the result prints short (0.00316228)."""
    x = np.asarray(values, dtype=np.float64)
    magnitude = np.floor(np.log10(np.abs(x), where=x != 0, out=np.zeros_like(x)))
    exponent = digits - 1 - magnitude
    # A power of ten up to 10**22 is exact, so down to 1e-17 the division rounds once, correctly.
    up, down = 10.0 ** np.clip(exponent, 0, 300), 10.0 ** np.clip(-exponent, 0, 300)
    return np.where(exponent >= 0, np.rint(x * up) / up, np.rint(x / down) * down)


def number(value: Any) -> float:
    """`value` as a float; booleans, text and NaN are refused."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ScaleError(f"{value!r} is not a finite number; write one, such as 0.1 or 1.0e-4")
    return float(value)


def one_minus(value: float) -> float:
    """β of its complement and back, without the last digits' noise: 0.98 for 0.02."""
    return round(1 - value, 15)


@dataclass(frozen=True)
class Linear:
    """Uniform between two numbers: `${linear:0,0.5}`."""

    low: float
    high: float

    kind: ClassVar[str] = "linear"
    prefix: ClassVar[str] = ""  # of the axis' name in every engine

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", number(self.low))
        object.__setattr__(self, "high", number(self.high))
        if self.low >= self.high:
            low, high = self.declared()
            mend = "swap them" if low > high else "give it some width, or drop the axis"
            raise ScaleError(f"low {low:g} is not below high {high:g}; {mend}")

    # -- the monotone map that makes draws uniform; the only thing that differs between scales
    @staticmethod
    def _straighten(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values

    @staticmethod
    def _bend(straight: NDArray[np.float64]) -> NDArray[np.float64]:
        return straight

    def _ends(self) -> tuple[float, float]:
        low, high = self._straighten(np.array([self.low, self.high]))
        return float(low), float(high)

    def from_unit(self, unit: ArrayLike) -> NDArray[Any]:
        """Search coordinates at `unit`, of the same shape; inside [0, 1] never beyond the ends."""
        u = np.asarray(unit, dtype=np.float64)
        values = round_significant(self.at(u), VALUE_DIGITS)
        inside = (u >= 0) & (u <= 1)
        return np.where(inside, np.clip(values, self.low, self.high), values)

    def at(self, unit: ArrayLike) -> NDArray[np.float64]:
        """Places on the scale at `unit`, as a picture needs them: neither rounded nor whole."""
        low, high = self._ends()
        return self._bend(low + np.asarray(unit, dtype=np.float64) * (high - low))

    def to_unit(self, values: ArrayLike) -> NDArray[np.float64]:
        """The inverse of `from_unit`, up to the rounding of values."""
        low, high = self._ends()
        return (self._straighten(np.asarray(values, dtype=np.float64)) - low) / (high - low)

    def narrow(self, low: float, high: float) -> Linear:
        """The same scale between two unit coordinates, which may lie beyond the ends."""
        units, own = np.array([low, high]), np.array([self.low, self.high])
        ends = self.from_unit(units)
        short = round_significant(ends, BOUND_DIGITS)
        if abs(np.diff(short) - np.diff(ends)) <= 0.02 * np.diff(ends):  # 0.9951 … 0.9953 is not
            ends = short
        ends = np.where(units == [0, 1], own, ends)  # a wall that stays is the same wall
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

    def __post_init__(self) -> None:
        if number(self.low) <= 0:
            raise ScaleError(
                f"low {self.low:g} has no logarithm; write a small positive number, such as "
                f"{abs(number(self.high)) / 1e4 or 1e-4:g}, or use linear"
            )
        super().__post_init__()

    @staticmethod
    def _straighten(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log(values)

    @staticmethod
    def _bend(straight: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(straight)

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
        if low < 0 or round(high, 15) >= 1:  # 15 digits, as in `natural`
            raise ScaleError(
                f"{low:g} … {high:g} is not inside [0, 1): an average over 1/(1-β) steps needs "
                "0 ≤ β < 1; write, for example, 0.9,0.999"
            )
        # 1 - 0.999 is 0.0010000000000000009; nobody means that.
        return cls(*(float(c) for c in round_significant([1 - high, 1 - low], 12)))

    def walls(self) -> tuple[float, float]:
        return 0.0, 1.0

    def declared(self) -> tuple[float, float]:
        return self.natural(self.high), self.natural(self.low)

    def natural(self, value: Any) -> Any:
        return one_minus(value)


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


Scale = Linear | Choice
SCALES: dict[str, type[Linear] | type[Choice]] = {
    cls.kind: cls for cls in (Log, OneMinusLog, Linear, Integer, LogInteger, Choice)
}


def scale_from_dict(declared: dict[str, Any]) -> Scale:
    """The scale that a resolver described, in natural values: {"scale": "log", "low": …}."""
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
