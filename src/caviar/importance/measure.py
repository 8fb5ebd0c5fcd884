"""fANOVA and PED-ANOVA on unit coordinates, with bootstrap intervals.

Both are Optuna's. On the values themselves fANOVA weighs a log axis by its raw width, 90 % of it on
the top decade; on unit coordinates each axis has the weight that its scale gives it. The losses
come as the normal scores of their ranks, because they span decades and end in infinity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
)
from optuna.trial import create_trial

from caviar.refine.ranges import TooFewTrials
from caviar.refine.surrogate import TOP, normal_scores, worst_if_diverged
from caviar.space import Axis, Choice, Space

Array = NDArray[np.float64]

TREES = 16  # of the forest; its spread is small beside that of the trials
DEPTH = 6  # of a tree; deeper ones learn the noise, and take long
RESAMPLES = 30
INTERVAL = (0.05, 0.95)  # quantiles of the bootstrap
BEST = 0.25  # the share of trials whose place PED-ANOVA compares with that of all


@dataclass(frozen=True)
class Importance:
    """How much one axis matters."""

    axis: Axis
    share: float
    """fANOVA: share of the variance of the losses' ranks that it explains by itself, 0 to 1."""
    low: float
    high: float
    """Of the share, the ends of its 90 % bootstrap interval."""
    ped: float
    """PED-ANOVA: how far the best quarter lies from all trials along it, shares of 1."""


def measure(
    space: Space,
    points: Sequence[Mapping[str, Any]],
    losses: Sequence[float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Importance]:
    """Importance of each axis, the most important first.

    Arguments:
        space: of the first stage; its box is what shares are about.
        points: search coordinates of finished trials.
        losses: one for each, lower is better, infinite where training diverged.
        resamples: of the bootstrap over trials.
        seed: of forests and resamples.

    Raises:
        TooFewTrials: fewer than five trials, or all of them diverged, or all equal.
    """
    loss = worst_if_diverged(losses)
    if len(loss) < TOP:
        raise TooFewTrials(f"finished trials: {len(loss)}; importance takes at least {TOP}")
    if len(np.unique(loss)) < 2:
        raise TooFewTrials(f"all {len(loss)} trials have the same loss; nothing can be told")
    units = space.to_unit({name: [p[name] for p in points] for name in space.names})
    scores = normal_scores(loss)
    rng = np.random.default_rng(seed)
    whole = _evaluate(space, units, scores, _forest(seed))
    best = PedAnovaImportanceEvaluator(target_quantile=BEST)
    peds = _evaluate(space, units, scores, best)
    drawn = []
    for number in range(resamples):
        chosen = rng.integers(len(loss), size=len(loss))
        if len(np.unique(scores[chosen])) < 2:
            continue
        drawn.append(_evaluate(space, units[chosen], scores[chosen], _forest(seed + 1 + number)))
    low, high = np.quantile(drawn, INTERVAL, axis=0)
    found = [
        Importance(
            axis,
            float(whole[j]),
            float(min(low[j], whole[j])),
            float(max(high[j], whole[j])),
            float(peds[j]),
        )
        for j, axis in enumerate(space)
    ]
    return sorted(found, key=lambda i: -i.share)


def _forest(seed: int) -> FanovaImportanceEvaluator:
    return FanovaImportanceEvaluator(n_trees=TREES, max_depth=DEPTH, seed=seed)


def _evaluate(
    space: Space, units: Array, scores: Array, evaluator: BaseImportanceEvaluator
) -> Array:
    """One number for each axis."""
    shown = [_distribution(axis, units[:, j]) for j, axis in enumerate(space)]
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    study.add_trials(
        [
            create_trial(
                params={str(j): _value(shown[j], u) for j, u in enumerate(row)},
                distributions={str(j): d for j, d in enumerate(shown)},
                value=float(score),
            )
            for row, score in zip(units, scores, strict=True)
        ]
    )
    found = evaluator.evaluate(study)
    total = sum(found.values())
    # PED-ANOVA gives divergences; fANOVA shares of the whole, interactions left out.
    scale = total if isinstance(evaluator, PedAnovaImportanceEvaluator) and total > 0 else 1.0
    return np.array([found.get(str(j), 0.0) / scale for j in range(len(space))])


def _distribution(axis: Axis, units: Array) -> BaseDistribution:
    """The unit interval, as far as later stages have grown past it; a choice as its values."""
    if isinstance(axis.scale, Choice) and not axis.scale.ordered:
        return CategoricalDistribution(list(range(len(axis.scale.values))))
    return FloatDistribution(min(0.0, float(units.min())), max(1.0, float(units.max())))


def _value(shown: BaseDistribution, unit: float) -> Any:
    if isinstance(shown, CategoricalDistribution):
        return min(int(unit * len(shown.choices)), len(shown.choices) - 1)
    return float(unit)
