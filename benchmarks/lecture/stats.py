"""Estimates with intervals. Every interval is a 95 % bootstrap over what was repeated.

difference(scores_of_one, scores_of_other, rng)   # paired: Estimate(-0.012, -0.02, -0.004)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caviar.refine.expected import best_of_weights

Array = NDArray[np.float64]
RESAMPLES = 1000
INTERVAL = (0.025, 0.975)


@dataclass(frozen=True)
class Estimate:
    """A number and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, form: str = ".3g") -> str:
        """`0.142 [0.138, 0.147]`, or in percent with a form such as `.0%`."""
        if self.low == self.value == self.high:
            return format(self.value, form)
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"


def exactly(value: float) -> Estimate:
    """A number that is counted, not estimated."""
    return Estimate(value, value, value)


def of_resamples(value: float, drawn: ArrayLike) -> Estimate:
    """An estimate from a statistic and its bootstrap resamples (percentile interval, which a
    biased statistic may leave: then the interval ends at it)."""
    low, high = np.quantile(np.asarray(drawn), INTERVAL)
    return Estimate(float(value), float(min(low, value)), float(max(high, value)))


def mean(values: ArrayLike, rng: np.random.Generator) -> Estimate:
    """Mean over independent repetitions."""
    x = np.asarray(values, dtype=np.float64)
    drawn = x[rng.integers(len(x), size=(RESAMPLES, len(x)))]
    return of_resamples(x.mean(), drawn.mean(axis=1))


def difference(one: ArrayLike, other: ArrayLike, rng: np.random.Generator) -> Estimate:
    """Mean of paired differences one - other over independent repetitions."""
    return mean(np.asarray(one) - np.asarray(other), rng)


def share(hits: int, of: int) -> Estimate:
    """A proportion, with Wilson's score interval."""
    z, p = 1.959964, hits / of
    middle = (p + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z / (1 + z**2 / of) * (p * (1 - p) / of + z**2 / (4 * of**2)) ** 0.5
    return Estimate(p, middle - half, middle + half)


def expected_best(losses: ArrayLike, n: int) -> float:
    """Expected smallest of n of these losses."""
    x = np.sort(np.asarray(losses, dtype=np.float64))
    return float(best_of_weights(len(x), n) @ x)


def best_of(
    losses: ArrayLike, numbers: Sequence[int], rng: np.random.Generator
) -> tuple[Array, Array]:
    """Expected best of n trials for each n, shape (numbers,), and its resamples over the pool of
    trials, shape (RESAMPLES, numbers)."""
    x = np.asarray(losses, dtype=np.float64)
    weights = np.stack([best_of_weights(len(x), n) for n in numbers], axis=1)  # (size, numbers)
    drawn = np.sort(x[rng.integers(len(x), size=(RESAMPLES, len(x)))], axis=1)
    return np.sort(x) @ weights, drawn @ weights


def resampled(
    statistic: Callable[..., float], *samples: ArrayLike, rng: np.random.Generator, times: int
) -> Estimate:
    """A statistic of independent samples, each resampled by itself."""
    arrays = [np.asarray(s) for s in samples]
    drawn = [
        statistic(*(a[rng.integers(len(a), size=len(a))] for a in arrays)) for _ in range(times)
    ]
    return of_resamples(statistic(*arrays), drawn)
