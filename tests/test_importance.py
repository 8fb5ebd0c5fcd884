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

from caviar.refine import TooFewTrials
from caviar.refine.fanova import DEPTH, TREES, Forest
from caviar.refine.importance import (
    BEST,
    Importance,
    measure,
    ped_shares,
    prepared,
    sentences,
    trials_to_rank,
)
from caviar.space import Axis, Choice, Integer, Linear, Log, OneMinusLog, Space

LR, BETA, WIDTH = (
    Axis("optimizer.lr", Log(1e-4, 1.0), 1),
    Axis("optimizer.momentum", OneMinusLog(1e-3, 0.1), 2),
    Axis("model.width", Integer(16, 128), 2),
)


def drawn(
    space: Space, loss: Callable[[Any], Any], count: int = 300
) -> tuple[list[dict[str, Any]], list[float]]:
    columns = space.draw(0, "01", count)
    rows = zip(*(c.tolist() for c in columns.values()), strict=True)
    points = [dict(zip(columns, row, strict=True)) for row in rows]
    return points, list(loss(space.to_unit(columns)))


def by_key(found: list[Importance]) -> dict[str, Importance]:
    return {i.axis.key: i for i in found}


def test_a_sum_has_shares_as_the_squares_of_its_slopes() -> None:
    """f = 3 u₁ + 2 u₂ + u₃ on the unit cube: 9, 4 and 1 of 14, whatever the scales are."""
    space = Space((LR, BETA, WIDTH))
    found = by_key(measure(space, *drawn(space, lambda u: u @ [3.0, 2.0, 1.0]), resamples=8))
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
    ours = by_key(measure(space, points, losses, resamples=4))
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
    found = measure(space, *drawn(space, lambda u: (u - 0.5).prod(axis=1)), resamples=4)
    assert all(i.share < 0.2 for i in found)


def test_a_choice_without_order_and_one_that_does_nothing() -> None:
    act = Axis("model.act", Choice(("relu", "gelu", "tanh")))
    space = Space((act, WIDTH))
    effect = np.array([0.0, 2.0, 0.5])
    points, losses = drawn(
        space, lambda u: effect[np.minimum(np.floor(u[:, 0] * 3), 2).astype(int)]
    )
    found = measure(space, points, losses, resamples=4)
    assert found[0].axis.key == "model.act"
    assert found[0].share > 0.9
    assert found[1].high < 0.1


def test_diverged_trials_are_the_worst() -> None:
    space = Space((LR, BETA))

    def loss(u: Any) -> Any:
        return np.where(u[:, 0] > 0.7, math.inf, 0.1 * u[:, 1])

    found = by_key(measure(space, *drawn(space, loss), resamples=4))
    assert found["optimizer.lr"].share > 0.3
    assert all(math.isfinite(i.share) for i in found.values())


def test_points_outside_of_the_coarse_walls_count() -> None:
    space = Space((LR, BETA))
    points, losses = drawn(space, lambda u: u[:, 0], 60)
    points.append({"optimizer.lr": 5.0, "one_minus.optimizer.momentum": 0.5})
    assert measure(space, points, [*losses, 2.0], resamples=3)[0].axis.key == "optimizer.lr"


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
        one = by_key(measure(space, points, losses, resamples=12))["optimizer.lr"]
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
    ours = ped_shares(space, units, scores)
    assert ours == pytest.approx([theirs[str(j)] / whole for j in range(3)], abs=0.03)


# -- interactions


def test_an_interaction_is_that_of_two() -> None:
    """f = (u₁ - ½)(u₂ - ½): all of the variance is theirs together, and the map shows it."""
    space = Space((LR, BETA, WIDTH))
    points, losses = drawn(space, lambda u: (u[:, 0] - 0.5) * (u[:, 1] - 0.5), 1500)
    forest = Forest(space, *prepared(space, points, losses), seed=0)
    assert forest.interaction(0, 1) > 0.6
    assert forest.interaction(0, 2) < 0.05
    ends = np.array([0.05, 0.95])
    corners = forest.surface(0, 1, ends, ends)
    assert np.sign(corners).tolist() == [[1, -1], [-1, 1]]


def test_the_parts_of_a_tree_with_a_choice_add_up() -> None:
    """With all axes' effects and interactions counted, nothing of two axes is left over."""
    act = Axis("model.act", Choice(("relu", "gelu", "tanh")))
    space = Space((LR, act))
    effect = np.array([0.0, 2.0, 0.5])

    def loss(u: Any) -> Any:
        return u[:, 0] * effect[np.minimum(np.floor(u[:, 1] * 3), 2).astype(int)]

    forest = Forest(space, *prepared(space, *drawn(space, loss, 200)), seed=0)
    assert forest.shares().sum() + forest.interaction(0, 1) == pytest.approx(1.0, abs=1e-9)


# -- in words


def one(axis: Axis, share: float, low: float, high: float) -> Importance:
    return Importance(axis, share, low, high, share, low, high)


def test_a_tier_that_is_contradicted_is_said() -> None:
    found = [one(WIDTH, 0.6, 0.5, 0.7), one(LR, 0.2, 0.1, 0.3), one(BETA, 0.01, 0.0, 0.03)]
    said = sentences(found, 50)
    assert (
        "model.width (tier 2) matters more here than optimizer.lr (tier 1): 60% against 20%."
        in said
    )
    assert "optimizer.momentum is of tier 2, but explains less than 5% here." in said
    assert not any("cannot be ranked" in s for s in said)


def test_an_open_ranking_says_how_many_trials_would_tell() -> None:
    found = [one(LR, 0.4, 0.2, 0.6), one(WIDTH, 0.3, 0.1, 0.5)]
    assert trials_to_rank(found, 50) == math.ceil(50 * 4**2)
    said = sentences(found, 50)
    assert said == [
        "Nothing measured contradicts the tiers.",
        "optimizer.lr and model.width cannot be ranked yet: about 750 more trials would tell "
        "them apart.",
    ]
