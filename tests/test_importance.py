"""Importance against functions whose answer is known in closed form; also where Optuna's plain
answer is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.trial import create_trial
from sklearn.ensemble import RandomForestRegressor

from caviar.refine import TooFewTrials
from caviar.refine.chance import explained, interaction
from caviar.refine.fanova import DEPTH, TREES, Forest
from caviar.refine.importance import Importance, measure, prepared, sentences, trials_to_rank
from caviar.refine.ped import BEST, divergences
from caviar.refine.surrogate import features
from caviar.space import Axis, Choice, Integer, Linear, Log, OneMinusLog, Space

LR, BETA, WIDTH = (
    Axis("optimizer.lr", Log(1e-4, 1.0), 1),
    Axis("optimizer.momentum", OneMinusLog(1e-3, 0.1), 2),
    Axis("model.width", Integer(16, 128), 2),
)


def drawn(
    space: Space, loss: Callable[[Any], Any], count: int = 300, seed: int = 0
) -> tuple[list[dict[str, Any]], list[float]]:
    columns = space.draw(seed, "01", count)
    rows = zip(*(c.tolist() for c in columns.values()), strict=True)
    points = [dict(zip(columns, row, strict=True)) for row in rows]
    return points, list(loss(space.to_unit(columns)))


def noise(seed: int, count: int) -> list[float]:
    return np.random.default_rng(seed).standard_normal(count).tolist()


def by_key(found: list[Importance]) -> dict[str, Importance]:
    return {i.axis.key: i for i in found}


def test_a_sum_has_shares_as_the_squares_of_its_slopes() -> None:
    """f = 3 u₁ + 2 u₂ + u₃ on the unit cube: 9, 4 and 1 of 14, whatever the scales are."""
    space = Space((LR, BETA, WIDTH))
    found = by_key(measure(space, *drawn(space, lambda u: u @ [3.0, 2.0, 1.0])))
    shares = [found[a.key].share for a in space]
    assert shares == pytest.approx([9 / 14, 4 / 14, 1 / 14], abs=0.06)
    for one in found.values():
        assert one.low <= one.share <= one.high


@pytest.mark.slow
def test_the_plain_answer_is_wrong_on_a_log_axis_and_ours_is_right() -> None:
    """A loss that rises over each decade of lr, and as much along a linear axis: one half each."""
    linear = Axis("model.dropout", Linear(0.0, 0.5))
    space = Space((LR, linear))
    points, losses = drawn(space, lambda u: u.sum(axis=1), 400)
    ours = by_key(measure(space, points, losses))
    assert ours["optimizer.lr"].share == pytest.approx(0.5, abs=0.08)
    shown = {
        "optimizer.lr": FloatDistribution(1e-4, 1.0, log=True),
        "model.dropout": FloatDistribution(0.0, 0.5),
    }
    study = optuna.create_study()
    for point, value in zip(points, losses, strict=True):
        study.add_trial(create_trial(params=point, distributions=shown, value=value))
    plain = FanovaImportanceEvaluator(seed=0).evaluate(study)
    assert plain["optimizer.lr"] < 0.25


def test_an_interaction_is_nobodys_own() -> None:
    """f = (u₁ - ½)(u₂ - ½) has no main effects."""
    space = Space((LR, BETA))
    found = measure(space, *drawn(space, lambda u: (u - 0.5).prod(axis=1)))
    assert all(i.share < 0.1 for i in found)
    assert not any(i.seen for i in found)


def test_a_choice_without_order_and_one_that_does_nothing() -> None:
    act = Axis("model.act", Choice(("relu", "gelu", "tanh")))
    space = Space((act, WIDTH))
    effect = np.array([0.0, 2.0, 0.5])
    points, losses = drawn(
        space, lambda u: effect[np.minimum(np.floor(u[:, 0] * 3), 2).astype(int)]
    )
    found = measure(space, points, losses)
    assert found[0].axis.key == "model.act"
    assert found[0].share > 0.9
    assert found[1].high < 0.1


def test_diverged_trials_are_the_worst() -> None:
    space = Space((LR, BETA))

    def loss(u: Any) -> Any:
        return np.where(u[:, 0] > 0.7, math.inf, 0.1 * u[:, 1])

    found = by_key(measure(space, *drawn(space, loss)))
    assert found["optimizer.lr"].share > 0.3
    assert all(math.isfinite(i.share) for i in found.values())


def test_points_outside_of_the_coarse_walls_count() -> None:
    space = Space((LR, BETA))
    points, losses = drawn(space, lambda u: u[:, 0], 60)
    points.append({"optimizer.lr": 5.0, "one_minus.optimizer.momentum": 0.5})
    assert measure(space, points, [*losses, 2.0])[0].axis.key == "optimizer.lr"


# -- beyond chance

SIX = Space(
    (
        LR,
        BETA,
        WIDTH,
        Axis("optimizer.weight_decay", Log(1e-6, 1e-2)),
        Axis("model.dropout", Linear(0.0, 0.5)),
        Axis("model.act", Choice(("relu", "gelu", "tanh"))),
    )
)


@pytest.mark.parametrize("count", [30, pytest.param(96, marks=pytest.mark.nightly)])
def test_noise_explains_nothing(count: int) -> None:
    """Of six studies, in each of which something is seen with a probability of one in twenty."""
    found = [
        measure(SIX, drawn(SIX, lambda u: u[:, 0], count, seed)[0], noise(seed, count))
        for seed in range(6)
    ]
    assert sum(any(i.seen for i in study) for study in found) <= 1
    shares = [[i.share, i.ped] for study in found for i in study]
    assert np.mean(shares, axis=0).max() < 0.06


def test_a_strong_axis_keeps_its_share_and_a_weaker_one_is_seen() -> None:
    points, losses = drawn(SIX, lambda u: u[:, 0], 54)
    strong = measure(SIX, points, losses)
    assert [i.axis.key for i in strong if i.share > 0.05] == ["optimizer.lr"]
    assert strong[0].share > 0.9
    assert strong[0].ped > 0.6
    # 30 % of the variance: a uniform slope varies by 1/12
    blurred = np.array(losses) * (12 * 0.3) ** 0.5 + 0.7**0.5 * np.array(noise(1, 54))
    one = measure(SIX, points, blurred.tolist())[0]
    assert one.axis.key == "optimizer.lr"
    assert one.seen
    assert one.low < 0.3 < one.high


def test_two_axes_of_two_are_seen() -> None:
    """As a share of the forest's variance, each has 36 % without any effect, and 42 % here."""
    space = Space((LR, BETA))
    found = measure(space, *drawn(space, lambda u: u.sum(axis=1), 54))
    assert all(i.seen and 0.3 < i.share < 0.6 for i in found)


def test_an_axis_of_one_value_has_no_effect() -> None:
    space = Space((LR, Axis("model.act", Choice(("relu",)))))
    fixed = by_key(measure(space, *drawn(space, lambda u: u[:, 0], 30)))["model.act"]
    assert [fixed.share, fixed.ped] == pytest.approx([0, 0], abs=1e-9)
    assert fixed.high == fixed.chance < 0.05


def test_the_same_trials_have_the_same_importance() -> None:
    points, losses = drawn(SIX, lambda u: u[:, 0] + u[:, 5], 30)
    assert measure(SIX, points, losses) == measure(SIX, points, losses)
    assert measure(SIX, points, losses) != measure(SIX, points, losses, seed=1)


@pytest.mark.parametrize("losses", [[1.0] * 4, [math.inf] * 9, [0.5] * 9])
def test_nothing_can_be_told(losses: list[float]) -> None:
    space = Space((LR,))
    with pytest.raises(TooFewTrials):
        measure(space, [{"optimizer.lr": 0.1 / (i + 1)} for i in range(len(losses))], losses)


@pytest.mark.slow
def test_more_trials_narrow_the_interval() -> None:
    space = Space((LR, BETA, WIDTH))

    def width(count: int) -> float:
        rng = np.random.default_rng(1)
        points, losses = drawn(space, lambda u: u[:, 0] + 0.5 * rng.standard_normal(len(u)), count)
        one = by_key(measure(space, points, losses))["optimizer.lr"]
        return one.high - one.low

    assert width(200) < width(20)


# -- against Optuna's own evaluators


def optuna_study(units: Any, scores: Any) -> optuna.Study:
    study = optuna.create_study()
    shown = {str(j): FloatDistribution(0.0, 1.0) for j in range(units.shape[1])}
    for row, score in zip(units, scores, strict=True):
        params = {str(j): float(u) for j, u in enumerate(row)}
        study.add_trial(create_trial(params=params, distributions=shown, value=float(score)))
    return study


def numbers_and_scores() -> tuple[Space, Any, Any]:
    space = Space((LR, BETA, Axis("model.dropout", Linear(0.0, 0.5))))
    points, losses = drawn(space, lambda u: (u[:, 0] - 0.4) ** 2 + 0.2 * u[:, 0] * u[:, 1], 90)
    return space, *prepared(space, points, losses)


def test_fanova_is_optunas_on_the_same_forest() -> None:
    space, units, scores = numbers_and_scores()
    evaluator = FanovaImportanceEvaluator(n_trees=TREES, max_depth=DEPTH, seed=3)
    theirs = evaluator.evaluate(optuna_study(units, scores))
    ours = Forest(space, units, scores, seed=3).shares()
    assert ours == pytest.approx([theirs[str(j)] for j in range(3)], rel=1e-6)


def test_ped_anova_is_close_to_optunas() -> None:
    space, units, scores = numbers_and_scores()
    evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST)
    theirs = evaluator.evaluate(optuna_study(units, scores))
    whole = sum(theirs.values())
    ours = divergences(space, units, scores)
    ours /= ours.sum()
    assert ours == pytest.approx([theirs[str(j)] / whole for j in range(3)], abs=0.03)


# -- interactions


def test_an_interaction_is_that_of_two() -> None:
    """f = (u₁ - ½)(u₂ - ½): all of the variance is theirs together, and the map shows it."""
    space = Space((LR, BETA, WIDTH))
    points, losses = drawn(space, lambda u: (u[:, 0] - 0.5) * (u[:, 1] - 0.5), 1500)
    units, scores = prepared(space, points, losses)
    forest = Forest(space, units, scores, seed=0)
    assert interaction(space, units, scores, 0, 1)[0] > 0.6
    assert abs(explained(forest.interaction(0, 2), scores)) < 0.05
    ends = np.array([0.05, 0.95])
    corners = forest.surface(0, 1, ends, ends)
    assert np.sign(corners).tolist() == [[1, -1], [-1, 1]]


def test_two_axes_that_only_act_together_are_told_from_two_that_do_not() -> None:
    space = Space((LR, BETA))
    points, losses = drawn(space, lambda u: (u[:, 0] - 0.5) * (u[:, 1] - 0.5), 96)
    share, chance = interaction(space, *prepared(space, points, losses), 0, 1)
    assert share > chance
    share, chance = interaction(space, *prepared(space, points, noise(0, 96)), 0, 1)
    assert share <= chance


def test_the_effects_of_a_forest_with_a_choice_add_up() -> None:
    """All that two axes do, alone and together, is what scikit-learn says of trials left out."""
    act = Axis("model.act", Choice(("relu", "gelu", "tanh")))
    space = Space((LR, act))
    effect = np.array([0.0, 2.0, 0.5])

    def loss(u: Any) -> Any:
        return u[:, 0] * effect[np.minimum(np.floor(u[:, 1] * 3), 2).astype(int)]

    units, scores = prepared(space, *drawn(space, loss, 200))
    forest = Forest(space, units, scores, seed=0)
    ours = forest.main_effects().sum(axis=1) + forest.interaction(0, 1)
    inputs = features(space, units)
    fitted = RandomForestRegressor(TREES, max_depth=DEPTH, random_state=0).fit(inputs, scores)
    theirs = [[] for _ in scores]
    for tree, seen in zip(fitted.estimators_, fitted.estimators_samples_, strict=True):
        for i in np.setdiff1d(np.arange(len(scores)), seen):
            theirs[i].append(tree.predict(inputs[[i]]).item())
    expected = [np.mean(of_trial) if of_trial else 0.0 for of_trial in theirs]
    # Ours are without the mean of each tree over the box, which is much the same of all trees.
    assert np.corrcoef(ours, expected)[0, 1] > 0.98


# -- in words


def one(axis: Axis, share: float, low: float, high: float, chance: float = 0.02) -> Importance:
    return Importance(axis, share, low, high, share, low, high, chance)


def test_a_tier_that_is_contradicted_is_said() -> None:
    found = [one(WIDTH, 0.6, 0.5, 0.7), one(LR, 0.2, 0.1, 0.3), one(BETA, 0.01, 0.0, 0.03)]
    said = sentences(found, 50)
    assert (
        "model.width (tier 2) matters more here than optimizer.lr (tier 1): 60% against 20%."
        in said
    )
    assert "optimizer.momentum is of tier 2, but explains less than 5% here." in said
    assert "optimizer.momentum: no effect beyond chance was seen with 50 trials." in said
    assert not any("cannot be ranked" in s for s in said)


def test_what_is_inside_chance_is_not_ranked() -> None:
    nothing = [one(WIDTH, 0.09, 0.06, 0.2, 0.1), one(LR, 0.02, 0.0, 0.05, 0.1)]
    assert sentences(nothing, 54) == [
        "No effect beyond chance was seen with 54 trials, of any axis by itself."
    ]
    assert sentences([one(BETA, 0.5, 0.4, 0.6, 0.1), *nothing], 54) == [
        "optimizer.momentum (tier 2) matters more here than optimizer.lr (tier 1): 50% against 2%.",
        "model.width, optimizer.lr: no effect beyond chance was seen with 54 trials.",
    ]


def test_an_open_ranking_says_how_many_trials_would_tell() -> None:
    found = [one(LR, 0.4, 0.2, 0.6), one(WIDTH, 0.2, 0.1, 0.4)]
    assert trials_to_rank(found, 50) == math.ceil(50 * 2**2)
    said = sentences(found, 50)
    assert said == [
        "Nothing measured contradicts the tiers.",
        "optimizer.lr and model.width cannot be ranked yet: about 150 more trials would tell "
        "them apart.",
    ]


@pytest.mark.parametrize("second", [0.35, 0.4])
def test_an_open_ranking_asks_for_no_number_that_nobody_can_pay_for(second: float) -> None:
    said = sentences([one(LR, 0.4, 0.2, 0.6), one(WIDTH, second, 0.1, 0.5)], 50)
    assert said[-1].endswith("yet: no affordable number of trials would tell them apart.")
