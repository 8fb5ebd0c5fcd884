"""Refine: from all trials so far to the next stage's ranges.

    next_space = refine(coarse, parent, points, losses).space

Everything is computed in the coarse stage's unit coordinates. Two methods:

- `surrogate` (default): the 5-95 % quantiles, axis by axis, of the best tenth of a cloud of
  points under a smooth model of all trials; never narrower than 0.35 of the parent's range.
- `top_k`: [m - R/(k-1), M + R/(k-1)], with m, M the smallest and largest of the best k and
  R = M - m: without bias for the region's ends where k points fall uniformly into it.

Then, axis by axis: a boundary alarm grows the range, an axis without effect keeps its range (or
is frozen), whole numbers move by at least one step, a choice keeps what the best five use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caviar.refine.surrogate import TOP, Surrogate, worst_if_diverged
from caviar.space import Axis, Choice, Integer, Linear, Scale, Space

METHODS = ("surrogate", "top_k")

CLOUD = 4096
EFFECT_CLOUD = 1024
BEST_SHARE = 0.1
QUANTILES = (0.05, 0.95)
SHRINK_LIMIT = 0.35  # of the parent's width, at most this narrow
EDGE = 0.1  # of a range: near a wall
GROWTH = 0.5  # of the parent's width, past a wall
MATTERS = 0.05  # of the rank variance
ENOUGH = 20  # trials, from which an axis may be frozen and effects are stated without reserve

Array = NDArray[np.float64]


class TooFewTrials(ValueError):
    """There are not enough finished trials to learn from."""


@dataclass(frozen=True)
class Refinement:
    """The next stage's space, with a reason for every range, by coordinate name."""

    space: Space
    reasons: Mapping[str, Sequence[str]]
    top: Sequence[int]
    """Positions of the best five trials, best first."""
    effects: Mapping[str, float]
    """Share of the rank variance that each axis takes part in."""


def refine(
    coarse: Space,
    parent: Space,
    points: Sequence[Mapping[str, Any]],
    losses: Sequence[float],
    *,
    method: str = "surrogate",
    freeze: bool = False,
    seed: int = 0,
) -> Refinement:
    """The next stage's space.

    Arguments:
        coarse: space of the first stage; its walls are the ones an alarm is about.
        parent: space of the latest stage, which is narrowed.
        points: search coordinates of all finished trials of all stages.
        losses: one for each point, lower is better, infinite where training diverged.
        method: `surrogate` or `top_k`.
        freeze: pin the axes without effect at the best trial's value; from 20 trials on.
        seed: of the cloud of points.

    Raises:
        TooFewTrials: fewer than five trials, or all of them diverged.
    """
    loss = worst_if_diverged(losses)
    if len(loss) < TOP:
        raise TooFewTrials(f"finished trials: {len(loss)}; refining takes at least {TOP}")
    if not np.isfinite(loss).any():
        raise TooFewTrials(f"all {len(loss)} trials diverged; there is no good region to find")
    freeze = freeze and len(loss) >= ENOUGH
    units = coarse.to_unit({name: [p[name] for p in points] for name in coarse.names})
    top = [int(i) for i in np.argsort(loss, kind="stable")[:TOP] if np.isfinite(loss[i])]
    box = _box(coarse, parent)
    rng = np.random.default_rng(seed)
    cloud = _cloud(coarse, parent, box, rng)
    model = Surrogate(coarse, units, loss)
    effects = model.total_effects(cloud[:EFFECT_CLOUD], rng)
    if method == "surrogate":
        best = cloud[np.argsort(model.mean(cloud), kind="stable")[: int(CLOUD * BEST_SHARE)]]
        ends = np.quantile(best, QUANTILES, axis=0).T
    else:
        low, high = units[top].min(axis=0), units[top].max(axis=0)
        margin = (high - low) / max(len(top) - 1, 1)
        ends = np.column_stack([low - margin, high + margin])
    ends = _no_narrower(ends, box)

    scales: dict[str, Scale] = {}
    reasons: dict[str, list[str]] = {}
    for j, axis in enumerate(coarse):
        old = parent.axis(axis.name)
        used = [points[i][axis.name] for i in top]
        if isinstance(old.scale, Choice):
            decided = _next_choice(old, used, effects[j], freeze)
        elif effects[j] < MATTERS:
            decided = _without_effect(old, used[0], effects[j], freeze)
        else:
            decided = _next_range(axis, old, box[j], ends[j], units[top, j], used)
            share = f"takes part in {effects[j]:.0%} of the rank variance"
            few = "" if len(loss) >= ENOUGH else f", as far as {len(loss)} trials can tell"
            decided[1].append(share + few)
        scales[axis.name], reasons[axis.name] = decided
    return Refinement(
        parent.replace(scales),
        reasons,
        top,
        dict(zip(coarse.names, effects.tolist(), strict=True)),
    )


def _box(coarse: Space, parent: Space) -> Array:
    """The parent's ranges in the coarse unit coordinates, shape (axes, 2)."""
    box = np.empty((len(coarse), 2))
    for j, axis in enumerate(coarse):
        old = parent.axis(axis.name).scale
        if isinstance(old, Linear):
            half = 0.5 if isinstance(old, Integer) else 0.0  # each whole number's own half steps
            box[j] = axis.scale.to_unit([old.low - half, old.high + half])
        else:
            box[j] = 0.0, 1.0
    return box


def _cloud(coarse: Space, parent: Space, box: Array, rng: np.random.Generator) -> Array:
    """CLOUD points, uniform in the parent's box; choices among those that it still has."""
    cloud = box[:, 0] + rng.random((CLOUD, len(coarse))) * (box[:, 1] - box[:, 0])
    for j, axis in enumerate(coarse):
        old = parent.axis(axis.name).scale
        if isinstance(axis.scale, Choice) and isinstance(old, Choice):
            cloud[:, j] = rng.choice(axis.scale.to_unit(list(old.values)), CLOUD)
        elif isinstance(old, Choice):  # frozen
            cloud[:, j] = axis.scale.to_unit([old.values[0]])[0]
    return cloud


def _no_narrower(ends: Array, box: Array) -> Array:
    """`ends` inside `box`, each widened about its middle to at least SHRINK_LIMIT of the box."""
    width = SHRINK_LIMIT * (box[:, 1] - box[:, 0])
    half = np.maximum(ends[:, 1] - ends[:, 0], width) / 2
    middle = np.clip(ends.mean(axis=1), box[:, 0] + width / 2, box[:, 1] - width / 2)
    return np.column_stack(
        [np.maximum(middle - half, box[:, 0]), np.minimum(middle + half, box[:, 1])]
    )


def _next_range(
    coarse: Axis, old: Axis, box: Array, ends: Array, top_units: Array, used: Sequence[Any]
) -> tuple[Scale, list[str]]:
    """Narrow one axis that matters, or grow it past a wall that the best trials lean on."""
    assert isinstance(old.scale, Linear)
    assert isinstance(coarse.scale, Linear)
    width = box[1] - box[0]
    low, high = float(ends[0]), float(ends[1])
    low_alarm = _leans(top_units < box[0] + EDGE * width, np.equal(used, old.scale.low))
    high_alarm = _leans(top_units > box[1] - EDGE * width, np.equal(used, old.scale.high))
    grown: list[str] = []
    # Only near an original wall, or past it; elsewhere a refined range ends where it should.
    if box[0] < EDGE and low_alarm:
        low, grown = box[0] - GROWTH * width, [*grown, "low"]
    if box[1] > 1 - EDGE and high_alarm:
        high, grown = box[1] + GROWTH * width, [*grown, "high"]
    scale = coarse.scale.narrow(low, high)
    if isinstance(scale, Integer):
        scale = _one_step(scale, old.scale, grown, used)
    natural = {"low": "high", "high": "low"} if coarse.scale.prefix else {}
    reasons = []
    for end in grown:
        stuck = getattr(scale, end) == getattr(old.scale, end)
        wall = old.scale.natural(getattr(old.scale, end))
        what = "but that is a hard wall" if stuck else f"grown past {wall:.4g}"
        reasons.append(f"boundary alarm at the {natural.get(end, end)} wall: {what}")
    return scale, [f"was {old.scale}", *reasons]


def _leans(near: NDArray[np.bool_], on_end: NDArray[np.bool_]) -> bool:
    """Whether the best trials, best first, lean on a wall.

    An end of a few whole numbers (2, 3 or 4 layers) owns more than the range's outer tenth, and
    chance alone puts two of five there: then the best and two more must stand on it.
    """
    return bool(near[0] or near.sum() >= 2 or (on_end[0] and on_end.sum() >= 3))


def _one_step(new: Integer, old: Linear, grown: Sequence[str], used: Sequence[Any]) -> Integer:
    """Whole numbers narrow by at least one step a side, unless the best five stand on that end."""
    low = new.low if "low" in grown else max(new.low, int(old.low))
    high = new.high if "high" in grown else min(new.high, int(old.high))
    clipped = (low, high) if low < high else (new.low, new.high)
    if "low" not in grown and low <= old.low < min(used):
        low = int(old.low) + 1
    if "high" not in grown and high >= old.high > max(used):
        high = int(old.high) - 1
    return type(new)(*((low, high) if low < high else clipped))


def _next_choice(
    old: Axis, used: Sequence[Any], effect: float, freeze: bool
) -> tuple[Scale, list[str]]:
    assert isinstance(old.scale, Choice)
    if len(old.scale.values) == 1:
        return old.scale, ["frozen earlier"]
    if effect < MATTERS:
        return _without_effect(old, used[0], effect, freeze)
    kept = old.scale.keep(used)
    if kept is None:  # a file edited by hand
        return old.scale, [f"the best {len(used)} use none of these: values kept"]
    return kept, [f"was {old.scale}", f"the best {len(used)} use these"]


def _without_effect(old: Axis, best: Any, effect: float, freeze: bool) -> tuple[Scale, list[str]]:
    seen = f"no effect seen ({effect:.0%} of the rank variance)"
    if not freeze:
        return old.scale, [f"{seen}: range kept"]
    return Choice((best,), bool(old.scale.prefix)), [
        f"was {old.scale}",
        f"{seen}: frozen at the best trial's value",
    ]
