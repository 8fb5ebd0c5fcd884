"""Which hyperparameters matter, and which of them beyond chance: fANOVA and PED-ANOVA.

    axes = measure(space, points, losses)     # the most important first
    sentences(axes, trials=len(losses))       # what was seen, and whether the tiers hold

On the values themselves a log axis would be weighed by its raw width, 90 % of it on the top
decade; on unit coordinates each axis has the weight that its scale gives it. The losses come as
the normal scores of their ranks, because they span decades and end in infinity.

fANOVA tells how much of the variance an axis explains by itself. Here it is asked of trials that
the trees have not seen (`fanova`): an axis' share is the covariance of its main effect there with
the scores, over the variance of the scores. So noise explains nothing on average, and how far it
goes is known from the same trials with their scores shuffled (`Chance`). Shares of the trees' own
variance, as published, are 10 % each for six axes without effect at 54 trials, and 36 % each for
two, which is little less than the 46 % of two that explain all; no test on them tells these apart.
`python benchmarks/importance_noise.py` shows both.

PED-ANOVA tells along which axes the best trials lie elsewhere than the others do: Watanabe, Bansal
& Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces"
(IJCAI 2023), the Pearson divergence of the best trials' density from that of all, axis by axis.
Densities are sums of Gaussians on a grid with Scott's bandwidth, and a uniform one that weighs as
much as one trial. What shuffled scores give is taken off, and the rest is told as a share of the
farthest that the best can lie; as shares of one another, six axes without effect would have a
sixth each.

Optuna has evaluators of both, and tests hold ours against them. But they read trials from a study,
so one has to be built for every shuffle, they take their time besides, and they say nothing of
trials left out. CPU seconds of six axes with 39 shuffles, ours / Optuna's, what of the latter goes
into the studies, and all of `measure`, as `python benchmarks/importance.py` prints them (2 cores,
Python 3.11, optuna 5.0.0):

    trials               54          300         1000
    fANOVA      0.66 / 2.11  0.86 / 4.08  1.45 / 7.32
    PED-ANOVA   0.03 / 0.39  0.03 / 1.39  0.03 / 4.30
    studies            0.18         0.87         3.05
    `measure`   0.77         1.08         1.97
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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

# Of the scores, each with a forest: that is what takes the time. With the true order they are 40,
# of which the largest two are one in twenty; one of 20 would be, too, but leave the wall to luck.
SHUFFLES = 39
RESAMPLES = 30  # of PED-ANOVA's bootstrap: one or two beyond each end of the interval
INTERVAL = (0.05, 0.95)  # its ends as quantiles
SPREAD = 1.645  # from the middle to each, in standard errors
BEST = 0.25  # the share of trials whose places are compared with those of all: 13 of 54
STEPS = 50  # of the grid of densities, and the next one: both as Optuna has them
NARROWEST = 0.5 / 1.64  # of a Gaussian, in steps: nine tenths of it within one
SURE = 0.95  # of studies without any effect that nothing is seen in
TINY = 1e-12  # a variance, where there is none
MOST = 100_000  # trials; a larger answer to how many would tell means never


@dataclass(frozen=True)
class Importance:
    """How much one axis matters."""

    axis: Axis
    share: float
    """fANOVA: share of the variance of the losses' ranks that it explains by itself, 0 to 1."""
    low: float
    high: float
    """Of the share, the ends of its 90 % interval."""
    ped: float
    """PED-ANOVA: how far the best quarter lies from all trials along it, 0 to 1 at the farthest."""
    ped_low: float
    ped_high: float
    """Of that, the ends of its 90 % bootstrap interval."""
    chance: float
    """What no axis' share exceeds by chance, in 95 % of studies: the same for all axes."""

    @property
    def seen(self) -> bool:
        """Whether it explains more than chance does."""
        return self.share > self.chance


def measure(
    space: Space,
    points: Sequence[Mapping[str, Any]],
    losses: Sequence[float],
    *,
    seed: int = 0,
) -> list[Importance]:
    """Importance of each axis, the most important first.

    Arguments:
        space: of the first stage; its box is what main effects are about.
        points: search coordinates of finished trials.
        losses: one for each, lower is better, infinite where training diverged.
        seed: of forests, shuffles and resamples.

    Raises:
        TooFewTrials: fewer than five trials, or all of them diverged, or all equal.
    """
    units, scores = prepared(space, points, losses)
    chance = Chance(space, units, scores, seed, Forest.main_effects)
    effects, share, wall = chance.beyond(Forest(space, units, scores, seed))
    seen = share > wall
    error = np.hypot(_errors(effects, scores, share), chance.spread * _left(share, seen))
    low, high = share - SPREAD * error, share + SPREAD * error
    high[~seen] = np.maximum(high[~seen], wall)  # trees learn little of what chance can hide
    fanova = np.clip([share, low, high], 0.0, 1.0)
    ped = _ped(space, units, scores, np.random.default_rng(seed))
    rows = np.vstack([fanova, ped, np.full(len(share), wall)])  # (fields, axes)
    measured = [Importance(axis, *rows[:, j].tolist()) for j, axis in enumerate(space)]
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


def explained(effects: Array, scores: Array) -> Array:
    """Share of the variance of the scores that each effect explains, shape (effects,).

    An effect that the scores know nothing of has 0 on average, and so a negative one as often.

    Arguments:
        effects: at trials that were not used to learn them, shape (n, effects).
        scores: shape (n,).
    """
    centred = scores - scores.mean()
    return centred @ effects / (centred @ centred)


def _errors(effects: Array, scores: Array, share: Array) -> Array:
    """Standard error of each share over the draw of trials, to first order, shape (axes,).

    By the influence function of explained variance over variance: Williamson, Gilbert, Carone &
    Simon, "Nonparametric variable importance assessment using machine learning techniques"
    (Biometrics 2021). Where there is no effect it vanishes, and `Chance` has the spread.
    """
    centred = (scores - scores.mean())[:, None]
    influence = (2 * centred - effects) * effects - share * centred**2
    return influence.std(axis=0) / centred.var() / np.sqrt(len(scores))


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
            wall = self.wall * _left(share, seen)
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


def _left(share: Array, seen: NDArray[np.bool_]) -> float:
    """Share of the variance that is left to explain; a tenth at least, for trees miss some."""
    return max(0.1, 1.0 - float(share[seen].sum()))


def _ped(space: Space, units: Array, scores: Array, rng: np.random.Generator) -> Array:
    """PED-ANOVA of each axis beyond chance, and the ends of its interval, shape (3, axes)."""
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


def sentences(measured: Sequence[Importance], trials: int) -> list[str]:
    """What was seen beyond chance, where that contradicts the lecture's tiers, and what would tell.

    Arguments:
        measured: most important first.
        trials: that it was measured from.
    """
    nothing = f"no effect beyond chance was seen with {trials} trials"
    seen = [one for one in measured if one.seen]
    if not seen:
        return [f"{nothing[0].upper()}{nothing[1:]}, of any axis by itself."]
    lines = []
    tiered = [(one.axis.tier, one) for one in measured if one.axis.tier is not None]
    for (tier, more), (lower, less) in combinations(tiered, 2):  # as measured
        if tier > lower and more.seen and more.low > less.high:
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
    if hidden := [one.axis.key for one in measured if not one.seen]:
        lines.append(f"{', '.join(hidden)}: {nothing}.")
    if len(seen) > 1 and (needed := trials_to_rank(seen, trials)) is not None:
        first, second = seen[0].axis.key, seen[1].axis.key
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
