"""Coarse to fine beats one random round of the same total."""

import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pytest

from caviar.refine import refine
from caviar.space import Log
from test_refine import bowl, draw, space_of

REPETITIONS = 200
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


def gained(counts, noise, repetition):
    """How much lower the regret is than after one random round of the same total."""
    return regret(repetition, (sum(counts),), noise) - regret(repetition, counts, noise)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("counts", [(30, 14, 10), (20, 20, 20)])
def test_rounds_beat_one_random_round(counts, noise):
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        gain = np.array(
            list(pool.map(partial(gained, counts, noise), range(REPETITIONS), chunksize=25))
        )
    error = gain.std(ddof=1) / math.sqrt(REPETITIONS)
    if noise:
        assert gain.mean() > -error  # does not lose
    else:
        assert gain.mean() > 3 * error  # beats
