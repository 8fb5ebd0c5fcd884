"""What effects explain of trials held out, and what they would seem to explain by chance.

    chance = Chance(space, units, scores, seed, Forest.main_effects)
    effects, share, wall = chance.beyond(Forest(space, units, scores, seed))
    interaction(space, units, scores, 0, 1)       # of two axes together, and its wall

fANOVA tells how much of the variance an axis explains by itself. Here it is asked of trials that
the trees have not seen (`fanova`): an axis' share is the covariance of its main effect there with
the scores, over the variance of the scores. So noise explains nothing on average, and how far it
goes is known from the same trials with their scores shuffled. Shares of the trees' own variance,
as published, are 10 % each for six axes without effect at 54 trials, and 36 % each for two, which
is little less than the 46 % of two that explain all; no test on them tells these apart.
`python benchmarks/importance_noise.py` shows both.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from caviar.refine.fanova import Forest
from caviar.space import Space

Array = NDArray[np.float64]

# Of the scores, each with a forest: that is what takes the time. With the true order they are 40,
# of which the largest two are one in twenty; one of 20 would be, too, but leave the wall to luck.
SHUFFLES = 39
SURE = 0.95  # of studies without any effect that nothing is seen in
TINY = 1e-12  # a variance, where there is none


def explained(effects: Array, scores: Array) -> Array:
    """Share of the variance of the scores that each effect explains, shape (effects,).

    An effect that the scores know nothing of has 0 on average, and so a negative one as often.

    Arguments:
        effects: at trials that were not used to learn them, shape (n, effects).
        scores: shape (n,).
    """
    centred = scores - scores.mean()
    return centred @ effects / (centred @ centred)


def unexplained(share: Array, seen: NDArray[np.bool_]) -> float:
    """Share of the variance that is left to explain; a tenth at least, for trees miss some."""
    return max(0.1, 1.0 - float(share[seen].sum()))


class Chance:
    """What effects seem to explain where there are none: the same trials, their scores shuffled.

    Arguments:
        space: of the first stage.
        units: the trials, shape (n, axes).
        scores: shape (n,).
        seed: of shuffles and forests.
        effects: what is asked of a forest, shape (n, effects).
    """

    def __init__(
        self,
        space: Space,
        units: Array,
        scores: Array,
        seed: int,
        effects: Callable[[Forest], Array],
    ) -> None:
        self._scores, self._effects = scores, effects
        rng = np.random.default_rng(seed)
        shares = []
        for number in range(SHUFFLES):
            mixed = rng.permutation(scores)
            forest = Forest(space, units, mixed, seed + 1 + number)
            shares.append(explained(effects(forest), mixed))
        self.spread = np.sqrt(np.mean(np.square(shares), axis=0))
        """Of each effect's share about 0, shape (effects,)."""
        # The tail is long, so that spreads would not tell it; counted, it is exact whatever it is.
        largest = np.quantile(np.max(shares, axis=1), SURE, method="inverted_cdf")
        self.wall = max(float(largest), TINY)  # axes of one value have none
        """What the largest share exceeds in one of twenty studies."""

    def beyond(self, forest: Forest) -> tuple[Array, Array, float]:
        """Effects of a forest of the true scores, shape (n, effects), their shares, shape
        (effects,), and what one of these has to exceed.

        Trees average an effect towards 0 where they have not found it. One that exceeds chance
        comes at the scale at which it explains most: its share is the square of its correlation.
        """
        effects = self._effects(forest)
        share = explained(effects, self._scores)
        wall = self._lowered(share)
        variance = np.maximum(effects.var(axis=0) / self._scores.var(), TINY)
        scale = np.where(share > wall, np.maximum(share / variance, 1.0), 1.0)
        return effects * scale, share * scale, wall

    def _lowered(self, share: Array) -> float:
        """What a share has to exceed, beside those that do.

        The more some effects have been seen to explain, the less is left for chance to explain. So
        the wall is lowered, step by step until no more is seen: as Westfall & Young,
        "Resampling-based multiple testing" (1993), step down, but without new forests.
        """
        seen = np.zeros(len(share), bool)
        while True:
            wall = self.wall * unexplained(share, seen)
            if np.array_equal(share > wall, seen):
                return wall
            seen = share > wall


def interaction(
    space: Space, units: Array, scores: Array, one: int, other: int, seed: int = 0
) -> tuple[float, float]:
    """Share that two axes explain together beyond what each does alone, and what chance reaches.

    Arguments:
        space: of the first stage.
        units: the trials, shape (n, axes).
        scores: shape (n,).
        one: an axis, by position.
        other: another.
        seed: of forests and shuffles.
    """
    chance = Chance(space, units, scores, seed, lambda f: f.interaction(one, other)[:, None])
    _, share, wall = chance.beyond(Forest(space, units, scores, seed))
    return float(share[0]), wall
