"""Lint: a space is checked against the config it searches before anything runs."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caviar.space import Axis, Choice, Integer, Linear, Log, LogInteger, OneMinusLog, Space, lint

CONFIG = {
    "optimizer": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    "model": {"width": 32, "dropout": 0.1, "init": "kaiming", "clip": None},
}


def problems(key, scale, config=CONFIG):
    return lint(Space((Axis(key, scale),)), config)


@pytest.mark.parametrize(
    ("key", "scale"),
    [
        ("optimizer.lr", Log(1e-4, 1)),
        ("optimizer.momentum", OneMinusLog.from_natural(0.5, 0.999)),
        ("model.width", Integer(16, 128)),
        ("model.width", LogInteger(1, 4096)),  # an integer over decades is no slip
        ("model.dropout", Linear(0, 0.5)),
        ("model.init", Choice(("kaiming", "xavier"))),
        ("model.clip", Log(0.1, 10)),  # null as default: nothing to compare with
        ("optimizer.nesterov", Choice((True, False))),
    ],
)
def test_a_good_axis_passes(key, scale):
    assert problems(key, scale) == []


def test_a_misspelt_key_gets_the_nearest_spelling():
    (found,) = problems("optimizer.momentun", Linear(0, 1))
    assert found.fatal
    assert found.key == "optimizer.momentun"
    assert "the config has no such key; did you mean optimizer.momentum? " in found.message


def test_a_key_like_no_other_gets_a_mend():
    (found,) = problems("zzz", Linear(0, 1))
    assert found.fatal
    assert "did you mean" not in found.message
    assert "'~space.zzz'" in found.message


def test_a_number_is_never_meant_to_be_a_text_or_a_target():
    config = {"optimizer": {"_target_": "torch.optim.Adam", "betas": [0.9, 0.999], "name": "a"}}
    for key in ("optimizer.beta", "optimizer.target", "optimizer.names"):
        (found,) = problems(key, Log(0.1, 1), config)
        assert "did you mean" not in found.message


@pytest.mark.parametrize(
    "scale", [Linear(0.9, 1.2), Log(0.5, 1.0), Choice((0.9, 1.0)), Linear(-0.1, 0.9)]
)
def test_a_beta_stays_below_one(scale):
    (found,) = problems("optimizer.momentum", scale, {"optimizer": {"momentum": 0.9}})
    assert found.fatal
    assert "leaves [0, 1)" in found.message


def test_a_refined_range_may_leave_the_default_outside():
    space = Space((Axis("model.width", Integer(100, 128)),))
    config = {"model": {"width": 64}}
    assert len(lint(space, config)) == 1
    assert lint(space, config, refined=True) == []


@pytest.mark.parametrize("scale", [Integer(0, 2), LogInteger(1, 2)])
@pytest.mark.parametrize("default", [0.1, math.inf])
def test_whole_numbers_for_a_fraction_are_refused(scale, default):
    found = problems("model.dropout", scale, {"model": {"dropout": default}})
    assert found[0].fatal
    assert "use linear or log" in found[0].message


def test_whole_floats_are_whole():
    assert problems("model.width", Integer(16, 128), {"model": {"width": 32.0}}) == []


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 99), st.integers(-8, 3), st.integers(3, 6))
def test_linear_over_three_decades_warns(mantissa, exponent, decades):
    # 1e-2 / 1e-5 is a hair below 1000
    low, high = float(f"{mantissa}e{exponent}"), float(f"{mantissa}e{exponent + decades}")
    (found,) = problems("a", Linear(low, high), {"a": high})
    assert not found.fatal
    assert f"spans {decades} decades" in found.message
    assert "90% of the trials" in found.message
    assert f"write ${{log:{low:g},{high:g}}}" in found.message


@pytest.mark.parametrize("scale", [Linear(0.011, 10), Linear(0, 1e6), Linear(-1, 1e6)])
def test_linear_over_less_passes(scale):
    assert problems("a", scale, {"a": 5}) == []


@pytest.mark.parametrize(
    ("key", "scale", "words"),
    [
        ("optimizer.lr", Log(1e-4, 1e-2), "default 0.1 lies outside 0.0001 … 0.01"),
        ("optimizer.momentum", OneMinusLog.from_natural(0.95, 0.99), "outside 0.95 … 0.99"),
        ("model.width", Integer(64, 128), "default 32 lies outside 64 … 128"),
    ],
)
def test_a_default_outside_warns(key, scale, words):
    (found,) = problems(key, scale)
    assert not found.fatal
    assert words in found.message


def test_a_default_at_the_end_of_beta_passes():
    # 1 - 0.9 is not 0.1 in binary; the comparison happens in natural values
    assert problems("optimizer.momentum", OneMinusLog.from_natural(0.9, 0.999)) == []


def test_text_has_no_logarithm():
    (found,) = problems("model.init", Log(1e-4, 1))
    assert found.fatal
    assert "text 'kaiming'" in found.message


def test_fatal_problems_come_first():
    space = Space((Axis("optimizer.lr", Log(1e-4, 1e-2)), Axis("optimizer.lrr", Log(1e-4, 1))))
    assert [p.fatal for p in lint(space, CONFIG)] == [True, False]
