"""fANOVA and PED-ANOVA on unit coordinates, with bootstrap intervals.

On the values themselves a log axis would be weighed by its raw width, 90 % of it on the top
decade; on unit coordinates each axis has the weight that its scale gives it. The losses come as
the normal scores of their ranks, because they span decades and end in infinity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caviar.importance.fanova import Forest
from caviar.importance.ped import ped_shares
from caviar.refine.ranges import TooFewTrials
from caviar.refine.surrogate import TOP, normal_scores, worst_if_diverged
from caviar.space import Axis, Space

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
