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
THREE_DECADES = 999.999  # 1e-2 / 1e-5 is 999.9999999999999


@dataclass(frozen=True)
class Problem:
    """What is wrong with one axis. A fatal one stops the command, another is a warning."""

    key: str
    message: str
    fatal: bool = True


def lint(space: Space, config: Mapping[str, Any], refined: bool = False) -> list[Problem]:
    """Every problem of `space` over `config` (nested plain containers), fatal ones first.

    A `refined` space may well leave the config's defaults outside.
    """
    defaults = dict(_flatten(config))
    found = [p for axis in space for p in _problems(axis, defaults, refined)]
    return sorted(found, key=lambda p: not p.fatal)


def _problems(axis: Axis, defaults: Mapping[str, Any], refined: bool) -> Iterator[Problem]:
    scale = axis.scale
    if axis.key not in defaults:
        alike = [k for k, v in defaults.items() if _could_be(axis, k, v)]
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
    if problem := _leaves_unit(axis):
        yield problem
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
        low, high = scale.declared()
        if not low <= default <= high:
            yield Problem(
                axis.key,
                f"the config's default {default:g} lies outside {low:g} … {high:g}",
                fatal=False,
            )
    if isinstance(scale, Log) and isinstance(default, str):
        yield Problem(axis.key, f"the config's default is the text {default!r}, not a number")


def _leaves_unit(axis: Axis) -> Problem | None:
    """A β of an average lies in [0, 1), whatever the scale."""
    scale = axis.scale
    if axis.key.rpartition(".")[2] not in BETAS:
        return None
    drawn = scale.values if isinstance(scale, Choice) else (scale.low, scale.high)
    natural = [scale.natural(v) for v in drawn if isinstance(v, int | float)]
    if all(0 <= v < 1 for v in natural):
        return None
    return Problem(axis.key, f"{scale} leaves [0, 1); write ${{one_minus_log:0.9,0.999}}")


def _could_be(axis: Axis, key: str, default: Any) -> bool:
    """Whether a key of the config may be what a misspelt axis means."""
    number = isinstance(default, int | float) or default is None
    return not key.rpartition(".")[2].startswith("_") and (number or isinstance(axis.scale, Choice))


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, node in tree.items():
        if isinstance(node, Mapping):
            yield from _flatten(node, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", node
