"""Which hyperparameters matter, and which of them beyond chance: fANOVA and PED-ANOVA.

    axes = measure(space, points, losses)     # the most important first
    sentences(axes, trials=len(losses))       # what was seen, and whether the tiers hold

On the values themselves a log axis would be weighed by its raw width, 90 % of it on the top
decade; on unit coordinates each axis has the weight that its scale gives it. The losses come as
the normal scores of their ranks, because they span decades and end in infinity.

What an axis explains by itself, and what it would by chance, is told in `chance`; along which axes
the best trials lie elsewhere than the others do, in `ped`.

Optuna has evaluators of both, and tests hold ours against them. But they read trials from a study,
so one has to be built for every shuffle, they take their time besides, and they say nothing of
trials left out. CPU seconds of six axes with 39 shuffles, ours / Optuna's, what of the latter goes
into the studies, and all of `measure`, as `python benchmarks/importance.py` prints them (2 cores,
Python 3.11, optuna 5.0.0):

    trials               54          300         1000
    fANOVA      0.66 / 2.11  0.86 / 4.08  1.45 / 7.32
    PED-ANOVA   0.03 / 0.39  0.03 / 1.39  0.03 / 4.30
    studies            0.18         0.87         3.05
    `measure`   0.77         1.08         1.97
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caviar.refine import ped
from caviar.refine.chance import Chance, unexplained
from caviar.refine.fanova import Forest
from caviar.refine.ranges import MATTERS, TooFewTrials
from caviar.refine.surrogate import TOP, normal_scores, worst_if_diverged
from caviar.space import Axis, Space

Array = NDArray[np.float64]

SPREAD = 1.645  # from the middle of an interval to each of its ends, in standard errors
AFFORDABLE = 10  # times as many trials as there are; a larger answer to how many is none


@dataclass(frozen=True)
class Importance:
    """How much one axis matters."""

    axis: Axis
    share: float
    """fANOVA: share of the variance of the losses' ranks that it explains by itself, 0 to 1."""
    low: float
    high: float
    """Of the share, the ends of its 90 % interval."""
    ped: float
    """PED-ANOVA: how far the best quarter lies from all trials along it, 0 to 1 at the farthest."""
    ped_low: float
    ped_high: float
    """Of that, the ends of its 90 % bootstrap interval."""
    chance: float
    """What no axis' share exceeds by chance, in 95 % of studies: the same for all axes."""

    @property
    def seen(self) -> bool:
        """Whether it explains more than chance does."""
        return self.share > self.chance


def measure(
    space: Space,
    points: Sequence[Mapping[str, Any]],
    losses: Sequence[float],
    *,
    seed: int = 0,
) -> list[Importance]:
    """Importance of each axis, the most important first.

    Arguments:
        space: of the first stage; its box is what main effects are about.
        points: search coordinates of finished trials.
        losses: one for each, lower is better, infinite where training diverged.
        seed: of forests, shuffles and resamples.

    Raises:
        TooFewTrials: fewer than five trials, or all of them diverged, or all equal.
    """
    units, scores = prepared(space, points, losses)
    chance = Chance(space, units, scores, seed, Forest.main_effects)
    effects, share, wall = chance.beyond(Forest(space, units, scores, seed))
    seen = share > wall
    error = np.hypot(_errors(effects, scores, share), chance.spread * unexplained(share, seen))
    low, high = share - SPREAD * error, share + SPREAD * error
    high[~seen] = np.maximum(high[~seen], wall)  # trees learn little of what chance can hide
    fanova = np.clip([share, low, high], 0.0, 1.0)
    apart = ped.shares(space, units, scores, np.random.default_rng(seed))
    rows = np.vstack([fanova, apart, np.full(len(share), wall)])  # (fields, axes)
    measured = [Importance(axis, *rows[:, j].tolist()) for j, axis in enumerate(space)]
    return sorted(measured, key=lambda one: -one.share)


def prepared(
    space: Space, points: Sequence[Mapping[str, Any]], losses: Sequence[float]
) -> tuple[Array, Array]:
    """Unit coordinates, shape (n, axes), and normal scores of the losses' ranks, shape (n,).

    Raises:
        TooFewTrials: fewer than five trials, or all of them diverged, or all equal.
    """
    loss = worst_if_diverged(losses)
    if len(loss) < TOP:
        raise TooFewTrials(f"finished trials: {len(loss)}; importance takes at least {TOP}")
    if len(np.unique(loss)) < 2:
        raise TooFewTrials(f"all {len(loss)} trials have the same loss; nothing can be told")
    units = space.to_unit({name: [p[name] for p in points] for name in space.names})
    return units, normal_scores(loss)


def _errors(effects: Array, scores: Array, share: Array) -> Array:
    """Standard error of each share over the draw of trials, to first order, shape (axes,).

    By the influence function of explained variance over variance: Williamson, Gilbert, Carone &
    Simon, "Nonparametric variable importance assessment using machine learning techniques"
    (Biometrics 2021). Where there is no effect it vanishes, and `Chance` has the spread.
    """
    centred = (scores - scores.mean())[:, None]
    influence = (2 * centred - effects) * effects - share * centred**2
    return influence.std(axis=0) / centred.var() / np.sqrt(len(scores))


def sentences(measured: Sequence[Importance], trials: int) -> list[str]:
    """What was seen beyond chance, where that contradicts the lecture's tiers, and what would tell.

    Arguments:
        measured: most important first.
        trials: that it was measured from.
    """
    nothing = f"no effect beyond chance was seen with {trials} trials"
    seen = [one for one in measured if one.seen]
    if not seen:
        return [f"{nothing[0].upper()}{nothing[1:]}, of any axis by itself."]
    lines = []
    tiered = [(one.axis.tier, one) for one in measured if one.axis.tier is not None]
    for (tier, more), (lower, less) in combinations(tiered, 2):  # as measured
        if tier > lower and more.seen and more.low > less.high:
            lines.append(
                f"{more.axis.key} (tier {tier}) matters more here than {less.axis.key} "
                f"(tier {lower}): {more.share:.0%} against {less.share:.0%}."
            )
    for tier, one in tiered:
        if tier <= 2 and one.high < MATTERS:
            lines.append(
                f"{one.axis.key} is of tier {tier}, but explains less than {MATTERS:.0%} here."
            )
    if tiered and not lines:
        lines.append("Nothing measured contradicts the tiers.")
    if hidden := [one.axis.key for one in measured if not one.seen]:
        lines.append(f"{', '.join(hidden)}: {nothing}.")
    if len(seen) > 1 and (needed := trials_to_rank(seen, trials)) is not None:
        first, second = seen[0].axis.key, seen[1].axis.key
        wanted = f"about {needed - trials} more trials would tell them apart"
        if needed > AFFORDABLE * trials:
            wanted = "no affordable number of trials would tell them apart"
        lines.append(f"{first} and {second} cannot be ranked yet: {wanted}.")
    return lines


def trials_to_rank(measured: Sequence[Importance], trials: int) -> float | None:
    """Trials that would part the intervals of the two most important axes; None if they are apart,
    infinite if no number would.

    Intervals narrow with the square root of the number of trials.
    """
    first, second = measured[0], measured[1]
    if first.low > second.high:
        return None
    gap = first.share - second.share
    reach = (first.share - first.low) + (second.high - second.share)
    return math.ceil(trials * (reach / gap) ** 2) if gap > 0 else math.inf
