"""Scales: shares of the draws, round trips, narrowing, and the words of a refusal."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from caviar.space import (
    Choice,
    Integer,
    Linear,
    Log,
    LogInteger,
    OneMinusLog,
    ScaleError,
    scale_from_dict,
)
from caviar.space.scales import round_significant

EVEN = (np.arange(100_000) + 0.5) / 100_000  # every part of the unit interval equally often
bounded = settings(max_examples=60, deadline=None)


def _ordered(low, high):
    return st.tuples(low, high).map(sorted).filter(lambda ends: ends[1] - ends[0] > 1e-3 * ends[1])


def _typed(value):
    return (type(value), value)


positive = st.floats(1e-12, 1e9)
signed = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
texts = st.text(st.characters(codec="utf-8"), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
continuous = st.one_of(
    _ordered(positive, positive).map(lambda ends: Log(*ends)),
    _ordered(st.floats(0, 0.999999), st.floats(0, 0.999999))
    .filter(lambda ends: ends[1] - ends[0] > 1e-9)
    .map(lambda ends: OneMinusLog.from_natural(*ends)),
    _ordered(signed, signed).filter(lambda e: e[1] - e[0] > 1e-2).map(lambda e: Linear(*e)),
)
integers = st.one_of(
    st.tuples(st.integers(-1000, 1000), st.integers(1, 5000)).map(lambda t: Integer(t[0], sum(t))),
    st.tuples(st.integers(1, 1000), st.integers(1, 100_000)).map(
        lambda t: LogInteger(t[0], sum(t))
    ),
)
choices = st.lists(
    scalars.filter(lambda v: not isinstance(v, float) or math.isfinite(v)),
    min_size=1,
    unique_by=_typed,
).map(lambda values: Choice(tuple(values)))
any_scale = st.one_of(continuous, integers, choices)


# -- shares of the draws


def test_log_puts_a_quarter_of_the_draws_into_each_decade():
    lr = Log(1e-4, 1).from_unit(EVEN)
    decades = np.histogram(np.log10(lr), bins=[-4, -3, -2, -1, 0])[0]
    assert decades / len(EVEN) == pytest.approx([0.25] * 4, abs=1e-3)


def test_linear_puts_nine_tenths_into_the_last_decade():
    lr = Linear(0.0001, 1).from_unit(EVEN)
    assert np.mean(lr >= 0.1) == pytest.approx(0.9, abs=1e-3)


def test_half_of_the_betas_exceed_099():
    scale = OneMinusLog.from_natural(0.9, 0.999)
    beta = np.array([scale.natural(c) for c in scale.from_unit(EVEN[::10])])
    assert np.mean(beta > 0.99) == pytest.approx(0.5, abs=1e-3)
    assert beta.min() >= 0.9
    assert beta.max() <= 0.999
    # what others draw instead: uniform, and log-uniform in β itself
    assert np.mean(Linear(0.9, 0.999).from_unit(EVEN) > 0.99) == pytest.approx(0.091, abs=1e-3)
    assert np.mean(Log(0.9, 0.999).from_unit(EVEN) > 0.99) == pytest.approx(0.087, abs=1e-3)


@pytest.mark.parametrize("low", [-3, 0, 1, 50])
def test_integers_are_uniform_ends_included(low):
    values, counts = np.unique(Integer(low, low + 9).from_unit(EVEN), return_counts=True)
    assert values.tolist() == list(range(low, low + 10))
    assert counts / len(EVEN) == pytest.approx([0.1] * 10, abs=1e-4)


def test_log_integer_gives_its_ends_their_full_share():
    values, counts = np.unique(LogInteger(1, 16).from_unit(EVEN), return_counts=True)
    assert values.tolist() == list(range(1, 17))
    # each whole number owns the half steps on either side, on a logarithmic ruler from 0.5 to 16.5
    owned = np.log((values + 0.5) / (values - 0.5)) / np.log(16.5 / 0.5)
    assert counts / len(EVEN) == pytest.approx(owned, abs=1e-4)


def test_choices_are_drawn_equally_often():
    drawn = Choice((16, 32, None, "relu")).from_unit(EVEN).tolist()
    assert [drawn.count(v) for v in (16, 32, None, "relu")] == [25_000] * 4


# -- unit -> value -> unit


@bounded
@given(continuous, st.floats(0, 1))
def test_continuous_values_round_trip(scale, unit):
    value = float(scale.from_unit(unit))
    assert scale.low <= value <= scale.high
    step = max(abs(scale.low), abs(scale.high)) / (scale.high - scale.low)
    assert float(scale.to_unit(value)) == pytest.approx(unit, abs=1e-5 * max(step, 1))
    again = float(scale.from_unit(scale.to_unit(value)))
    assert again == pytest.approx(value, rel=1e-12, abs=1e-9 * (scale.high - scale.low))


@bounded
@given(integers | choices, st.floats(0, 1))
def test_discrete_values_round_trip_exactly(scale, unit):
    value = scale.from_unit([unit]).tolist()[0]
    back = scale.from_unit(scale.to_unit([value])).tolist()[0]
    assert _typed(back) == _typed(value)


@bounded
@given(any_scale, st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_vectors_agree_with_scalars(scale, units):
    column = scale.from_unit(units).tolist()
    assert column == [scale.from_unit([u]).tolist()[0] for u in units]


@bounded
@given(continuous | integers)
def test_unit_ends_are_the_range(scale):
    assert scale.from_unit([0, 1]).tolist() == pytest.approx([scale.low, scale.high], rel=1e-5)
    assert scale.to_unit(scale.from_unit([0, 1])).min() >= 0
    assert scale.to_unit(scale.from_unit([0, 1])).max() <= 1


@bounded
@given(st.floats(0, 0.99999), st.floats(1e-6, 1))
def test_beta_ends_read_as_declared(low, share):
    low, high = round(low, 6), round(low + share * (0.999999 - low), 6)
    assume(low < high)
    assert OneMinusLog.from_natural(low, high).declared() == (low, high)


def test_values_have_six_digits_down_to_any_size():
    values = [1.23456789e-25, 1.23456789e-9, 0.0, -123456.789, 9.9999999]
    assert round_significant(values, 6) == pytest.approx(
        [1.23457e-25, 1.23457e-9, 0.0, -123457.0, 10.0], rel=1e-14
    )


# -- narrowing


@bounded
@given(continuous | integers, st.floats(0, 1), st.floats(0, 1))
def test_narrowing_inside_stays_inside(scale, a, b):
    low, high = sorted((a, b))
    assume(high - low > 0.01)
    narrow = scale.narrow(low, high)
    assert scale.low <= narrow.low < narrow.high <= scale.high
    assert type(narrow) is type(scale)


@bounded
@given(continuous | integers, st.floats(-2, 0.5), st.floats(0.5, 3))
def test_growth_respects_hard_walls(scale, low, high):
    assume(high - low > 0.01)
    grown = scale.narrow(low, high)
    if isinstance(scale, Log):
        assert grown.low > 0
    if isinstance(scale, OneMinusLog):
        assert 0 <= scale.natural(grown.high) < scale.natural(grown.low) < 1
    if scale.low >= 0:
        assert grown.low >= 0
    if isinstance(scale, Integer) and scale.low >= 1:
        assert grown.low >= 1
    if type(scale) is Linear and scale.low >= 0 and scale.high <= 1:
        assert grown.high <= 1


def test_bounds_are_short_unless_the_range_is_tight():
    assert Log(1e-4, 1).narrow(1 / 3, 0.9) == Log(0.002154, 0.3981)
    assert Linear(100.01, 100.02).narrow(0.3, 0.6) == Linear(100.013, 100.016)


def test_a_wall_that_stays_is_the_same_wall():
    assert Log(1.23456e-4, 1).narrow(0, 0.5).low == 1.23456e-4


def test_whole_numbers_never_narrow_to_one():
    assert Integer(1, 10).narrow(0.44, 0.46) == Integer(4, 6)
    assert Integer(1, 10).narrow(0.96, 1.0) == Integer(9, 10)
    assert Integer(1, 3).narrow(1.4, 1.6) == Integer(4, 6)  # in a range that had grown


def test_keeping_tells_true_from_one():
    kept = Choice((True, 1, 2)).keep([1])
    assert kept == Choice((1,))
    assert type(kept.values[0]) is int
    assert Choice((True, 2)).keep([1]) is None


# -- refusals: what is wrong, and what to write instead


@pytest.mark.parametrize(
    ("kind", "low", "high", "mend"),
    [
        ("log", 1, 1e-4, "swap them"),
        ("linear", 0.5, 0.5, "drop the axis"),
        ("integer", 8, 2, "swap them"),
        ("one_minus_log", 0.999, 0.9, "low 0.999 is not below high 0.9; swap them"),
        ("log", 0, 1, "write a small positive number, such as 0.0001, or use linear"),
        ("log", -1, 1, "has no logarithm"),
        ("log_integer", 0, 64, "start at 1"),
        ("one_minus_log", 0.9, 1, "write, for example, 0.9,0.999"),
        ("one_minus_log", -0.1, 0.9, r"not inside \[0, 1\)"),
        ("one_minus_log", 0.9, 1 - 1e-16, r"not inside \[0, 1\)"),
        ("linear", "a", 1, "'a' is not a finite number"),
        ("linear", None, 1, "not a finite number"),
        ("linear", True, 2, "not a finite number"),
        ("linear", 0, math.inf, "not a finite number"),
        ("log", math.nan, 1, "not a finite number"),
        ("integer", 1.5, 4, "1.5 is not a whole number"),
        ("log_integer", 1, 4.5, "4.5 is not a whole number"),
        ("loguniform", 0, 1, "use one of log, one_minus_log, linear"),
    ],
)
def test_bad_ranges_are_refused_with_a_mend(kind, low, high, mend):
    with pytest.raises(ScaleError, match=mend):
        scale_from_dict({"scale": kind, "low": low, "high": high})


@pytest.mark.parametrize(
    ("values", "mend"),
    [
        ([], "write at least one value"),
        ([[1, 2]], "write numbers, text or null"),
        ([16, 32, 16], "write each once"),
        ([0.1, math.inf], "not a finite number"),
    ],
)
def test_bad_choices_are_refused_with_a_mend(values, mend):
    with pytest.raises(ScaleError, match=mend):
        scale_from_dict({"scale": "choice", "values": values})


def test_whole_floats_are_integer_ends():
    assert scale_from_dict({"scale": "integer", "low": 16.0, "high": 64}) == Integer(16, 64)
