"""Refine: the next ranges hold the optimum, walls hold or give way, and rounds beat one draw."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caviar.refine import METHODS, TooFewTrials, candidates, refine
from caviar.refine.ranges import SHRINK_LIMIT, TOP
from caviar.space import Axis, Choice, Integer, Linear, Log, LogInteger, OneMinusLog, Space

both = pytest.mark.parametrize("method", METHODS)
few = settings(max_examples=15, deadline=None)


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
    spaces = rounds(coarse, [0.6, 0.5, 0.4], [30, 20, 20], method)
    last = spaces[-1]
    target = coarse.from_unit(np.array([[0.6, 0.5, 0.4]]))
    assert ((last.to_unit(target) > 0) & (last.to_unit(target) < 1)).all()
    ends = {a.name: [a.scale.low, a.scale.high] for a in last}
    assert (np.diff(coarse.to_unit(ends), axis=0) < 0.7).all()


@both
@few
@given(centre=st.floats(0.2, 0.8), scale=st.sampled_from([Log(1e-6, 1), Linear(-3, 5)]))
def test_no_range_narrows_below_its_limit(method, centre, scale):
    coarse = space_of(x=scale)
    for old, new in zip(
        *(rounds(coarse, [centre], [30, 20], method)[i:] for i in (0, 1)), strict=False
    ):
        ends = old.to_unit({"a.x": [new.axes[0].scale.low, new.axes[0].scale.high]})
        assert SHRINK_LIMIT - 1e-3 <= ends[1, 0] - ends[0, 0] < 1
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


# -- walls


GROWING = {
    "log": (Log(1e-6, 1e-4), 1.6),
    "log low": (Log(1e-2, 1), -0.6),
    "linear": (Linear(0, 5), 1.6),
    "one_minus_log": (OneMinusLog.from_natural(0.9, 0.99), -0.6),  # β of 0.9975
    "integer": (Integer(1, 8), 1.6),
    "log_integer": (LogInteger(16, 64), 1.6),
    "log_integer low": (LogInteger(64, 512), -0.4),
}


@both
@pytest.mark.parametrize("case", GROWING)
def test_an_optimum_outside_the_walls_is_reached(method, case):
    scale, centre = GROWING[case]
    coarse = space_of(x=scale)
    spaces = rounds(coarse, [centre], [30, 15, 15, 15], method)
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


def test_the_alarm_names_the_wall_of_beta_itself():
    coarse = space_of(beta=OneMinusLog.from_natural(0.9, 0.99))
    points = draw(coarse, 20)
    found = refine(coarse, coarse, points, bowl(coarse, points, [-0.5]))
    (alarm,) = [r for r in found.reasons["one_minus.a.beta"] if "alarm" in r]
    assert "at the high wall" in alarm  # more momentum is less complement


def test_only_original_walls_raise_the_alarm():
    coarse = space_of(x=Linear(0, 10))
    parent = space_of(x=Linear(2, 6))
    points = draw(coarse, 20) + draw(parent, 10, "02_fine")
    found = refine(coarse, parent, points, bowl(coarse, points, [0.6]))
    assert found.space.axes[0].scale.high <= 6


WALLED = [Log(1e-6, 1e-2), OneMinusLog(1e-3, 0.1), Linear(0, 0.5), Linear(0.2, 1), Integer(1, 6)]


@both
@pytest.mark.parametrize("scale", [*WALLED, LogInteger(1, 8)], ids=str)
@pytest.mark.parametrize("centre", [-5, 6])
def test_hard_walls_hold(method, scale, centre):
    for space in rounds(space_of(x=scale), [centre], [20, 10, 10, 10], method):
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
    for stage in range(4):
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
    with pytest.raises(TooFewTrials, match="takes at least 5"):
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
    points = [*draw(coarse, 40), {"a.x": 0.95, "a.y": 0.95}]
    losses = [*bowl(coarse, points[:-1], [0.3, 0.3]), -1.0]  # far out among bad ones, yet the best
    assert candidates(coarse, points, losses, 3, "top_k")[0] == 40
    chosen = candidates(coarse, points, losses, 3)
    assert 40 not in chosen
    assert set(chosen) <= set(np.argsort(losses)[:8].tolist())


# -- the whole: coarse to fine beats one round of the same total (METHOD: "coarse to fine")

REPETITIONS = 200
SIX = space_of(**{f"x{j}": Log(1e-4, 1) for j in range(6)})


def regret(repetition, counts, noise, method="surrogate"):
    """Loss without noise of the setting that a search of a 6-D surface ends with."""
    rng = np.random.default_rng(repetition)
    weights = rng.permutation([1, 0.5, 0.5, 0.3, 0.05, 0]).tolist()
    centre = rng.uniform(0.1, 0.9, 6)
    space, points, seen = SIX, [], np.empty(0)
    for stage, count in enumerate(counts):
        if points:
            space = refine(SIX, space, points, seen, method=method).space
        new = draw(space, count, f"stage {stage}", repetition)
        points += new
        loss = bowl(SIX, new, centre, weights)
        seen = np.concatenate([seen, loss + noise * rng.standard_normal(count)])
    return float(bowl(SIX, [points[int(np.argmin(seen))]], centre, weights)[0])


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("counts", [(30, 14, 10), (20, 20, 20)])
def test_rounds_beat_one_random_round(counts, noise):
    gain = np.array(
        [regret(i, (sum(counts),), noise) - regret(i, counts, noise) for i in range(REPETITIONS)]
    )
    error = gain.std(ddof=1) / math.sqrt(REPETITIONS)
    if noise:
        assert gain.mean() > -error  # does not lose
    else:
        assert gain.mean() > 3 * error  # beats
