"""A round that is picked by expected improvement: inside its box, apart, the same every time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caviar.refine import picked, refine
from caviar.space import Axis, Choice, Integer, Log, OneMinusLog, Space

SPACE = Space(
    (
        Axis("lr", Log(1e-4, 1.0)),
        Axis("momentum", OneMinusLog.from_natural(0.9, 0.999)),
        Axis("width", Integer(8, 64)),
        Axis("kind", Choice(("a", "b"))),
    )
)


def loss(point: dict[str, Any]) -> float:
    """A bowl in log lr, as deep for either kind, and diverging beyond 0.5."""
    if point["lr"] > 0.5:
        return math.inf
    return (math.log10(point["lr"]) + 2) ** 2 + 0.2 * math.log10(point["one_minus.momentum"]) ** 2


def trained(count: int, seed: int = 0) -> tuple[list[dict[str, Any]], list[float]]:
    points = [SPACE.point(seed, "01_coarse", number) for number in range(count)]
    return points, [loss(point) for point in points]


def inside(space: Space, point: dict[str, Any]) -> bool:
    units = space.to_unit({name: [value] for name, value in point.items()})
    return bool(((units >= 0) & (units <= 1)).all())


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), count=st.integers(1, 20), trials=st.integers(0, 40))
def test_points_lie_in_the_box_and_apart(seed: int, count: int, trials: int) -> None:
    points, losses = trained(trials, seed)
    few = trials < 5 or not np.isfinite(losses).any()
    box = SPACE if few else refine(SPACE, SPACE, points, losses, seed=seed).space
    round_ = picked(SPACE, box, points, losses, count, seed, "02_fine")
    assert len(round_) == count
    assert all(inside(box, point) for point in round_)
    assert len({tuple(point.values()) for point in round_}) == count
    assert round_ == picked(SPACE, box, points, losses, count, seed, "02_fine")
    if few:  # nothing to learn from: as the space draws
        assert round_[0] == box.point(seed, "02_fine", 0)


def test_it_finds_more_than_chance() -> None:
    """In nine of ten searches the best of a picked round is at least as good as of a drawn one."""
    better = 0
    for seed in range(10):
        points, losses = trained(30, seed)
        box = refine(SPACE, SPACE, points, losses, seed=seed).space
        by_model = picked(SPACE, box, points, losses, 10, seed, "02_fine")
        drawn = [box.point(seed, "02_fine", number) for number in range(10)]
        better += min(map(loss, by_model)) <= min(map(loss, drawn))
    assert better >= 8


def test_what_was_given_out_stays_and_is_not_repeated() -> None:
    points, losses = trained(30)
    first = picked(SPACE, SPACE, points, losses, 4, 0, "02_fine")
    more = picked(SPACE, SPACE, points, losses, 4, 0, "02_fine", pending=first)
    assert not [point for point in more if point in first]


@pytest.mark.parametrize("count", [3, 6])
def test_a_box_of_few_points_is_used_up_first(count: int) -> None:
    space = Space((Axis("kind", Choice(("a", "b", "c", "d"))),))
    points = [{"kind": kind} for kind in "abcdabcd"]
    losses = [1.0, 2.0, 3.0, 4.0, 1.1, 2.1, 3.1, 4.1]
    round_ = picked(space, space, points, losses, count, 0, "02_fine")
    assert len(round_) == count
    assert len({point["kind"] for point in round_}) >= min(count, 3)


def test_a_large_round_is_picked_in_part() -> None:
    points, losses = trained(40)
    round_ = picked(SPACE, SPACE, points, losses, 200, 0, "02_fine")
    assert round_[150:] == [SPACE.point(0, "02_fine", number) for number in range(150, 200)]
