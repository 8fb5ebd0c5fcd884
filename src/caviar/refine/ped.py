"""PED-ANOVA: along which axes the best trials lie elsewhere than the others do, beyond chance.

    shares(space, units, scores, rng)       # 0 to 1 at the farthest, and the ends of an interval
    divergences(space, units, scores)       # as published, chance included

Watanabe, Bansal & Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
Arbitrary Subspaces" (IJCAI 2023), the Pearson divergence of the best trials' density from that of
all, axis by axis. Densities are sums of Gaussians on a grid with Scott's bandwidth, and a uniform
one that weighs as much as one trial. What shuffled scores give is taken off, and the rest is told
as a share of the farthest that the best can lie; as shares of one another, six axes without effect
would have a sixth each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from caviar.space import Axis, Choice, Space

Array = NDArray[np.float64]

RESAMPLES = 30  # of the bootstrap: one or two beyond each end of the interval
INTERVAL = (0.05, 0.95)  # its ends as quantiles
BEST = 0.25  # the share of trials whose places are compared with those of all: 13 of 54
STEPS = 50  # of the grid of densities, and the next one: both as Optuna has them
NARROWEST = 0.5 / 1.64  # of a Gaussian, in steps: nine tenths of it within one
TINY = 1e-12  # of the way to the farthest, where there is none


def shares(space: Space, units: Array, scores: Array, rng: np.random.Generator) -> Array:
    """PED-ANOVA of each axis beyond chance, and the ends of its interval, shape (3, axes).

    Arguments:
        space: of the first stage.
        units: the trials, shape (n, axes).
        scores: shape (n,), lower is better.
        rng: of shuffles and resamples.
    """
    n, everyone = len(scores), np.arange(len(scores))
    shuffled = [rng.permutation(scores) for _ in range(RESAMPLES)]
    resampled = [rng.integers(n, size=n) for _ in range(RESAMPLES)]

    def chance(chosen: Sequence[NDArray[np.int64]]) -> Array:
        pairs = zip(chosen, shuffled, strict=True)
        return np.mean([divergences(space, units[c], mixed[c]) for c, mixed in pairs], axis=0)

    def beyond(chosen: NDArray[np.int64], chance: Array) -> Array:
        best = _best(scores[chosen]).mean()
        farthest = 1 / best - 1  # where the best have a part of the axis to themselves
        found = divergences(space, units[chosen], scores[chosen])
        return (found - chance) / np.maximum(farthest - chance, TINY)

    whole = beyond(everyone, chance([everyone] * RESAMPLES))
    # A resample repeats trials, which looks like more agreement among the best than there is: so
    # chance is taken off that shuffled scores have in such resamples.
    among_repeats = chance(resampled)
    drawn = [beyond(chosen, among_repeats) for chosen in resampled]
    low, high = np.quantile([whole, *drawn], INTERVAL, axis=0)
    # It has fewer trials, too, and so its quantiles need not hold the share of all trials.
    return np.clip([whole, np.minimum(low, whole), np.maximum(high, whole)], 0.0, 1.0)


def _best(scores: Array) -> NDArray[np.bool_]:
    """Which trials are of the best quarter, ties included."""
    return scores <= np.quantile(scores, BEST, method="inverted_cdf")


def divergences(space: Space, units: Array, scores: Array) -> Array:
    """Pearson's divergence of the best trials' density from that of all, shape (axes,).

    Arguments:
        space: of the first stage.
        units: the trials, shape (n, axes).
        scores: shape (n,), lower is better.
    """
    best = _best(scores)
    return np.array([_divergence(axis, units[:, j], best) for j, axis in enumerate(space)])


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
    spread = places.std(ddof=1 if n > 1 else 0)
    if upper > lower:  # or most are of one value, as of a whole number with few
        spread = min((upper - lower) / 1.34, spread)
    width = max(1.059 * spread * n**-0.2, NARROWEST)
    bells = np.exp(-0.5 * ((steps[:, None] - steps[None, :]) / width) ** 2)
    bells /= bells.sum(axis=0)  # nothing leaves the grid
    return (bells @ counts + 1 / len(counts)) / (n + 1)
