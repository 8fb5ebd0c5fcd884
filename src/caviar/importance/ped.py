"""PED-ANOVA on unit coordinates: along which axes do the best trials lie elsewhere than the others?

Watanabe, Bansal & Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
Arbitrary Subspaces" (IJCAI 2023): the Pearson divergence of the best trials' density from that of
all, axis by axis. Densities are sums of Gaussians on a grid with Scott's bandwidth, and a uniform
one that weighs as much as one trial. A test holds it against Optuna's evaluator, which is too slow
for a bootstrap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caviar.space import Axis, Choice, Space

Array = NDArray[np.float64]

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
