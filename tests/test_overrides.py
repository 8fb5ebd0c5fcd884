"""Overrides: every value survives Hydra's grammar and a shell; `one_minus.` is rewritten."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from caviar.config.overrides import (
    command_line,
    joined,
    keys_outside,
    override_value,
    point_overrides,
    restore_one_minus,
    rewrite_one_minus,
)
from caviar.config.resolvers import register

PARSER = OverridesParser.create()
bounded = settings(max_examples=200, deadline=None)
texts = st.text(st.characters(codec="utf-8")) | st.text("ab'\"\\ ,=:$[]{}()~+-.0n\n", max_size=8)
values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts


@bounded
@given(values)
@example("C:\\data\\new")
@example("a\\")
@example("it's")
@example("a\\'")
@example("NULL")
@example("nan")
@example("1e5")
@example("")
@example("a,b")
@example(1e-05)
@example(1e22)
@example(-0.0)
def test_any_value_survives_hydras_grammar(value):
    override = PARSER.parse_override(f"key={override_value(value)}")
    assert not override.is_sweep_override()
    back = override.value()
    assert (type(back), repr(back)) == (type(value), repr(value))


@bounded
@given(st.lists(values, max_size=4))
def test_a_command_survives_the_shell(point):
    overrides = point_overrides({f"group.x{i}": value for i, value in enumerate(point)})
    assert shlex.split(command_line(overrides)) == ["python", "train.py", *overrides]


def test_plain_values_stay_plain():
    point = {"optimizer.lr": 0.01, "one_minus.optimizer.momentum": 1e-05, "model.act": "relu"}
    assert point_overrides(point) == [
        "optimizer.lr=0.01",
        "one_minus.optimizer.momentum=1e-05",
        "model.act=relu",
    ]
    assert command_line(point_overrides(point)) == (
        "python train.py optimizer.lr=0.01 one_minus.optimizer.momentum=1e-05 model.act=relu"
    )


@bounded
@given(st.lists(values, max_size=4))
def test_what_was_rewritten_is_restored(point):
    typed = point_overrides({f"one_minus.group.x{i}": v for i, v in enumerate(point)})
    typed = [t for t in typed if "{" not in t and "}" not in t]
    assert restore_one_minus(rewrite_one_minus(typed)) == typed


def test_other_interpolations_are_left_alone():
    others = ["a=${one_minus:${b}}", "a=${b}", "+a.b=1", "~a", "-m"]
    assert restore_one_minus(others) == others
    assert restore_one_minus(["+a.b=${one_minus:0.1}"]) == ["+one_minus.a.b=0.1"]


def test_of_several_overrides_for_one_key_the_last_remains():
    parts = (["a=1", "b.c=1", "~d"], ["one_minus.b.c=0.1", "+d=2"], ["a=3"])
    assert joined(["+a=1"], ["a=2"], ["a=3"]) == ("+a=3",)
    assert joined(*parts) == ("~d", "one_minus.b.c=0.1", "+d=2", "a=3")


def test_only_complements_are_rewritten():
    given_ = ["one_minus.optimizer.momentum=0.0123", "optimizer.lr=0.1", "-m", "one_minus.x"]
    assert rewrite_one_minus(given_) == [
        "optimizer.momentum=${one_minus:0.0123}",
        "optimizer.lr=0.1",
        "-m",
        "one_minus.x",
    ]
    assert rewrite_one_minus(["a=one_minus.b=1"]) == ["a=one_minus.b=1"]


@pytest.mark.parametrize(("complement", "beta"), [(0.0123, 0.9877), (1e-05, 0.99999), (1, 0)])
def test_a_rewritten_complement_becomes_beta(complement, beta):
    from omegaconf import OmegaConf

    register()
    (argument,) = rewrite_one_minus(point_overrides({"one_minus.optimizer.momentum": complement}))
    override = PARSER.parse_override(argument)
    assert override.key_or_group == "optimizer.momentum"
    assert OmegaConf.create({"momentum": override.value()}).momentum == beta


def test_keys_outside_a_node():
    overrides = [
        "search.study=a",
        "+search.x=1",
        "~space.data",
        "++space.optimizer.lr=${log:1e-5,1}",
        "space@space=adam",
        "experiment/x=b",
        "searching=1",
        "optimizer.lr=0.1",
        "hydra/launcher=pool",
    ]
    assert keys_outside(overrides, "search", "space", "hydra") == [
        "experiment/x=b",
        "searching=1",
        "optimizer.lr=0.1",
    ]
    assert keys_outside(overrides) == overrides
