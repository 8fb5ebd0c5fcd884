"""Refine: what the next ranges are, and which trials they are read from."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from caviar.refine import METHODS, TooFewTrials, candidates, refine
from caviar.refine.ranges import SHRINK_LIMIT, TOP
from caviar.refine.surrogate import normal_scores
from caviar.space import Axis, Choice, Integer, Linear, Log, LogInteger, OneMinusLog, Space

both = pytest.mark.parametrize("method", METHODS)
few = settings(max_examples=6, deadline=None)


def space_of(**scales):
    return Space(tuple(Axis(f"a.{name}", scale) for name, scale in scales.items()))


def draw(space, count, stage="01_coarse", seed=0):
    columns = space.draw(seed, stage, count)
    rows = zip(*(c.tolist() for c in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def bowl(coarse, points, centre, weights=None):
    """Squared distance from `centre` in coarse unit coordinates."""
    units = coarse.to_unit({name: [p[name] for p in points] for name in coarse.names})
    return (np.asarray(weights or 1.0) * (units - centre) ** 2).sum(axis=1)


def rounds(coarse, centre, counts, method="surrogate", **options):
    """Spaces of all stages, each refined from the ones before."""
    spaces, points = [coarse], []
    for stage, count in enumerate(counts):
        points += draw(spaces[-1], count, f"stage {stage}")
        losses = bowl(coarse, points, centre)
        spaces.append(refine(coarse, spaces[-1], points, losses, method=method, **options).space)
    return spaces


def on_line(scale, values, losses, method="top_k", parent=None):
    """Refine one axis from chosen trials."""
    space = space_of(x=scale)
    points = [{space.names[0]: v} for v in values]
    parent = space_of(x=parent) if parent else space
    return refine(space, parent, points, losses, method=method)


# -- ranges


@both
def test_ranges_close_in_on_the_optimum(method):
    coarse = space_of(lr=Log(1e-6, 1), beta=OneMinusLog(1e-3, 0.1), p=Linear(0, 0.5))
    spaces = rounds(coarse, [0.6, 0.5, 0.4], [30, 15], method)
    last = spaces[-1]
    target = coarse.from_unit(np.array([[0.6, 0.5, 0.4]]))
    assert ((last.to_unit(target) > 0) & (last.to_unit(target) < 1)).all()
    ends = {a.name: [a.scale.low, a.scale.high] for a in last}
    assert (np.diff(coarse.to_unit(ends), axis=0) < 0.7).all()


@both
@pytest.mark.parametrize("scale", [Log(1e-6, 1), Linear(-3, 5)])
def test_no_range_narrows_below_its_limit(method, scale):
    spaces = rounds(space_of(x=scale), [0.37], [30, 20], method)
    for old, new in itertools.pairwise(spaces):
        ends = old.to_unit({"a.x": [new.axes[0].scale.low, new.axes[0].scale.high]})
        assert SHRINK_LIMIT - 1e-3 <= ends[1, 0] - ends[0, 0] < 0.8
        assert ends.min() >= 0
        assert ends.max() <= 1


def test_top_k_pads_the_box_of_the_best_five():
    values = [3, 4, 5, 6, 7, 0.5, 1.5, 8.5, 9.5]
    losses = [2.1, 1, 0, 1.1, 2, 9, 6, 6, 9]
    found = on_line(Linear(0, 10), values, losses)
    assert found.top == [2, 1, 3, 4, 0]
    assert found.space.axes[0].scale == Linear(2, 8)  # 3 - 4/4, 7 + 4/4
    powers = on_line(Log(1e-10, 1), [10 ** (v - 10) for v in values], losses)
    assert powers.space.axes[0].scale == Log(1e-8, 1e-2)  # the same in unit coordinates


def test_top_k_pads_by_the_number_that_did_not_diverge():
    losses = [0.1, 0, 0.2, *[math.inf] * 5]
    found = on_line(Linear(0, 10), [4, 5, 6, 0.5, 1.5, 2.5, 8, 9], losses)
    assert found.space.axes[0].scale == Linear(3, 7)  # 4 - 2/2, 6 + 2/2


def test_top_k_pools_all_stages_but_stays_in_the_parent():
    values = [3, 4, 5, 6, 7.9, 0.5, 1.5, 8.5, 9.5]
    losses = [2.1, 1, 0, 1.1, 2, 9, 6, 6, 9]
    found = on_line(Linear(0, 10), values, losses, parent=Linear(2.5, 7.5))
    assert found.space.axes[0].scale == Linear(2.5, 7.5)


# -- whole numbers, choices, axes without effect


@both
@few
@given(low=st.integers(1, 40), steps=st.integers(2, 30), centre=st.floats(0, 1))
def test_integers_narrow_by_a_step(method, low, steps, centre):
    coarse = space_of(x=Integer(low, low + steps), y=Linear(-1, 1))
    points = draw(coarse, 25)
    found = refine(coarse, coarse, points, bowl(coarse, points, [centre, 0.5]), method=method)
    old, new = coarse.axes[0].scale, found.space.axes[0].scale
    used = [points[i]["a.x"] for i in found.top]
    kept_or_alarmed = " ".join(found.reasons["a.x"])
    if "kept" in kept_or_alarmed or steps < 4:  # too few values to give one up on each side
        return
    assert new.low > old.low or min(used) == old.low or "low wall" in kept_or_alarmed
    assert new.high < old.high or max(used) == old.high or "high wall" in kept_or_alarmed


@both
@few
@given(st.data(), st.integers(0, 2**16))
def test_integers_survive_any_surface(method, data, seed):
    scale = data.draw(st.sampled_from([Integer(1, 3), Integer(0, 2), LogInteger(1, 4)]))
    centre = data.draw(st.floats(-3, 4))
    coarse = spaces = space_of(x=scale)
    points = []
    for stage in range(3):
        points += draw(spaces, 8, str(stage), seed)
        losses = bowl(coarse, points, [centre])
        spaces = refine(coarse, spaces, points, losses, method=method).space
        assert spaces.axes[0].scale.low >= min(scale.low, 1)


@both
def test_choices_keep_what_the_best_five_use(method):
    coarse = space_of(b=Choice((16, 32, 64, 128)), act=Choice(("relu", "tanh", None)))
    points = draw(coarse, 30)
    cost = {16: 3, 32: 0, 64: 0.1, 128: 2, "relu": 1, "tanh": 3, None: 0}
    losses = [cost[p["a.b"]] + cost[p["a.act"]] + 1e-3 * i for i, p in enumerate(points)]
    found = refine(coarse, coarse, points, losses, method=method)
    best = [points[i] for i in found.top]
    for axis in found.space:
        assert set(axis.scale.values) == {p[axis.name] for p in best}
        assert len(axis.scale.values) < len(coarse.axis(axis.name).scale.values)
    assert list(found.space.axes[0].scale.values) == sorted(found.space.axes[0].scale.values)


@both
def test_an_axis_without_effect_keeps_its_range_or_freezes(method):
    coarse = space_of(lr=Log(1e-6, 1), idle=OneMinusLog(1e-3, 0.1), act=Choice(("a", "b")))
    points = draw(coarse, 30)
    losses = bowl(coarse, points, [0.5, 0, 0], [1, 0, 0])
    kept = refine(coarse, coarse, points, losses, method=method)
    assert kept.space.axes[1:] == coarse.axes[1:]
    assert kept.space.axes[0] != coarse.axes[0]
    assert kept.effects["a.lr"] > 0.5 > 0.05 > kept.effects["one_minus.a.idle"]

    frozen = refine(coarse, coarse, points, losses, method=method, freeze=True)
    best = points[frozen.top[0]]
    assert frozen.space.names == coarse.names
    assert frozen.space.axes[1].scale == Choice((best["one_minus.a.idle"],), complement=True)
    assert frozen.space.axes[2].scale == Choice((best["a.act"],))
    assert "frozen at the best trial's value" in frozen.reasons["one_minus.a.idle"][-1]

    points += draw(frozen.space, 10, "02_fine")
    losses = bowl(coarse, points, [0.5, 0, 0], [1, 0, 0])
    again = refine(coarse, frozen.space, points, losses, method=method)
    assert again.space.axes[1:] == frozen.space.axes[1:]


# -- trials


@both
@pytest.mark.parametrize("worst", [math.inf, math.nan, -math.inf])
def test_diverged_trials_are_the_worst(method, worst):
    coarse = space_of(lr=Log(1e-6, 1), p=Linear(0, 0.5))
    points = draw(coarse, 30)
    losses = bowl(coarse, points, [0.4, 0.5])
    diverged = coarse.to_unit({n: [p[n] for p in points] for n in coarse.names})[:, 0] > 0.6
    found = refine(coarse, coarse, points, np.where(diverged, worst, losses), method=method)
    bad = refine(coarse, coarse, points, np.where(diverged, math.inf, losses), method=method)
    assert found == bad
    assert not diverged[list(found.top)].any()
    assert found.space.axes[0].scale.high < 0.1
    chosen = candidates(coarse, points, np.where(diverged, worst, losses), 30, method)
    assert not diverged[chosen].any()
    assert len(chosen) == (~diverged).sum()


def test_scores_of_ties_are_those_of_their_middle_rank():
    loss = np.random.default_rng(0).integers(0, 6, 50).astype(float)
    loss[:7] = np.inf
    below = (loss[:, None] > loss).sum(axis=1)
    alike = (loss[:, None] == loss).sum(axis=1)
    assert normal_scores(loss).tolist() == ndtri((below + alike / 2) / 50).tolist()


@both
@pytest.mark.parametrize("alive", [1, 2, 5])
def test_a_few_survivors_are_enough(method, alive):
    coarse = space_of(lr=Log(1e-6, 1), n=Integer(1, 4), b=Choice((1, 2)))
    points = draw(coarse, 12)
    losses = [float(i) if i < alive else math.inf for i in range(12)]
    found = refine(coarse, coarse, points, losses, method=method)
    assert found.top == list(range(alive))
    assert len(found.space.point(0, "02_fine", 0)) == 3


@both
def test_equal_losses_teach_nothing(method):
    coarse = space_of(lr=Log(1e-6, 1), n=Integer(1, 4))
    assert refine(coarse, coarse, draw(coarse, 12), [0.5] * 12, method=method).space == coarse


@pytest.mark.parametrize("losses", [[], [1.0] * (TOP - 1), [math.inf] * 8, [math.nan] * 8])
def test_too_few_trials_are_refused(losses):
    coarse = space_of(lr=Log(1e-6, 1))
    with pytest.raises(TooFewTrials, match=r"takes at least 5|all 8 trials diverged"):
        refine(coarse, coarse, draw(coarse, len(losses)), losses)


@both
def test_the_same_trials_give_the_same_file(method):
    coarse = space_of(lr=Log(1e-6, 1), b=Choice((1, 2)), n=Integer(1, 9))
    points = draw(coarse, 20)
    losses = bowl(coarse, points, [0.3, 0.2, 0.9])
    first, second = (refine(coarse, coarse, points, losses, method=method) for _ in range(2))
    assert first == second
    assert first.reasons.keys() == set(coarse.names)


def test_candidates_prefer_the_smooth_to_the_lucky():
    coarse = space_of(x=Linear(0, 1), y=Linear(0, 1))
    truth = {"surrogate": [], "top_k": []}
    for seed in range(8):
        points = draw(coarse, 40, seed=seed)
        loss = bowl(coarse, points, [0.3, 0.3])
        seen = loss + 0.15 * np.random.default_rng(seed).standard_normal(40)
        for method, found in truth.items():
            chosen = candidates(coarse, points, seen, 3, method)
            assert len(chosen) == 3
            found.append(loss[chosen].mean())
        assert chosen == np.argsort(seen)[:3].tolist()  # top_k: by loss alone
    assert np.mean(truth["surrogate"]) < 0.8 * np.mean(truth["top_k"])
