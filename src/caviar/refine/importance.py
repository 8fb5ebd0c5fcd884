"""fANOVA and PED-ANOVA on unit coordinates, with bootstrap intervals.

On the values themselves a log axis would be weighed by its raw width, 90 % of it on the top
decade; on unit coordinates each axis has the weight that its scale gives it. The losses come as
the normal scores of their ranks, because they span decades and end in infinity.
"""

# MERGED importance.ped """PED-ANOVA on unit coordinates: along which axes do the best trials lie elsewhere than the others?
#
# Watanabe, Bansal & Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
# Arbitrary Subspaces" (IJCAI 2023): the Pearson divergence of the best trials' density from that of
# all, axis by axis. Densities are sums of Gaussians on a grid with Scott's bandwidth, and a uniform
# one that weighs as much as one trial. A test holds it against Optuna's evaluator, which is too slow
# for a bootstrap.
# """
#
# MERGED importance.verdict """What a measurement of importance says of the lecture's tiers, in plain sentences."""
#

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caviar.refine.fanova import Forest
from caviar.refine.ranges import TooFewTrials
from caviar.refine.surrogate import TOP, normal_scores, worst_if_diverged
from caviar.space import Axis, Choice, Space

Array = NDArray[np.float64]

RESAMPLES = 30
INTERVAL = (0.05, 0.95)  # quantiles of the bootstrap


@dataclass(frozen=True)
class Importance:
    """How much one axis matters."""

    axis: Axis
    share: float
    """fANOVA: share of the variance of the losses' ranks that it explains by itself, 0 to 1."""
    low: float
    high: float
    """Of the share, the ends of its 90 % bootstrap interval."""
    ped: float
    """PED-ANOVA: how far the best quarter lies from all trials along it, shares of 1."""
    ped_low: float
    ped_high: float
    """Of that, the ends of its interval."""


def measure(
    space: Space,
    points: Sequence[Mapping[str, Any]],
    losses: Sequence[float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Importance]:
    """Importance of each axis, the most important first.

    Arguments:
        space: of the first stage; its box is what shares are about.
        points: search coordinates of finished trials.
        losses: one for each, lower is better, infinite where training diverged.
        resamples: of the bootstrap over trials.
        seed: of forests and resamples.

    Raises:
        TooFewTrials: fewer than five trials, or all of them diverged, or all equal.
    """
    units, scores = prepared(space, points, losses)
    rng = np.random.default_rng(seed)
    whole = _both(space, units, scores, seed)
    drawn = []
    for number in range(resamples):
        chosen = rng.integers(len(scores), size=len(scores))
        if len(np.unique(scores[chosen])) > 1:
            drawn.append(_both(space, units[chosen], scores[chosen], seed + 1 + number))
    low, high = np.quantile([whole, *drawn], INTERVAL, axis=0)
    low, high = np.minimum(low, whole), np.maximum(high, whole)
    found = []
    for j, axis in enumerate(space):
        (share, ped), (lower, ped_lower), (upper, ped_upper) = whole[:, j], low[:, j], high[:, j]
        ends = (share, lower, upper, ped, ped_lower, ped_upper)
        found.append(Importance(axis, *map(float, ends)))
    return sorted(found, key=lambda i: -i.share)


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


def _both(space: Space, units: Array, scores: Array, seed: int) -> Array:
    """fANOVA's share and PED-ANOVA's of each axis, shape (2, axes)."""
    return np.array([Forest(space, units, scores, seed).shares(), ped_shares(space, units, scores)])


BEST = 0.25  # the share of trials whose places are compared with those of all
STEPS = 50  # of the grid
NARROWEST = 0.5 / 1.64  # of a Gaussian, in steps: nine tenths of it within one


def ped_shares(space: Space, units: Array, scores: Array) -> Array:
    """Each axis' share of the divergences, shape (axes,); all 0 if there are none.

    Arguments:
        space: of the first stage.
        units: the trials, shape (n, axes).
        scores: shape (n,), lower is better.
    """
    best = scores <= np.quantile(scores, BEST, method="inverted_cdf")
    found = np.array([_divergence(axis, units[:, j], best) for j, axis in enumerate(space)])
    return found / found.sum() if found.sum() > 0 else found


def _divergence(axis: Axis, units: Array, best: NDArray[np.bool_]) -> float:
    if isinstance(axis.scale, Choice):
        count = len(axis.scale.values)
        places = np.clip((units * count).astype(int), 0, count - 1)
        density = _shares
    else:
        low, high = min(0.0, units.min()), max(1.0, units.max())
        count = STEPS
        places = np.rint((units - low) / (high - low) * (STEPS - 1)).astype(int)
        density = _smooth
    everywhere = density(np.bincount(places, minlength=count))
    among_best = density(np.bincount(places[best], minlength=count))
    return float(everywhere @ (among_best / everywhere - 1) ** 2)


def _shares(counts: NDArray[np.int64]) -> Array:
    """Of each value, one trial spread over all of them added."""
    return (counts + 1 / len(counts)) / (counts.sum() + 1)


def _smooth(counts: NDArray[np.int64]) -> Array:
    """Density on the grid."""
    steps, n = np.arange(len(counts)), counts.sum()
    places = np.repeat(steps, counts)
    lower, upper = np.quantile(places, [0.25, 0.75])
    spread = min((upper - lower) / 1.34, places.std(ddof=1 if n > 1 else 0))
    width = max(1.059 * spread * n**-0.2, NARROWEST)
    bells = np.exp(-0.5 * ((steps[:, None] - steps[None, :]) / width) ** 2)
    bells /= bells.sum(axis=0)  # nothing leaves the grid
    return (bells @ counts + 1 / len(counts)) / (n + 1)


MATTERS = 0.05  # a share below this is none to speak of
MOST = 100_000  # trials; a larger answer means never


def sentences(found: Sequence[Importance], trials: int) -> list[str]:
    """Where the tiers and the measurement disagree, and what would tell where it is open.

    Arguments:
        found: most important first.
        trials: that it was measured from.
    """
    said = [*_disagreements(found)]
    if not said and any(i.axis.tier is not None for i in found):
        said.append("Nothing measured contradicts the tiers.")
    if len(found) > 1 and (more := trials_to_rank(found, trials)) is not None:
        first, second = found[0].axis.key, found[1].axis.key
        wanted = f"about {more - trials} more trials would tell them apart"
        if more >= MOST:
            wanted = f"they matter alike, as far as {trials} trials can tell"
        said.append(f"{first} and {second} cannot be ranked yet: {wanted}.")
    return said


def trials_to_rank(found: Sequence[Importance], trials: int) -> int | None:
    """Trials that would part the intervals of the two most important axes; None if they are apart.

    Intervals narrow with the square root of the number of trials.
    """
    first, second = found[0], found[1]
    if first.low > second.high:
        return None
    gap = first.share - second.share
    reach = (first.share - first.low) + (second.high - second.share)
    return MOST if gap <= 0 else min(MOST, math.ceil(trials * (reach / gap) ** 2))


def _disagreements(found: Sequence[Importance]) -> list[str]:
    said = []
    for more, less in combinations(found, 2):  # as measured
        if more.axis.tier is None or less.axis.tier is None:
            continue
        if more.axis.tier > less.axis.tier and more.low > less.high:
            said.append(
                f"{more.axis.key} (tier {more.axis.tier}) matters more here than {less.axis.key} "
                f"(tier {less.axis.tier}): {more.share:.0%} against {less.share:.0%}."
            )
    for one in found:
        if one.axis.tier is not None and one.axis.tier <= 2 and one.high < MATTERS:
            said.append(
                f"{one.axis.key} is of tier {one.axis.tier}, but explains less than "
                f"{MATTERS:.0%} here."
            )
    return said
