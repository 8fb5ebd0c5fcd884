"""Check a space against the config it searches, before anything runs."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from caviar.space.scales import Choice, Integer, Linear, Log
from caviar.space.space import Axis, Space

BETAS = ("momentum", "beta1", "beta2")  # of exponentially weighted averages
THREE_DECADES = 999.999  # not 1000: 1e-2 / 1e-5 is 999.9999999999999


@dataclass(frozen=True)
class Problem:
    """What is wrong with one axis. A fatal one stops the command, another is a warning."""

    key: str
    message: str
    fatal: bool = True


def lint(space: Space, config: Mapping[str, Any], refined: bool = False) -> list[Problem]:
    """Every problem of `space` over `config` (nested plain containers), fatal ones first.

    >>> from caviar.space import Axis, Linear, Space
    >>> space = Space((Axis("optimizer.lr", Linear(1e-4, 1)),))
    >>> (problem,) = lint(space, {"optimizer": {"lr": 0.1}})
    >>> problem.message.rpartition("; ")[2]
    'write ${log:0.0001,1}'

    A `refined` space may well leave the config's defaults outside.
    """
    defaults = dict(flatten(config))
    problems = [problem for axis in space for problem in _problems(axis, defaults, refined)]
    return sorted(problems, key=lambda problem: not problem.fatal)


def _problems(axis: Axis, defaults: Mapping[str, Any], refined: bool) -> Iterator[Problem]:
    """What is wrong with one axis; `defaults` are the config's values by dotted key."""
    scale = axis.scale
    if axis.key not in defaults:
        # Not a `_target_`, and for a range only what may be a number: a wrong guess misleads.
        numbers = (int, float, bool, type(None))
        alike = [
            key
            for key, value in defaults.items()
            if not key.rpartition(".")[2].startswith("_")
            and (isinstance(scale, Choice) or isinstance(value, numbers))
        ]
        close = difflib.get_close_matches(axis.key, alike, n=1, cutoff=0.8)
        meant = f"did you mean {close[0]}? " if close else ""
        yield Problem(
            axis.key,
            f"the config has no such key; {meant}To leave it out of the search, drop it from the "
            f"space: '~space.{axis.key}'",
        )
        return
    default = defaults[axis.key]
    if isinstance(scale, Integer) and isinstance(default, float) and not default.is_integer():
        yield Problem(
            axis.key,
            f"the config's default {default} is fractional, but the scale draws whole numbers; "
            "use linear or log",
        )
    if axis.key.rpartition(".")[2] in BETAS:
        drawn = scale.values if isinstance(scale, Choice) else (scale.low, scale.high)
        natural = [scale.natural(v) for v in drawn if isinstance(v, int | float)]
        if not all(0 <= value < 1 for value in natural):
            message = f"{scale} leaves [0, 1); write ${{one_minus_log:0.9,0.999}}"
            yield Problem(axis.key, message)
    # Whole numbers over decades may well be meant, so this is about `linear` itself.
    if type(scale) is Linear and scale.low > 0 and scale.high / scale.low >= THREE_DECADES:
        share = (scale.high - scale.high / 10) / (scale.high - scale.low)
        yield Problem(
            axis.key,
            f"{scale.low:g} … {scale.high:g} spans {math.log10(scale.high / scale.low):.0f} "
            f"decades, and linear draws put {share:.0%} of the trials into the last one; "
            f"write ${{log:{scale.low:g},{scale.high:g}}}",
            fatal=False,
        )
    if not refined and not isinstance(scale, Choice) and isinstance(default, int | float):
        low, high = scale.declared()  # in natural values: 1 - 0.9 is not 0.1 in binary
        if not low <= default <= high:
            yield Problem(
                axis.key,
                f"the config's default {default:g} lies outside {low:g} … {high:g}",
                fatal=False,
            )
    if isinstance(scale, Log) and isinstance(default, str):
        yield Problem(axis.key, f"the config's default is the text {default!r}, not a number")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a nested mapping by dotted key."""
    for name, node in tree.items():
        if isinstance(node, Mapping):
            yield from flatten(node, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", node
