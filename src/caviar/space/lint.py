"""Check a space against the config it searches, before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from caviar.space.appropriate import BETAS, THREE_DECADES, crowded
from caviar.space.scales import Choice, Integer, Linear, Log
from caviar.space.space import Axis, Space


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
        close = nearest(axis.key, defaults, numbers=not isinstance(scale, Choice))
        meant = f"did you mean {close}? " if close else ""
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
        mend = f"write ${{log:{scale.low:g},{scale.high:g}}}"
        yield Problem(axis.key, f"{crowded(scale)}; {mend}", fatal=False)
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


def nearest(key: str, defaults: Mapping[str, Any], numbers: bool = False) -> str:
    """The key of the config that a misspelt one may mean; empty if none is like it.

    Arguments:
        key: that the config does not have.
        defaults: its values by dotted key.
        numbers: only those that may be numbers.
    """
    # Not a `_target_`, and for a range only what may be a number: a wrong guess misleads.
    alike = [
        other
        for other, value in defaults.items()
        if not other.rpartition(".")[2].startswith("_")
        and (not numbers or isinstance(value, int | float | bool | None))
    ]
    return next(iter(difflib.get_close_matches(key, alike, n=1, cutoff=0.8)), "")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a nested mapping by dotted key."""
    for name, node in tree.items():
        if isinstance(node, Mapping):
            yield from flatten(node, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", node
