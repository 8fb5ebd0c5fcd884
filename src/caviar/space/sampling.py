"""Unit coordinates by trial number: a pure function of (seed, stage, axis, number).

    >>> random_units(seed=0, stage="01_coarse", names=["lr"], first=7, count=1).round(3).tolist()
    [[0.515]]
    >>> random_units(seed=0, stage="01_coarse", names=["b", "lr"], first=0, count=8)[7].round(3)
    array([0.082, 0.515])

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
    # CRC-32 and not hash(), which differs from process to process.
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
    # The format of studies under way: another generator, key or rounding would draw other points.
    blocks, skip = divmod(first, 4)  # Philox makes four numbers per count
    for column, name in enumerate(names):
        bits = np.random.Philox(seed_sequence(seed, stage, name)).advance(blocks)
        raw = bits.random_raw(skip + count)[skip:]
        units[:, column] = (raw >> np.uint64(11)) * 2.0**-53  # 53 bits fill a float in [0, 1)
    return units


def sobol_units(
    seed: int, stage: str, names: Sequence[str], first: int, count: int
) -> NDArray[np.float64]:
    """Owen-scrambled Sobol points first … first+count-1, shape (count, axes).

    Fills the box more evenly than independent draws. Unlike these, the points depend on the set
    of axes.
    """
    from scipy.stats import qmc

    order = sorted(names)  # so that the order of the axes in a file changes no point
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
