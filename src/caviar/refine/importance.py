"""Which hyperparameters matter: fANOVA and PED-ANOVA on unit coordinates, with intervals.

    axes = measure(space, points, losses)     # the most important first
    sentences(axes, trials=len(losses))       # where that contradicts the lecture's tiers

On the values themselves a log axis would be weighed by its raw width, 90 % of it on the top
decade; on unit coordinates each axis has the weight that its scale gives it. The losses come as
the normal scores of their ranks, because they span decades and end in infinity.

fANOVA tells how much of the variance an axis explains by itself (`fanova`). PED-ANOVA tells along
which axes the best trials lie elsewhere than the others do: Watanabe, Bansal & Hutter, "PED-ANOVA:
Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces" (IJCAI 2023), the Pearson
divergence of the best trials' density from that of all, axis by axis. Densities are sums of
Gaussians on a grid with Scott's bandwidth, and a uniform one that weighs as much as one trial.

Optuna has evaluators of both, and tests hold ours against them. But they read trials from a study,
so one has to be built of every resample, and they take their time besides. CPU seconds of six axes
with 30 resamples, ours / Optuna's, and what of the latter goes into the studies, as
`python benchmarks/importance.py` prints them (2 cores, Python 3.11, optuna 5.0.0):

    trials               54          300         1000
    fANOVA      0.55 / 1.93  0.69 / 4.26  1.04 / 7.35
    PED-ANOVA   0.03 / 0.32  0.03 / 1.17  0.04 / 3.45
    studies            0.14         0.75          2.7
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caviar.refine.fanova import Forest
from caviar.refine.ranges import MATTERS, TooFewTrials
from caviar.refine.surrogate import TOP, normal_scores, worst_if_diverged
from caviar.space import Axis, Choice, Space

Array = NDArray[np.float64]

RESAMPLES = 30  # one or two beyond each end of the interval; what takes the time is their forests
INTERVAL = (0.05, 0.95)  # quantiles of the bootstrap
BEST = 0.25  # the share of trials whose places are compared with those of all: 13 of 54
STEPS = 50  # of the grid of densities, and the next one: both as Optuna has them
NARROWEST = 0.5 / 1.64  # of a Gaussian, in steps: nine tenths of it within one
MOST = 100_000  # trials; a larger answer to how many would tell means never


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
        if len(np.unique(scores[chosen])) > 1:  # not only one trial, or only diverged ones
            drawn.append(_both(space, units[chosen], scores[chosen], seed + 1 + number))
    low, high = np.quantile([whole, *drawn], INTERVAL, axis=0)
    # A resample repeats trials and so has fewer, which biases its shares: their quantiles need not
    # hold the share of all trials.
    low, high = np.minimum(low, whole), np.maximum(high, whole)
    rows = np.array([whole, low, high])  # (3, measures, axes)
    measured = [
        Importance(axis, *rows[:, 0, j].tolist(), *rows[:, 1, j].tolist())
        for j, axis in enumerate(space)
    ]
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


def _both(space: Space, units: Array, scores: Array, seed: int) -> Array:
    """fANOVA's share and PED-ANOVA's of each axis, shape (2, axes)."""
    return np.array([Forest(space, units, scores, seed).shares(), ped_shares(space, units, scores)])


def ped_shares(space: Space, units: Array, scores: Array) -> Array:
    """Each axis' share of the divergences, shape (axes,); all 0 if there are none.

    Arguments:
        space: of the first stage.
        units: the trials, shape (n, axes).
        scores: shape (n,), lower is better.
    """
    best = scores <= np.quantile(scores, BEST, method="inverted_cdf")
    apart = np.array([_divergence(axis, units[:, j], best) for j, axis in enumerate(space)])
    return apart / apart.sum() if apart.sum() > 0 else apart


def _divergence(axis: Axis, units: Array, best: NDArray[np.bool_]) -> float:
    """Pearson's divergence along one axis, of the density of the best trials from that of all."""
    if isinstance(axis.scale, Choice):
        count = len(axis.scale.values)
        places = np.clip((units * count).astype(int), 0, count - 1)
        density = _frequencies
    else:
        low, high = min(0.0, units.min()), max(1.0, units.max())  # where a stage has grown
        count = STEPS
        places = np.rint((units - low) / (high - low) * (STEPS - 1)).astype(int)
        density = _smooth
    everywhere = density(np.bincount(places, minlength=count))
    among_best = density(np.bincount(places[best], minlength=count))
    return float(everywhere @ (among_best / everywhere - 1) ** 2)


def _frequencies(counts: NDArray[np.int64]) -> Array:
    """How often each value of a choice was drawn, with one trial more that is spread over all."""
    return (counts + 1 / len(counts)) / (counts.sum() + 1)


def _smooth(counts: NDArray[np.int64]) -> Array:
    """Density on the grid, from the number of trials at each of its steps."""
    steps, n = np.arange(len(counts)), counts.sum()
    places = np.repeat(steps, counts)
    lower, upper = np.quantile(places, [0.25, 0.75])
    spread = min((upper - lower) / 1.34, places.std(ddof=1 if n > 1 else 0))
    width = max(1.059 * spread * n**-0.2, NARROWEST)
    bells = np.exp(-0.5 * ((steps[:, None] - steps[None, :]) / width) ** 2)
    bells /= bells.sum(axis=0)  # nothing leaves the grid
    return (bells @ counts + 1 / len(counts)) / (n + 1)


def sentences(measured: Sequence[Importance], trials: int) -> list[str]:
    """Where the lecture's tiers and the measurement disagree, and what would tell where it is open.

    Arguments:
        measured: most important first.
        trials: that it was measured from.
    """
    lines = []
    tiered = [(one.axis.tier, one) for one in measured if one.axis.tier is not None]
    for (tier, more), (lower, less) in combinations(tiered, 2):  # as measured
        if tier > lower and more.low > less.high:
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
    if len(measured) > 1 and (needed := trials_to_rank(measured, trials)) is not None:
        first, second = measured[0].axis.key, measured[1].axis.key
        wanted = f"about {needed - trials} more trials would tell them apart"
        if needed >= MOST:
            wanted = f"they matter alike, as far as {trials} trials can tell"
        lines.append(f"{first} and {second} cannot be ranked yet: {wanted}.")
    return lines


def trials_to_rank(measured: Sequence[Importance], trials: int) -> int | None:
    """Trials that would part the intervals of the two most important axes; None if they are apart.

    Intervals narrow with the square root of the number of trials.
    """
    first, second = measured[0], measured[1]
    if first.low > second.high:
        return None
    gap = first.share - second.share
    reach = (first.share - first.low) + (second.high - second.share)
    return MOST if gap <= 0 else min(MOST, math.ceil(trials * (reach / gap) ** 2))
