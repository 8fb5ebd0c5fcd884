"""Coarse to fine beats one random round of the same total."""

import math

import numpy as np
import pytest

from caviar.refine import refine
from caviar.space import Log
from test_refine import bowl, draw, space_of

SIX = space_of(**{f"x{j}": Log(1e-4, 1) for j in range(6)})


def regret(repetition, counts, noise, method="surrogate"):
    """Loss without noise of the setting that a search of a 6-D surface ends with."""
    rng = np.random.default_rng(repetition)
    weights = rng.permutation([1, 0.5, 0.5, 0.3, 0.05, 0]).tolist()
    centre = rng.uniform(0.1, 0.9, 6)
    space, points, seen = SIX, [], np.empty(0)
    for stage, count in enumerate(counts):
        if points:
            space = refine(SIX, space, points, seen, method=method).space
        new = draw(space, count, f"stage {stage}", repetition)
        points += new
        loss = bowl(SIX, new, centre, weights)
        seen = np.concatenate([seen, loss + noise * rng.standard_normal(count)])
    return float(bowl(SIX, [points[int(np.argmin(seen))]], centre, weights)[0])


def standard_errors_gained(counts, noise, repetitions):
    """How much lower the regret is than after one random round of the same total, paired."""
    gain = [
        regret(repetition, (sum(counts),), noise) - regret(repetition, counts, noise)
        for repetition in range(repetitions)
    ]
    return np.mean(gain) / (np.std(gain, ddof=1) / math.sqrt(repetitions))


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_rounds_beat_one_random_round(noise):
    assert standard_errors_gained((30, 14, 10), noise, 64) > 3  # 8.3 and 5.7


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize(("noise", "least"), [(0.0, 3), (0.02, -1)])  # beats, does not lose
@pytest.mark.parametrize("counts", [(30, 14, 10), (20, 20, 20)])
def test_rounds_beat_one_random_round_also_evenly_divided(counts, noise, least):
    assert standard_errors_gained(counts, noise, 200) > least
