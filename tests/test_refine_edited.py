"""Refine from a stage whose file was edited by hand: a list for a range, another kind of range."""

import itertools

import numpy as np
import pytest

from caviar.refine import refine
from caviar.space import Axis, Choice, Integer, Linear, Log, LogInteger, OneMinusLog, Space
from caviar.space.sweep_file import SweepFile
from test_refine import both, bowl, draw, space_of

RANGES = {
    "linear": (Linear(0, 32), Linear(2, 24)),
    "log": (Log(1, 32), Log(2, 32)),
    "integer": (Integer(0, 32), Integer(2, 24)),
    "log_integer": (LogInteger(1, 32), LogInteger(2, 24)),
}
NUMBERS = (Choice((4, 8, 16)), Choice((16, 4)), Choice((8,)), Choice((6.5, 12.25)))
# Each pair that a study lets follow one another: what its first stage has, and a later one's file.
PAIRS = [
    *((RANGES[one][0], RANGES[other][1]) for one, other in itertools.permutations(RANGES, 2)),
    *((first, later) for first, _ in RANGES.values() for later in NUMBERS),
    (OneMinusLog(1e-3, 0.1), Choice((0.01, 0.02), complement=True)),
    (OneMinusLog(1e-3, 0.1), Choice((0.05,), complement=True)),
    (Choice((0.01, 0.02, 0.05), complement=True), Choice((0.01, 0.05), complement=True)),
    (Choice((4, 8, 16, 32)), Choice((16, 4))),
    (Choice(("a", None, True, 1)), Choice((1, "a"))),
    (Choice(("a", None, True, 1)), Choice((True,))),
]


def axis_of(scale):
    """With a second axis, so that the first may matter or not."""
    return Space((Axis("a.x", scale), Axis("a.y", Linear(0, 1))))


@pytest.mark.parametrize(("method", "matters"), [("surrogate", 1.0), ("top_k", 0.0)])
@pytest.mark.parametrize(("first", "later"), PAIRS, ids=str)
def test_any_edited_stage_leads_to_a_legal_one(method, first, later, matters):
    coarse, parent = axis_of(first), axis_of(later)
    points = draw(coarse, 24) + draw(parent, 10, "02_fine")
    centre = 0.5 if first.prefix or isinstance(first, Choice) else first.to_unit(10).item()
    for stage in ("03_finest", "04_last"):
        losses = bowl(coarse, points, [centre, 0.6], [matters, 1.0])
        found = refine(coarse, parent, points, losses, method=method, freeze=not matters)
        file = SweepFile("s", stage, found.space, 10, "val/loss", "min")
        assert SweepFile.parse(file.text(), None).space == found.space
        old, new = parent.axes[0].scale, found.space.axes[0].scale
        assert isinstance(new, Choice) or type(new) is type(old)  # what was edited is meant
        if isinstance(old, Choice):
            assert set(new.values) <= set(old.values)
        assert not any("alarm" in reason for reason in found.reasons[coarse.names[0]])
        points += draw(found.space, 10, stage)
        assert np.isfinite(coarse.to_unit({n: [p[n] for p in points] for n in coarse.names})).all()
        parent = found.space


@both
@pytest.mark.parametrize(
    ("first", "values"),
    [
        (Integer(1, 128), (16, 32, 64)),
        (LogInteger(1, 128), (16, 32, 64)),
        (Log(1e-4, 1.0), (0.001, 0.01, 0.1)),
        (OneMinusLog(1e-3, 0.1), (0.002, 0.01, 0.05)),
    ],
    ids=str,
)
def test_a_list_in_a_ranges_place_is_seen_whole(method, first, values):
    """The model looks at all of its values: they differ, so the axis matters, and the best stay."""
    parent = axis_of(Choice(values, complement=bool(first.prefix)))
    coarse = axis_of(first)
    points = draw(coarse, 10) + draw(parent, 20, "02_fine")
    best = first.to_unit(values[-1]).item()
    losses = bowl(coarse, points, [best, 0.5], [1.0, 0.1])
    found = refine(coarse, parent, points, losses, method=method)
    assert found.effects[coarse.names[0]] > 0.5
    kept = found.space.axes[0].scale.values
    assert values[-1] in kept
    assert values[0] not in kept


def test_a_list_keeps_what_the_best_trials_are_nearest_to():
    coarse = space_of(x=Integer(1, 128))
    parent = space_of(x=Choice((16, 32, 64)))
    used = [1, 20, 30, 33, 50, 64, 70, 90, 128]
    losses = [9, 4, 0.1, 0.2, 0.3, 0.4, 0.5, 4, 9]
    found = refine(coarse, parent, [{"a.x": x} for x in used], losses, method="top_k")
    assert found.space.axes[0].scale == Choice((32, 64))
    assert found.reasons["a.x"][-1] == "the best 5 are nearest to these"


def test_a_range_made_logarithmic_is_measured_by_decades():
    """Not as crowded against the old low wall, which all of its draws would seem to lean on."""
    coarse, parent = space_of(x=Linear(0, 10)), space_of(x=Log(1e-3, 10))
    points = draw(coarse, 12) + draw(parent, 20, "02_fine")
    losses = np.log([p["a.x"] / 0.05 for p in points]) ** 2
    found = refine(coarse, parent, points, losses)
    scale = found.space.axes[0].scale
    assert type(scale) is Log
    assert 2e-3 < scale.low < 0.05 < scale.high < 2
