"""A smooth model of all trials, and which settings it takes for more than lucky.

    model = Surrogate(space, units, losses)
    model.mean(cloud)                            # what to expect at other settings
    candidates(space, points, losses, count=3)   # which trials to confirm with fresh seeds

It is a Gaussian process on the ranks of the losses. Ranks, because losses of real training span
decades and end in infinity where a run diverged; unit coordinates, because there each axis is as
straight as its scale makes it. An axis that does not matter gets a long length scale and is
averaged over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caviar.refine.gaussian import fitted, one_thread
from caviar.space import Choice, Space

Array = NDArray[np.float64]

# Best trials that are looked at one by one, and the fewest to learn from. In simulation, three
# rounds of 20 trials on noisy 6-D surfaces: a regret of 0.0237 by five, 0.0281 by the best alone.
TOP = 5


def worst_if_diverged(losses: Sequence[float]) -> Array:
    """The losses, with NaN and either infinity as +inf: diverged trials tie as the worst."""
    loss = np.asarray(losses, dtype=np.float64)
    return np.where(np.isfinite(loss), loss, np.inf)


def normal_scores(losses: Array) -> Array:
    """Losses as the normal quantiles of their ranks: mean 0, spread 1, ties alike, lower better.

    >>> normal_scores(np.array([0.1, 3.0, 0.2, np.inf, np.inf])).round(2).tolist()
    [-1.28, 0.0, -0.52, 0.84, 0.84]
    """
    from scipy.special import ndtri

    _, place, ties = np.unique(losses, return_inverse=True, return_counts=True)
    middle = np.cumsum(ties) - ties / 2  # trials below, and half of those alike
    return ndtri(middle[place] / len(losses))


def features(space: Space, units: Array) -> Array:
    """Model inputs from unit coordinates: a column for each axis, one per value of an unordered
    choice."""
    columns = []
    for j, axis in enumerate(space):
        if isinstance(axis.scale, Choice) and not axis.scale.ordered:
            n = len(axis.scale.values)
            columns += list(np.equal.outer(np.arange(n), np.floor(units[:, j] * n)).astype(float))
        else:
            columns.append(units[:, j])
    return np.column_stack(columns)


class Surrogate:
    """Gaussian process with a Matérn 5/2 kernel, one length scale an axis (`gaussian`).

    Arguments:
        space: gives the unit coordinates; the coarse stage's space, whatever came later.
        units: the trials, shape (n, axes).
        losses: shape (n,), lower is better, infinite where training diverged.
    """

    def __init__(self, space: Space, units: Array, losses: Array) -> None:
        self.space = space
        with one_thread():
            self.process = fitted(features(space, units), normal_scores(losses))

    def mean(self, units: Array) -> Array:
        """Expected normal score at `units`, shape (n, axes) → (n,). Lower is better."""
        with one_thread():
            return self.process.mean(features(self.space, units))

    def left_out_mean(self) -> Array:
        """Expected normal score at each trial by a model that has not seen it, shape (n,)."""
        with one_thread():
            return self.process.left_out_mean()

    def total_effects(self, cloud: Array, rng: np.random.Generator) -> Array:
        """Share of the variance of ranks within `cloud` that each axis takes part in, (axes,).

        The total Sobol index by Jansen's estimator (Saltelli 2010), of the model's mean; but
        relative to all variance there, noise included, so that pure noise has no effects.
        """
        mean = self.mean(cloud)
        noise = self.process.kernel.noise
        effects = np.empty(cloud.shape[1])
        for j in range(cloud.shape[1]):
            moved = cloud.copy()
            moved[:, j] = rng.permutation(moved[:, j])
            effects[j] = np.mean((mean - self.mean(moved)) ** 2) / 2
        return np.minimum(effects / (mean.var() + noise), 1.0)  # an estimate may exceed all


def candidates(
    coarse: Space,
    points: Sequence[Mapping[str, Any]],
    losses: Sequence[float],
    count: int,
    method: str = "surrogate",
) -> list[int]:
    """Positions of the settings worth confirming with fresh seeds, most promising first.

    The best trial always is: it may be as good as it looks. With `surrogate` the others are those
    with the smallest sum of two ranks, in loss and in what the other trials let expect there,
    because a low loss may be luck, and luck is not smooth; with `top_k` the next best. A setting
    that was drawn several times is confirmed once.
    """
    loss = worst_if_diverged(losses)
    rank = np.argsort(np.argsort(loss, kind="stable"), kind="stable")
    score = rank.astype(np.float64)
    if method == "surrogate" and len(loss) >= TOP:
        units = coarse.to_unit({name: [p[name] for p in points] for name in coarse.names})
        expected = Surrogate(coarse, units, loss).left_out_mean()
        score += np.argsort(np.argsort(expected, kind="stable"), kind="stable")
        score[rank == 0] = -1
    chosen: list[int] = []
    for i in np.lexsort([loss, score]).tolist():
        if np.isfinite(loss[i]) and points[i] not in [points[k] for k in chosen]:
            chosen.append(i)
        if len(chosen) == count:
            break
    return chosen
