"""Spaces: parsed from the config's shape, named once, mapped to the unit box and back."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caviar.refine
import caviar.space
from caviar.space import Axis, Choice, Integer, Linear, Log, OneMinusLog, Space, SpaceError

TREE = {
    "tiers": {"optimizer.lr": 1, "optimizer.momentum": 2},
    "optimizer": {
        "lr": {"scale": "log", "low": 1e-4, "high": 1},
        "momentum": {"scale": "one_minus_log", "low": 0.9, "high": 0.999},
    },
    "model": {"block": {"width": {"scale": "integer", "low": 16, "high": 128}}},
    "data": {"batch_size": {"scale": "choice", "values": [16, 32, 64]}},
}


def test_a_tree_becomes_axes_in_order():
    space = Space.parse(TREE)
    assert [(a.key, a.scale, a.tier) for a in space] == [
        ("optimizer.lr", Log(1e-4, 1), 1),
        ("optimizer.momentum", OneMinusLog(0.001, 0.1), 2),
        ("model.block.width", Integer(16, 128), None),
        ("data.batch_size", Choice((16, 32, 64)), None),
    ]


def test_the_complement_has_a_name_of_its_own():
    space = Space.parse(TREE)
    assert space.names == [
        "optimizer.lr",
        "one_minus.optimizer.momentum",
        "model.block.width",
        "data.batch_size",
    ]
    assert space.axis("one_minus.optimizer.momentum").key == "optimizer.momentum"
    frozen = Axis("optimizer.momentum", Choice((0.01,), complement=True))
    assert frozen.name == "one_minus.optimizer.momentum"


def test_a_config_key_may_be_called_scale():
    node = {
        "scale": {"scale": "linear", "low": 0, "high": 1},
        "p": {"scale": "choice", "values": [1]},
    }
    assert [a.key for a in Space.parse({"augment": node})] == ["augment.scale", "augment.p"]


def test_natural_points_are_config_values():
    space = Space.parse(TREE)
    point = {"optimizer.lr": 0.1, "one_minus.optimizer.momentum": 0.001, "model.block.width": 20}
    assert space.natural(point) == {
        "optimizer.lr": 0.1,
        "optimizer.momentum": 0.999,
        "model.block.width": 20,
    }


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 1000))
def test_points_are_plain_and_inside(seed, number):
    space = Space.parse(TREE)
    point = space.point(seed, "01_coarse", number)
    assert [type(v) for v in point.values()] == [float, float, int, int]
    unit = space.to_unit({name: [value] for name, value in point.items()})
    assert unit.shape == (1, 4)
    assert ((unit >= 0) & (unit <= 1)).all()
    again = {name: column.tolist()[0] for name, column in space.from_unit(unit).items()}
    assert again == point


def test_values_outside_leave_the_unit_box():
    space = Space((Axis("lr", Log(1e-4, 1)), Axis("p", Linear(0, 0.5))))
    np.testing.assert_allclose(
        space.to_unit({"lr": [1e-6, 100], "p": [-0.25, 1]}), [[-0.5, -0.5], [1.5, 2]]
    )


def test_replace_keeps_key_tier_and_order():
    space = Space.parse(TREE)
    replaced = space.replace({"one_minus.optimizer.momentum": OneMinusLog(0.01, 0.05)})
    assert replaced.names == space.names
    assert replaced.axis("one_minus.optimizer.momentum").tier == 2
    assert replaced.axes[0] == space.axes[0]
    assert replaced != space


def test_dropped_groups_leave_no_axis():
    assert [a.key for a in Space.parse({"optimizer": TREE["optimizer"], "data": {}})] == [
        "optimizer.lr",
        "optimizer.momentum",
    ]


@pytest.mark.parametrize(
    ("declared", "mend"),
    [
        (0.1, "0.1 is no scale; write one, such as ${log:1e-4,1}"),
        (None, "None is no scale"),
        ([1, 2], "is no scale"),
        ({"scale": "log", "low": 1, "high": 0.1}, "swap them"),
        ({"scale": "log", "low": 1}, "None is not a finite number"),
        ({"scale": "normal", "low": 0, "high": 1}, "use one of log"),
        ({"scale": "choice", "values": []}, "write at least one value"),
    ],
)
def test_a_bad_axis_is_named(declared, mend):
    with pytest.raises(SpaceError) as caught:
        Space.parse({"optimizer": {"lr": declared}})
    assert caught.value.key == "optimizer.lr"
    assert str(caught.value).startswith("optimizer.lr: ")
    assert mend in caught.value.message


@pytest.mark.parametrize("room", [caviar.space, caviar.refine], ids=lambda room: room.__name__)
def test_the_examples_in_docstrings_run(room):
    names = [f"{room.__name__}.{m.name}" for m in pkgutil.iter_modules(room.__path__)]
    results = [doctest.testmod(importlib.import_module(name)) for name in names]
    assert sum(r.attempted for r in results) >= 4
    assert not any(r.failed for r in results)
