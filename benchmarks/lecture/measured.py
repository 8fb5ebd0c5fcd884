"""Importance on one task, with what chance alone gives: for the section on importance.

python benchmarks/lecture/main.py --only importance
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caviar.refine.fanova import Forest
from caviar.refine.importance import Importance, measure, prepared
from caviar.space import Space
from lecture import stats
from lecture.lab import Lab
from lecture.stages import Stage
from lecture.stats import Array, Estimate

RESAMPLES = 80
SHUFFLES = 16
Shares = dict[str, float]  # by config key


def shares(work: tuple[Space, Sequence[Any], Array, int]) -> Shares:
    """fANOVA shares of all axes as published, of the forest's variance."""
    space, points, losses, seed = work
    found = Forest(space, *prepared(space, points, losses.tolist()), seed).shares()
    return {axis.key: float(share) for axis, share in zip(space, found, strict=True)}


class Measured:
    """Importance on one task: what the project prints, and fANOVA as published, chance taken off.

    The published one has differences between axes with intervals, by a bootstrap. Its forest finds
    something in an axis without effect, too, and more in a bootstrap sample, where trials occur
    twice. So the chance of each axis is measured, with its own values shuffled among the trials
    and all else as it is, and taken off: `beyond`.
    """

    def __init__(self, lab: Lab, task: str, stage: Stage) -> None:
        self.task, self.stage = task, stage
        points, losses = stage.points, np.array(stage.losses)
        n, rng = len(losses), lab.rng("importance", task)
        self.found: list[Importance] = measure(stage.space, points, losses.tolist(), seed=lab.seed)
        self.share = shares((stage.space, points, losses, lab.seed))
        works = []
        for _ in range(lab.repeat(RESAMPLES, 20)):
            chosen = rng.integers(n, size=n)
            works.append((None, [points[i] for i in chosen], losses[chosen]))
        for axis in stage.space:
            for number in range(lab.repeat(SHUFFLES, 4)):
                mixed = rng.permutation(n)
                changed = [
                    p | {axis.name: points[i][axis.name]}
                    for p, i in zip(points, mixed, strict=True)
                ]
                works.append((("all", axis.key), changed, losses))
                if number % 2 == 0:
                    chosen = rng.integers(n, size=n)
                    again = [changed[i] for i in chosen]
                    works.append((("resampled", axis.key), again, losses[chosen]))
        jobs = [(stage.space, p, x, lab.seed + i) for i, (_, p, x) in enumerate(works)]
        drawn = lab.map(shares, jobs, f"importance, {task}")
        both = list(zip((kind for kind, _, _ in works), drawn, strict=True))
        self.real = {k: np.array([d[k] for kind, d in both if kind is None]) for k in self.share}
        self.chance, self.null = (
            {k: np.array([d[k] for kind, d in both if kind == (which, k)]) for k in self.share}
            for which in ("all", "resampled")
        )

    def tier(self, number: int) -> list[str]:
        return [one.axis.key for one in self.found if one.axis.tier == number]

    def whole(self, key: str) -> float:
        """Share beyond chance."""
        return self.share[key] - float(self.chance[key].mean())

    def drawn(self, key: str) -> Array:
        """Resamples of it."""
        return self.real[key] - self.null[key].mean()

    def beyond(self, key: str) -> Estimate:
        return stats.of_resamples(self.whole(key), self.drawn(key))
