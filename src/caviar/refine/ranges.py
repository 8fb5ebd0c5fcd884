"""Refine: from all trials so far to the next stage's ranges.

    next_space = refine(coarse, parent, points, losses).space

Everything is computed in the coarse stage's unit coordinates. Two methods:

- `surrogate` (default): the 5-95 % quantiles, axis by axis, of the best tenth of a cloud of
  points under a smooth model of all trials; never narrower than 0.35 of the parent's range.
- `top_k`: [m - R/(k-1), M + R/(k-1)], with m, M the smallest and largest of the best k and
  R = M - m: without bias for the region's ends where k points fall uniformly into it.

Then, axis by axis: a boundary alarm grows the range past a wall that two of the best five lean
on, by half its width and at most a decade, and not to where trials have diverged; an axis without
effect keeps its range (or is frozen), whole numbers move by at least one step, a choice keeps what
the best five use.

A stage's file may have been edited by hand, so the parent may have a list of values where the
coarse stage had a range, or another kind of range; what was edited stays of the kind it was made.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from caviar.refine.surrogate import TOP, Surrogate, worst_if_diverged
from caviar.space import Choice, Integer, Linear, Scale, Space

METHODS = ("surrogate", "top_k")

# Searches of 60 trainings on real data, with three rounds by these four, ended at a loss of
# 0.212 ± 0.004 on digits and 0.158 ± 0.005 on wine; by the box around the best five at
# 0.224 ± 0.006 and 0.163 ± 0.008. Repeated with the trainings of benchmarks/trainings.py,
# the two tie.
CLOUD = 4096  # its best tenth leaves 20 points beyond each quantile; time grows with it
BEST_SHARE = 0.1  # a smaller one would narrow faster, on the word of the model's minimum
QUANTILES = (0.05, 0.95)
SHRINK_LIMIT = 0.35  # of the parent's width: one stage's luck must not shut the optimum out

EFFECT_CLOUD = 1024  # a prediction more for each axis, of an effect that is only held against 5 %

# Chance alone makes the best trials lean on a wall in 11 % of cases, on an axis that does not
# matter. Therefore only one that matters grows.
EDGE = 0.1  # of a range: at a wall
BESIDE = 0.25  # of a range: where a second trial bears out the best one, at a wall
GROWTH = 0.5  # of the parent's width, past a wall
DECADE = 1.0  # of a logarithmic range, at most: half of four would try an lr of 100 for one of 1

SHARES = (
    "shares of the rank variance count what an axis does together with others, by a smooth model "
    "within these ranges; caviar importance measures each by itself, in the whole space, and is "
    "mostly smaller"
)
MATTERS = 0.05  # of the rank variance; a range that noise had narrowed would not come back
ENOUGH = 20  # trials, from which an axis may be frozen and effects are stated without reserve:
# freezing is not undone by later stages, so it should not rest on the handful that refine takes

if TYPE_CHECKING:
    from caviar.refine.stopping import Outlook

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
    outlook: Outlook | None = None
    """What the round is expected to gain, where that was asked for."""


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

    >>> from caviar.space import Axis, Log
    >>> space = Space((Axis("lr", Log(1e-4, 1.0)),))
    >>> points = [{"lr": lr} for lr in (1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 1.0)]
    >>> losses = [9.0, 3.0, 1.5, 1.0, 1.6, 4.0, float("nan")]  # the last one diverged
    >>> str(refine(space, space, points, losses, method="top_k").space.axis("lr").scale)
    'log 0.0003162 … 0.3162'

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
    top = [int(i) for i in np.argsort(loss, kind="stable")[:TOP] if np.isfinite(loss[i])]

    ruler = _ruler(coarse, parent)
    units = _units(ruler, points)
    box = _box(ruler, parent)
    rng = np.random.default_rng(seed)
    cloud = _cloud(ruler, parent, box, rng)
    model = Surrogate(ruler, units, loss)
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
    for j, axis in enumerate(ruler):
        old = parent.axis(axis.name).scale
        used = [points[i][axis.name] for i in top]
        if isinstance(old, Choice):
            new, why = _next_choice(axis.scale, old, used, effects[j], freeze)
        elif effects[j] < MATTERS:
            new, why = _without_effect(old, used[0], effects[j], freeze)
        else:
            assert isinstance(axis.scale, Linear)  # no range follows a choice
            lost = units[~np.isfinite(loss), j]
            new, why = _next_range(axis.scale, old, box[j], ends[j], units[top, j], lost, used)
            few = "" if len(loss) >= ENOUGH else f", as far as {len(loss)} trials can tell"
            why.append(f"takes part in {effects[j]:.0%} of the rank variance{few}")
        scales[axis.name], reasons[axis.name] = new, why
    return Refinement(
        parent.replace(scales),
        reasons,
        top,
        dict(zip(coarse.names, effects.tolist(), strict=True)),
    )


def _ruler(coarse: Space, parent: Space) -> Space:
    """What trials and ranges are measured on: the coarse space, with the parent's kind of range.

    On an axis that was linear and is logarithmic by now, all of the new range's draws would lie
    near the low wall of the old one, and seem to lean on it. The walls remain the coarse stage's,
    as far as the new kind can have them.
    """
    rulers: dict[str, Scale] = {}
    for axis in coarse:
        first, now = axis.scale, parent.axis(axis.name).scale
        if isinstance(first, Linear) and isinstance(now, Linear) and type(first) is not type(now):
            low, high = min(first.low, now.low), max(first.high, now.high)
            if isinstance(now, Integer):
                low, high = math.ceil(low), math.floor(high)
            rulers[axis.name] = type(now)(now.low if now.logarithmic and low <= 0 else low, high)
    return coarse.replace(rulers)


def _units(ruler: Space, points: Sequence[Mapping[str, Any]]) -> Array:
    """Unit coordinates of trials on the ruler, shape (n, axes)."""
    columns: dict[str, Any] = {}
    for axis in ruler:
        values = [p[axis.name] for p in points]
        if isinstance(axis.scale, Linear) and axis.scale.logarithmic:
            # An earlier stage may have drawn 0 on a linear axis; it counts as the low wall.
            values = [v if v > 0 else axis.scale.low for v in values]
        columns[axis.name] = values
    return ruler.to_unit(columns)


def _box(ruler: Space, parent: Space) -> Array:
    """The parent's ranges in unit coordinates of the ruler, shape (axes, 2)."""
    box = np.empty((len(ruler), 2))
    for j, axis in enumerate(ruler):
        old = parent.axis(axis.name).scale
        if isinstance(old, Linear):
            box[j] = axis.scale.to_unit([old.low - old.half_step, old.high + old.half_step])
        else:
            places = axis.scale.to_unit(list(old.values))
            box[j] = places.min(), places.max()
    return box


def _cloud(ruler: Space, parent: Space, box: Array, rng: np.random.Generator) -> Array:
    """CLOUD points, uniform in the parent's box; choices among those values that it still has."""
    cloud = box[:, 0] + rng.random((CLOUD, len(ruler))) * (box[:, 1] - box[:, 0])
    for j, axis in enumerate(ruler):
        old = parent.axis(axis.name).scale
        if isinstance(old, Choice):
            cloud[:, j] = rng.choice(axis.scale.to_unit(list(old.values)), CLOUD)
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
    ruler: Linear,
    old: Linear,
    box: Array,
    ends: Array,
    top_units: Array,
    lost: Array,
    used: Sequence[Any],
) -> tuple[Scale, list[str]]:
    """Narrow one axis that matters, or grow it past a wall that the best trials lean on."""
    width = box[1] - box[0]
    low, high = float(ends[0]), float(ends[1])
    low_alarm = _leans((top_units - box[0]) / width, np.equal(used, old.low))
    high_alarm = _leans((box[1] - top_units) / width, np.equal(used, old.high))
    grown: dict[str, bool] = {}  # end → whether trials diverged there
    # Only near an original wall, or past it; elsewhere a refined range ends where it should.
    if box[0] < EDGE and low_alarm:
        low = -_grown(ruler, -box[0], width, -top_units, -lost)
        grown["low"] = low >= box[0]
    if box[1] > 1 - EDGE and high_alarm:
        high = _grown(ruler, box[1], width, top_units, lost)
        grown["high"] = high <= box[1]
    new = ruler.narrow(low, high)
    if isinstance(new, Integer):
        new = _one_step(new, old, grown, used)

    natural = {"low": "high", "high": "low"} if ruler.prefix else {}  # more β is less complement
    reasons = [f"was {old}"]
    for end, diverged in grown.items():
        stuck = getattr(new, end) == getattr(old, end)
        wall = old.natural(getattr(old, end))
        what = "but that is a hard wall" if stuck else f"grown past {wall:.4g}"
        if diverged:
            what = "but trials diverged there"
        reasons.append(f"boundary alarm at the {natural.get(end, end)} wall: {what}")
    return new, reasons


def _grown(ruler: Linear, wall: float, width: float, top: Array, lost: Array) -> float:
    """How far a range may reach past its upper wall; the wall itself where trials diverged at it.

    Arguments:
        ruler: of the unit coordinates.
        wall: the range's upper end.
        width: of the range.
        top: the best trials, of which some lean on the wall.
        lost: trials that diverged.
    """
    growth = GROWTH * width
    if ruler.logarithmic:
        low, high = ruler.at([0.0, 1.0])
        growth = min(growth, DECADE / math.log10(high / low))
    farthest = top.max()
    beyond = lost[lost > farthest]
    if not len(beyond):
        return float(wall + growth)
    # Somewhere between the last good trial and the first lost one divergence begins.
    return float(np.clip((max(wall, farthest) + beyond.min()) / 2, wall, wall + growth))


def _leans(away: Array, on_end: NDArray[np.bool_]) -> bool:
    """Whether the best trials, best first, lean on a wall: never a single one, which may be luck.

    An end of a few whole numbers (2, 3 or 4 layers) owns more than the range's outer tenth, and
    chance alone puts two of five there: then the best and two more must stand on it.

    Arguments:
        away: how far each is from the wall, in widths of the range.
        on_end: which stand on it.
    """
    borne_out = away[0] < EDGE and (away < BESIDE).sum() >= 2
    return bool(borne_out or (away < EDGE).sum() >= 2 or (on_end[0] and on_end.sum() >= 3))


def _one_step(new: Integer, old: Linear, grown: Collection[str], used: Sequence[Any]) -> Integer:
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
    ruler: Scale, old: Choice, used: Sequence[Any], effect: float, freeze: bool
) -> tuple[Scale, list[str]]:
    """Keep of a choice what the best five use; of a list in a range's place, what they are near."""
    if len(old.values) == 1:
        return old, ["frozen earlier"]
    verb = "use"
    if isinstance(ruler, Linear):  # trials of earlier stages lie between the values of the list
        away = np.subtract.outer(ruler.to_unit(used), ruler.to_unit(list(old.values)))
        nearest = [old.values[i] for i in np.abs(away).argmin(axis=1)]
        verb = "use" if nearest == used else "are nearest to"
    else:
        nearest = [value for value in used if old.keep([value])]
    kept = old.keep(nearest)
    if kept is None:  # a file edited by hand
        return old, [f"the best {len(used)} use none of these: values kept"]
    if effect < MATTERS:
        return _without_effect(old, nearest[0], effect, freeze)
    return kept, [f"was {old}", f"the best {len(used)} {verb} these"]


def _without_effect(old: Scale, best: Any, effect: float, freeze: bool) -> tuple[Scale, list[str]]:
    """Keep an axis on which the model sees nothing as it is, or pin it where the best trial is."""
    seen = f"no effect seen ({effect:.0%} of the rank variance)"
    if not freeze:
        return old, [f"{seen}: range kept"]
    frozen = f"{seen}: frozen at the best trial's value"
    return Choice((best,), bool(old.prefix)), [f"was {old}", frozen]
