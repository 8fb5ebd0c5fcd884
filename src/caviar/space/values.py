"""The numbers that people write into a range, and that are written for people to read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


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


def whole(value: Any) -> int:
    """`value` as an int; 16.0 will do, 16.5 will not."""
    if number(value) != int(value):
        raise ScaleError(f"{value!r} is not a whole number; write one, or use linear or log")
    return int(value)


def one_minus(value: float) -> float:
    """β of its complement and back, without the last digit's noise.

    >>> one_minus(0.02), 1 - 0.9
    (0.98, 0.09999999999999998)
    """
    return round(1 - value, 15)  # a float's 16th digit is where the noise begins
