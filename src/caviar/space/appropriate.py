"""Which scale a hyperparameter wants, by its name and its range: the lecture's appropriate scale.

    >>> appropriate("optimizer.lr", Linear(1e-4, 0.1)).scale
    Log(low=0.0001, high=0.1)

A learning rate over decades is drawn log-uniformly, a momentum near 1 log-uniformly in 1-β, and a
fraction is no whole number. A list of values stays a list, which is a decision of somebody's; what
would show more of the range is said beside it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from caviar.space.scales import Choice, Integer, Linear, Log, LogInteger, OneMinusLog, Scale
from caviar.space.values import round_significant

DECADE = 9.999  # not 10: 0.1 / 0.01 is 10, and 1 - 0.9 is 0.09999999999999998
THREE_DECADES = 999.999  # of anything, whatever its name
BETAS = ("momentum", "beta1", "beta2")  # of exponentially weighted averages
_AVERAGES = re.compile(r"(.*_)?(momentum|beta_?[12]?|ema|ema_decay|gamma)")
_RATES = re.compile(r"(.*_)?(lr|learning_rate|lr_(min|max|init)|weight_decay|wd|eps|epsilon|l[12])")
_FRACTIONS = re.compile(r"(.*_)?(dropout|drop|prob|probability|p|ratio|fraction|smoothing)")
_POWERS = re.compile(r"(.*_)?(batch_size|bs)")


@dataclass(frozen=True)
class Proposal:
    """A scale for an axis."""

    scale: Scale
    because: str = ""
    """Why it is not what it was; empty if it is."""
    instead: str = ""
    """What else would fit where it stays as it was."""


def appropriate(key: str, scale: Scale, default: Any = None, guessed: bool = False) -> Proposal:
    """The scale that an axis should have.

    Arguments:
        key: of the config; its last part is what the hyperparameter is called.
        scale: as it was declared.
        default: the config's own value, if it is known.
        guessed: nobody said that it is whole; its ends just are.
    """
    name = key.lower().replace("-", "_").rpartition(".")[2]
    if isinstance(scale, Choice):
        return Proposal(scale, instead=_range_instead(name, scale))
    fractional = isinstance(default, float) and not default.is_integer()
    named = any(pattern.fullmatch(name) for pattern in (_AVERAGES, _RATES, _FRACTIONS))
    reasons = []
    if type(scale) is Integer and (fractional or (guessed and named)):
        two = scale.high - scale.low == 1
        drawn = f"only {scale.low} and {scale.high}" if two else "only whole numbers"
        reasons.append(
            f"whole ends mean int_uniform, which draws {drawn}, and {name} is a fraction; "
            f"write {float(scale.low)} for the end of a range"
        )
        scale = Linear(scale.low, scale.high)
    changed, reason = _changed(name, scale, default)
    reasons += [reason] if reason else []
    return Proposal(changed, "; ".join(reasons), "" if reasons else _octaves(scale))


def crowded(scale: Linear) -> str:
    """What is wrong with uniform draws over decades; the range must be of positive numbers."""
    share = (scale.high - scale.high / 10) / (scale.high - scale.low)
    return (
        f"{scale.low:g} … {scale.high:g} spans {math.log10(scale.high / scale.low):.2g} decades, "
        f"and linear draws put {share:.0%} of the trials into the last one"
    )


def _changed(name: str, scale: Linear, default: Any) -> tuple[Linear, str]:
    """Another scale for a range, and why; the same one and nothing if it is right."""
    low, high = scale.declared()
    if _AVERAGES.fullmatch(name) and type(scale) in (Linear, Log) and 0 <= low < high <= 1:
        if high == 1 and (name in BETAS or low >= 0.5) and low < 0.999:
            why = "1 averages for ever, so 0.999 is the end; "
            return OneMinusLog.from_natural(low, 0.999), why + _steps(low, 0.999)
        if 0.9 <= high < 1 and (1 - low) / (1 - high) >= DECADE:
            return OneMinusLog.from_natural(low, high), _steps(low, high)
    if type(scale) is Linear and high > 0:
        if _RATES.fullmatch(name) and low <= 0:
            floor = float(round_significant(high / 1e4, 4))
            share = 0.9 * high / (high - low)
            return Log(floor, high), (
                f"linear draws put {share:.0%} of the trials into the last decade; {low:g} has no "
                "logarithm, so the range begins four decades below its end"
            )
        least = DECADE if _RATES.fullmatch(name) else THREE_DECADES
        if low > 0 and high / low >= least:
            return Log(low, high), crowded(scale)
    counts = isinstance(default, int) and not isinstance(default, bool)
    whole = low >= 1 and high - low >= 2 and low == int(low) and high == int(high)
    if type(scale) in (Linear, Log) and counts and whole and not _RATES.fullmatch(name):
        cls = LogInteger if type(scale) is Log else Integer
        why = f"the config's default is the whole number {default}, and W&B drew fractions"
        return cls(int(low), int(high)), why
    return scale, ""


def _steps(low: float, high: float) -> str:
    """Why averages want 1-β: the number of steps that they average over."""
    middle = (low + high) / 2
    few, many, half = (f"{round(1 / (1 - beta), 1):.12g}" for beta in (low, high, middle))
    return (
        f"it averages over 1/(1-β) steps, {few} to {many}, and half of all linear draws stay "
        f"below {half}"
    )


def _octaves(scale: Scale) -> str:
    if type(scale) is Integer and scale.low >= 1 and scale.high / scale.low >= 16:
        return f"or ${{log_integer:{scale.low},{scale.high}}}, each octave equally often"
    return ""


def _range_instead(name: str, scale: Choice) -> str:
    """Of a list of three numbers or more, the range that shows each trial another one."""
    values = scale.values
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if len(values) < 3 or not numbers:
        return ""
    low, high = min(values), max(values)
    if all(isinstance(v, int) for v in values):
        spread = low >= 1 and high / low >= 4
        kind = "log_integer" if spread else "integer"
        if _POWERS.fullmatch(name) and spread:
            return f"or ${{log_integer:{low},{high}}}, if it need not be a power of two"
    elif _AVERAGES.fullmatch(name) and 0.9 <= high < 1 and low >= 0:
        kind = "one_minus_log"
    else:
        wide = low > 0 and high / low >= DECADE
        kind = "log" if wide else "linear"
    return (
        f"or ${{{kind}:{low:g},{high:g}}}: a list shows {len(values)} values, however many trials; "
        "a range shows another one in each"
    )
