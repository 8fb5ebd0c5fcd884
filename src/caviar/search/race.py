"""The race of a confirmation, and the test at its end: who gets another seed, and what is shown.

    race.next_seeds([[], [], [], []], budget=11)               # [0, 1, 2, 3]: default, candidates
    race.next_seeds([[0.5], [0.4], [0.6], [0.3]], budget=11)   # [0, 1, 3]: the worst is out
    race.gain_test([0.50, 0.52, 0.47, 0.51], [0.40, 0.44, 0.39, 0.41], candidates=3).clear

Values are losses: lower is better. Seed k is the same for every setting, and gives it the same
initial weights and the same order of the data, so the default and a candidate are compared seed by
seed. Everything is a function of the values alone: a confirmation that was killed goes on the same.

With one or two seeds nobody is clearly behind, so the worse half of the candidates drops out after
each rung (sequential halving: Karnin, Koren, Somekh, 2013), and the test is made once, at the
end, of the one that is left. `python benchmarks/verdict.py` measures how often it errs, and
what it finds.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

ERROR_RATE = 0.05
"""At most so often is a setting called better than the default when none is."""
FEWEST = 4
"""Pairs of seeds, to call anything better."""
# One-sided level of the test with one candidate, and what the best of more costs: of k candidates
# the level is LEVEL / k**CHOICE, more than Bonferroni's, because most of them drop out early. Both
# are by simulation, so that ERROR_RATE holds in every case of benchmarks/verdict.py.
LEVEL, CHOICE = 0.028, 0.75
OWN = 0.5  # of the winner's own variance, counted on top of that of the differences
SHARE = 0.5  # of the budget, to choose the candidate that meets the default to the end
# A look before the end stops the race at a level so many times stricter (Haybittle and Peto), which
# costs next to nothing of the error rate. Looks are at 4, 8, 16, … pairs.
STRICTER = 10
# So are looks at seeds that were added because the first ones had left it open. Ten times would let
# the worst case of benchmarks/verdict.py pass ERROR_RATE.
AGAIN = 30


class Gain(NamedTuple):
    """How much better a setting is than the default."""

    gain: float
    """Mean over pairs of seeds; positive is better, infinite where only the default diverged."""
    error: float
    """Standard error that the test counts with."""
    needed: float
    """Standard errors that a gain needs; infinite with fewer pairs than `FEWEST`."""
    pairs: int

    @property
    def clear(self) -> bool:
        """Whether it is shown to be better."""
        return math.isfinite(self.gain) and self.gain > self.needed * self.error


def next_seeds(
    values: Sequence[Sequence[float]], budget: int, stricter: float = STRICTER
) -> list[int]:
    """The settings that get one more seed in the next round; none when the race is over.

    Arguments:
        values: of the seeds so far, of the default first and then of each candidate; infinite
            where training diverged or failed. A candidate with fewer than the default is out.
        budget: trainings in all, the default's included.
        stricter: how many times the level is lowered of a look that may stop the race.
    """
    default, candidates = values[0], range(1, len(values))
    spent, rounds = sum(map(len, values)), len(default)
    if rounds == 0:
        return list(range(len(values))) if len(values) <= budget else []
    # A setting that diverges sometimes is no winner, whatever its other seeds gave.
    sound = sorted((i for i in candidates if _sound(values[i])), key=lambda i: _mean(values[i]))
    alive = [i for i in sound if len(values[i]) == rounds]
    if not sound or spent >= budget:
        return []
    if not alive:  # those that were left have diverged: who dropped out last comes back
        return [max(sound, key=lambda i: len(values[i]))]
    width = _width(len(alive), len(values) - 1, rounds, spent, budget)
    if spent + width + 1 > budget:
        return []
    if width == 1 and _decided(values, alive[0], budget - spent, stricter):
        return []
    return [0, *sorted(alive[:width])]


def leader(values: Sequence[Sequence[float]]) -> int | None:
    """The candidate that the race has left: of those with the most seeds the best mean; None
    where every one diverged."""
    sound = [i for i in range(1, len(values)) if values[i] and _sound(values[i])]
    return min(sound, key=lambda i: (-len(values[i]), _mean(values[i])), default=None)


def gain_test(
    default: Sequence[float], winner: Sequence[float], candidates: int, stricter: float = 1
) -> Gain:
    """Whether the best of some candidates is better than the default, by a t-test of pairs.

    Half of the winner's own variance counts on top. A right-skewed loss that spreads more than the
    default's looks low and quiet with few seeds, and fools a plain t-test: with log-normal losses
    of three times the default's σ, that errs in 12 % of studies at a level of 5 %.

    Arguments:
        default: its values, seed by seed.
        winner: those of the setting, with the same seeds.
        candidates: how many settings it is the best of.
        stricter: how many times the level is lowered.
    """
    n = min(len(default), len(winner))
    first, second = np.asarray(default[:n], float), np.asarray(winner[:n], float)
    if n == 0 or not np.isfinite(second).all():
        return Gain(-math.inf if n else math.nan, math.inf, math.inf, n)
    if not np.isfinite(first).all():
        return Gain(math.inf, math.inf, math.inf, n)
    difference = first - second
    gain = float(difference.sum()) / n
    if n == 1:
        return Gain(gain, math.inf, math.inf, n)
    own = float(((second - second.sum() / n) ** 2).sum())
    spread = float(((difference - gain) ** 2).sum()) + OWN * own
    error = math.sqrt(spread / (n - 1) / n)
    return Gain(gain, error, standard_errors_needed(n, candidates, stricter), n)


@functools.cache
def standard_errors_needed(pairs: int, candidates: int, stricter: float = 1) -> float:
    """How many a gain has to have; infinite with fewer pairs than `FEWEST`.

    Arguments:
        pairs: of seeds.
        candidates: how many settings it is the best of.
        stricter: how many times the level is lowered.
    """
    if pairs < FEWEST:
        return math.inf
    level = LEVEL / candidates**CHOICE / stricter
    return float(-stdtrit(pairs - 1, level))


def _width(alive: int, candidates: int, rounds: int, spent: int, budget: int) -> int:
    """How many candidates the next round has: half as many, once their rung has had its share."""
    rungs = (candidates - 1).bit_length()  # before a single one is left
    left = (alive - 1).bit_length()
    width = alive
    if width > 1 and spent + width + 1 > SHARE * budget * (rungs - left + 1) / rungs:
        width = (width + 1) // 2
    # Whoever is left must come to as many pairs as the test needs.
    while width > 1 and budget - spent - width - 1 < 2 * (FEWEST - rounds - 1):
        width = (width + 1) // 2
    return width


def _decided(values: Sequence[Sequence[float]], best: int, left: int, stricter: float) -> bool:
    """Whether more seeds of the last candidate and the default would change nothing."""
    rounds, more = len(values[0]), left // 2
    found = gain_test(values[0], values[best], len(values) - 1, stricter)
    if found.gain <= 0:
        return more < rounds  # behind at half-way: it does not come to be clear any more
    return rounds >= FEWEST and rounds & (rounds - 1) == 0 and found.clear


def _sound(values: Sequence[float]) -> bool:
    return all(map(math.isfinite, values))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
