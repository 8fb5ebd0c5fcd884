"""Walls: an optimum beyond an original wall is reached, and hard walls never give way."""

import math

import pytest

from caviar.refine import refine
from caviar.space import Integer, Linear, Log, LogInteger, OneMinusLog
from test_refine import both, bowl, draw, on_line, rounds, space_of

GROWING = {
    "log": (Log(1e-6, 1e-4), 1.6),
    "log low": (Log(1e-2, 1), -0.4),
    "linear": (Linear(0, 5), 1.6),
    "one_minus_log": (OneMinusLog.from_natural(0.9, 0.99), -0.45),  # β of 0.996
    "integer": (Integer(1, 8), 1.4),
    "few integers": (Integer(2, 4), 1.6),  # 6 layers
    "log_integer": (LogInteger(16, 64), 1.6),
    "log_integer low": (LogInteger(64, 512), -0.4),
}


@both
@pytest.mark.parametrize("case", GROWING)
def test_an_optimum_outside_the_walls_is_reached(method, case):
    scale, centre = GROWING[case]
    coarse = space_of(x=scale)
    spaces = rounds(coarse, [centre], [30, 12, 12, 12], method)
    optimum = scale.from_unit([centre])[0]
    assert any(s.axes[0].scale.low <= optimum <= s.axes[0].scale.high for s in spaces)
    grown = [s.axes[0].scale for s in spaces[1:]]
    assert grown[0].high > scale.high if centre > 1 else grown[0].low < scale.low


def test_growth_is_half_a_width_and_says_so():
    coarse = space_of(lr=Log(1e-4, 1e-2))
    points = draw(coarse, 20)
    found = refine(coarse, coarse, points, bowl(coarse, points, [1.5]))
    assert found.space.axes[0].scale.high == 0.1
    assert "boundary alarm at the high wall: grown past 0.01" in found.reasons["a.lr"]


def test_a_logarithmic_range_grows_by_a_decade_at_most():
    found = on_line(Log(1e-4, 1), *leaning(Log(1e-4, 1)))
    assert found.space.axes[0].scale.high == 10  # half of its width would be 100


def leaning(scale, best=(0.99, 0.93, 0.7, 0.6, 0.5), others=(0.4, 0.3, 0.2, 0.1, 0.05)):
    """Values at these units, better ones first, and their losses."""
    return scale.from_unit([*best, *others]).tolist(), list(range(len(best) + len(others)))


@both
def test_a_single_trial_at_a_wall_moves_nothing(method):
    scale = Log(1e-4, 1)
    alone = leaning(scale, best=(0.99, 0.7, 0.65, 0.6, 0.55))
    found = on_line(scale, *alone, method=method)
    assert found.space.axes[0].scale.high <= 1
    assert "alarm" not in " ".join(found.reasons["a.x"])


DIVERGED = {  # of trials that lean on the upper wall: where others diverged → the next upper end
    "at the other end": (Log(1e-4, 1), (0.02, 0.15), 10, 10, "grown past 1"),
    "just past the wall": (Log(1e-4, 1), (1.1,), 1.2, 2.4, "grown past 1"),
    "of whole numbers": (Integer(2, 8), (1.25,), 9, 9, "grown past 8"),
}


@both
@pytest.mark.parametrize("case", DIVERGED)
def test_no_range_grows_to_where_trials_diverged(method, case):
    scale, lost, least, most, says = DIVERGED[case]
    values, losses = leaning(scale, best=(0.92, 0.91, 0.7, 0.6, 0.5))
    values += scale.from_unit(lost).tolist()
    losses += [math.inf] * len(lost)
    found = on_line(scale, values, losses, method=method)
    assert least <= found.space.axes[0].scale.high <= most
    assert says in " ".join(found.reasons["a.x"])


@both
def test_a_wall_that_trials_diverged_at_stays(method):
    scale = Log(1e-4, 1)
    units = [i / 40 for i in range(41)]
    losses = [1 - u if u < 0.96 else math.inf for u in units]
    found = on_line(scale, scale.from_unit(units).tolist(), losses, method=method)
    assert found.space.axes[0].scale.high == 1
    assert "boundary alarm at the high wall: but trials diverged there" in found.reasons["a.x"]


def test_the_alarm_names_the_wall_of_beta_itself():
    coarse = space_of(beta=OneMinusLog.from_natural(0.9, 0.99))
    points = draw(coarse, 20)
    found = refine(coarse, coarse, points, bowl(coarse, points, [-0.5]))
    (alarm,) = [r for r in found.reasons["one_minus.a.beta"] if "alarm" in r]
    assert "at the high wall" in alarm  # more momentum is less complement


def test_few_whole_numbers_are_not_alarmed_by_chance():
    # both ends of 2 … 4 own a third of the draws each; one of the best five there says nothing
    values, losses = [3, 3, 2, 4, 3, 2, 2, 4, 4], [0, 1, 2, 2.5, 3, 8, 9, 8, 9]
    assert on_line(Integer(2, 4), values, losses).space.axes[0].scale == Integer(2, 4)
    values, losses = [4, 4, 3, 4, 3, 3, 2, 2, 2], [0, 1, 2, 2.5, 3, 4, 8, 9, 8]
    assert on_line(Integer(2, 4), values, losses).space.axes[0].scale.high > 4


def test_only_original_walls_raise_the_alarm():
    coarse = space_of(x=Linear(0, 10))
    parent = space_of(x=Linear(2, 6))
    points = draw(coarse, 20) + draw(parent, 10, "02_fine")
    found = refine(coarse, parent, points, bowl(coarse, points, [0.6]))
    assert found.space.axes[0].scale.high <= 6


WALLED = [Log(1e-6, 1e-2), OneMinusLog(1e-3, 0.1), Linear(0, 0.5), Linear(0.2, 1), Integer(1, 6)]


@pytest.mark.parametrize("scale", [*WALLED, LogInteger(1, 8)], ids=str)
@pytest.mark.parametrize("centre", [-5, 6])
def test_hard_walls_hold(scale, centre):
    for space in rounds(space_of(x=scale), [centre], [20, 10, 10]):
        grown = space.axes[0].scale
        assert grown.low < grown.high
        if isinstance(scale, Integer):
            assert grown.low >= 1
        elif isinstance(scale, Log):
            assert grown.low > 0
        else:
            assert 0 <= grown.low < grown.high <= 1
        if isinstance(scale, OneMinusLog):
            assert 0 <= scale.natural(grown.high) < scale.natural(grown.low) < 1


def test_a_hard_wall_is_named():
    coarse = space_of(x=Integer(1, 6))
    points = draw(coarse, 20)
    found = refine(coarse, coarse, points, bowl(coarse, points, [0]))
    assert found.space.axes[0].scale.low == 1
    assert "boundary alarm at the low wall: but that is a hard wall" in found.reasons["a.x"]
