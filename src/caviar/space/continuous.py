"""The continuous scales: linear, log, and log in 1-β."""

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
