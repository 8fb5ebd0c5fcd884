"""Points are pure functions of (seed, stage, number): of nothing else, and the same for ever."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caviar.space import Axis, Choice, Integer, Linear, Log, LogInteger, OneMinusLog, Space
from caviar.space.sampling import SAMPLERS, random_units, sobol_units, trial_seed, units

SPACE = Space(
    (
        Axis("optimizer.lr", Log(1e-4, 1)),
        Axis("optimizer.momentum", OneMinusLog.from_natural(0.9, 0.999)),
        Axis("optimizer.dampening", Linear(0, 0.5)),
        Axis("model.width", Integer(16, 128)),
        Axis("model.hidden", LogInteger(16, 4096)),
        Axis("data.batch_size", Choice((16, 32, 64, 128))),
    )
)
STAGE = "01_coarse"
bounded = settings(max_examples=50, deadline=None)
both = pytest.mark.parametrize("sampler", SAMPLERS)


# A change of these values breaks every study that is under way: its stage would go on elsewhere.
GOLDEN = {
    ("random", 0): [0.00659505, 0.0102214, 0.0422803, 34, 30, 32],
    ("random", 1): [0.0733416, 0.00437385, 0.24847, 126, 65, 32],
    ("random", 41): [0.00307487, 0.00237225, 0.155943, 113, 1552, 64],
    ("sobol", 0): [0.166321, 0.00249055, 0.120003, 126, 1371, 128],
    ("sobol", 1): [0.00226836, 0.0254612, 0.439918, 56, 20, 16],
    ("sobol", 41): [0.366369, 0.00494115, 0.044, 41, 25, 16],
}


@pytest.mark.parametrize(("sampler", "number"), GOLDEN)
def test_golden_points(sampler, number):
    point = SPACE.point(42, STAGE, number, sampler)
    assert point == dict(zip(SPACE.names, GOLDEN[sampler, number], strict=True))


def test_golden_seeds():
    assert [trial_seed(42, STAGE, i) for i in range(3)] == [796129781, 1251641276, 709836994]


@both
@bounded
@given(st.integers(0, 2**64), st.integers(0, 300), st.integers(1, 20), st.integers(0, 19))
def test_a_point_does_not_depend_on_the_batch(sampler, seed, first, count, chosen):
    chosen %= count
    batch = SPACE.draw(seed, STAGE, count, first=first, sampler=sampler)
    alone = SPACE.point(seed, STAGE, first + chosen, sampler)
    assert {name: column.tolist()[chosen] for name, column in batch.items()} == alone


@both
def test_twenty_trials_are_the_first_of_sixty(sampler):
    few, many = (units(sampler, 0, STAGE, SPACE.names, 0, n) for n in (20, 60))
    np.testing.assert_array_equal(few, many[:20])


@both
def test_order_of_drawing_does_not_matter(sampler):
    forward = [SPACE.point(3, STAGE, i, sampler) for i in range(12)]
    backward = [SPACE.point(3, STAGE, i, sampler) for i in reversed(range(12))]
    assert forward == backward[::-1]


@both
def test_order_of_axes_does_not_matter(sampler):
    turned = Space(SPACE.axes[::-1])
    assert SPACE.point(5, STAGE, 7, sampler) == turned.point(5, STAGE, 7, sampler)


def test_an_axis_does_not_depend_on_the_others():
    alone = Space(SPACE.axes[:1]).draw(5, STAGE, 50)
    np.testing.assert_array_equal(alone["optimizer.lr"], SPACE.draw(5, STAGE, 50)["optimizer.lr"])


def test_a_scale_change_keeps_the_unit_coordinates():
    wider = SPACE.replace({"optimizer.lr": Log(1e-6, 10)})
    lr = [s.to_unit(s.draw(1, STAGE, 20))[:, 0] for s in (SPACE, wider)]
    np.testing.assert_allclose(*lr, atol=1e-5)


@both
def test_seeds_and_stages_draw_elsewhere(sampler):
    points = [
        SPACE.point(0, STAGE, 0, sampler),
        SPACE.point(1, STAGE, 0, sampler),
        SPACE.point(0, "02_fine", 0, sampler),
        SPACE.point(0, STAGE, 1, sampler),
    ]
    assert len({point["optimizer.lr"] for point in points}) == len(points)


@both
def test_far_numbers_are_reached_without_drawing_the_rest(sampler):
    first = 1_000_003
    late = units(sampler, 0, STAGE, ["a", "b"], first, 6)
    np.testing.assert_array_equal(late[3:], units(sampler, 0, STAGE, ["a", "b"], first + 3, 3))


@both
def test_no_trials_are_no_points(sampler):
    assert SPACE.draw(0, STAGE, 0, sampler=sampler)["model.width"].shape == (0,)


def test_random_axes_are_uniform_and_independent():
    u = random_units(0, STAGE, ["a", "b", "c"], 0, 20_000)
    assert u.min() >= 0
    assert u.max() < 1
    assert np.abs(np.quantile(u, [0.1, 0.5, 0.9], axis=0).T - [0.1, 0.5, 0.9]).max() < 0.01
    assert np.abs(np.corrcoef(u.T) - np.eye(3)).max() < 0.03
    assert np.abs(np.corrcoef(u[1:, 0], u[:-1, 0])[0, 1]) < 0.03


def test_sobol_fills_evenly():
    u = sobol_units(0, STAGE, ["a", "b"], 0, 64)
    # a net: every one of 8 × 8 equal boxes holds one of 64 points
    assert len({tuple(cell) for cell in np.floor(u * 8).astype(int).tolist()}) == 64


def test_trial_seeds_differ_and_fit_every_library():
    seeds = [trial_seed(0, stage, i) for stage in (STAGE, "02_fine") for i in range(1000)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= s < 2**31 for s in seeds)


def test_a_hundred_thousand_points_of_seven_axes():
    space = Space((*SPACE.axes, Axis("optimizer.weight_decay", Log(1e-6, 1e-1))))
    columns = space.draw(0, STAGE, 100_000)
    assert list(columns) == space.names
    assert all(column.shape == (100_000,) for column in columns.values())
    assert columns["optimizer.lr"].min() >= 1e-4
    assert columns["optimizer.lr"].max() <= 1
    last = {name: column[-1:].tolist()[0] for name, column in columns.items()}
    assert last == space.point(0, STAGE, 99_999)
