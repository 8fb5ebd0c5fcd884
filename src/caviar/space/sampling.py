"""Unit coordinates by trial number: a pure function of (seed, stage, axis, number).

No stream is shared, so a point does not depend on how many trials there are, which worker runs
them or in which order; and adding or dropping an axis leaves the other axes' values unchanged
(random sampler).
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SAMPLERS = ("random", "sobol")


def seed_sequence(seed: int, *names: str) -> np.random.SeedSequence:
    """The seed sequence that belongs to `names`, such as a stage and an axis."""
    return np.random.SeedSequence(seed, spawn_key=[zlib.crc32(n.encode()) for n in names])


def trial_seed(seed: int, stage: str, number: int) -> int:
    """The training seed of trial `number`: 31 bits, its own."""
    key = seed_sequence(seed, stage, f"trial {number}")
    return int(key.generate_state(1, np.uint32)[0] >> 1)


def random_units(
    seed: int, stage: str, names: Sequence[str], first: int, count: int
) -> NDArray[np.float64]:
    """Independent uniform coordinates of trials first … first+count-1, shape (count, axes).

    Philox is a counter-based generator: element i of a stream is reached without drawing the
    ones before it.
    """
    units = np.empty((count, len(names)))
    blocks, skip = divmod(first, 4)  # Philox makes four numbers per count
    for column, name in enumerate(names):
        bits = np.random.Philox(seed_sequence(seed, stage, name)).advance(blocks)
        raw = bits.random_raw(skip + count)[skip:]
        units[:, column] = (raw >> np.uint64(11)) * 2.0**-53
    return units


def sobol_units(
    seed: int, stage: str, names: Sequence[str], first: int, count: int
) -> NDArray[np.float64]:
    """Owen-scrambled Sobol points first … first+count-1, shape (count, axes).

    Fills the box more evenly than independent draws. Unlike these, the points depend on the set
    of axes.
    """
    from scipy.stats import qmc

    order = sorted(names)
    engine = qmc.Sobol(len(order), rng=np.random.default_rng(seed_sequence(seed, stage)))
    if first:
        engine.fast_forward(first)
    with warnings.catch_warnings():  # SciPy wants powers of two; trials come as they come
        warnings.simplefilter("ignore", UserWarning)
        points = engine.random(count)
    return points[:, [order.index(name) for name in names]]


def units(
    sampler: str, seed: int, stage: str, names: Sequence[str], first: int, count: int
) -> NDArray[np.float64]:
    """Unit coordinates by the sampler's name, `random` or `sobol`."""
    draw = {"random": random_units, "sobol": sobol_units}[sampler]
    return draw(seed, stage, names, first, count)
