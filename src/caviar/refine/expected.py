"""The best of n random trials that one may expect, from N that were run: would more of them help?

    >>> curve = expected_best([0.3, 0.1, 0.2])
    >>> curve.unbiased.round(3).tolist()  # of one, two and three trials without replacement
    [0.2, 0.133, 0.1]
    >>> curve.biased.round(3).tolist()  # the same three with replacement: not even the best
    [0.2, 0.156, 0.133]

Biased: Dodge et al., "Show Your Work" (EMNLP 2019), draws with replacement, and so repeats trials:
of N draws it misses the best third of the time and is pessimistic. Unbiased: Tang et al., "Showing
Your Work Doesn't Always Work" (ACL 2020). Both hold within one stage only, whose trials are
independent draws from one space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BAND = (0.1, 0.9)  # quantiles of the best of n
MOST = 200  # points of a curve, at most: behind it is a matrix of n by N, 8 MB for 5000 trials


@dataclass(frozen=True)
class ExpectedBest:
    """For each of n trials, shapes as `n`; lower is better."""

    n: NDArray[np.int64]
    """1 … N, or 200 of them."""
    unbiased: Array
    biased: Array
    low: Array
    high: Array
    """Quantiles of the best of n drawn without replacement: four of five such searches end here."""


def expected_best(losses: Sequence[float]) -> ExpectedBest:
    """The curve of one stage.

    Arguments:
        losses: of its finished trials, lower is better. An infinite one (diverged) counts as the
            worst finite one: an expectation takes finite numbers.

    Raises:
        ValueError: no finite loss.
    """
    loss = np.asarray(losses, dtype=np.float64)
    finite = loss[np.isfinite(loss)]
    if not len(finite):
        raise ValueError("no trial has a finite loss")
    values = np.sort(np.where(np.isfinite(loss), loss, finite.max()))  # best first
    count = len(values)
    numbers = np.unique(np.geomspace(1, count, MOST).round().astype(np.int64))
    numbers = np.arange(1, count + 1) if count <= MOST else numbers
    n = numbers[:, None]
    rank = np.arange(1, count + 1)[None, :]
    # All of n are among the last count - rank + 1: the best is no better than values[rank - 1].
    beyond = _without(count, n, np.arange(count + 1)[None, :])  # (n, count + 1), 1 … 0
    unbiased = beyond[:, :-1] - beyond[:, 1:]
    biased = (1 - (rank - 1) / count) ** n - (1 - rank / count) ** n
    below = 1 - beyond[:, 1:]  # that the best is values[i] or better
    # The last of `below` is 1 but for rounding, and argmax of no True would be the best loss.
    low, high = (values[np.argmax(below >= q - 1e-12, axis=1)] for q in BAND)
    return ExpectedBest(numbers, unbiased @ values, biased @ values, low, high)


def best_of_weights(count: int, n: int) -> Array:
    """Chance of each of `count` losses, the best first, to be the best of `n` drawn without
    replacement, shape (count,)."""
    beyond = _without(count, np.array([[n]]), np.arange(count + 1)[None, :])[0]
    return beyond[:-1] - beyond[1:]


def _without(count: int, n: NDArray[np.int64], left_out: NDArray[np.int64]) -> Array:
    """Chance that n of `count`, drawn without replacement, miss the first `left_out` of them."""
    from scipy.special import gammaln

    rest = count - left_out
    possible = rest >= n
    # Binomials of thousands overflow; their logarithms do not.
    some = np.where(possible, rest, n)
    logs = gammaln(some + 1) - gammaln(some - n + 1) - gammaln(count + 1) + gammaln(count - n + 1)
    return np.where(possible, np.exp(logs), 0.0)
