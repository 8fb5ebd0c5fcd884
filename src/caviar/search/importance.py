"""How much each hyperparameter of a study matters, measured once for terminal and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from caviar.ledger import Trial
from caviar.refine.importance import Importance, measure, sentences
from caviar.refine.surrogate import TOP
from caviar.search.pooled import latest_stage_with, pooled_trials
from caviar.search.study import Study
from caviar.space import Space

OTHER_MEASURE = (
    "What refine says an axis takes part in is another measure and mostly a larger one: it counts "
    "what the axis does together with others, too, by a smooth model within the latest ranges."
)


@dataclass(frozen=True)
class StudyImportance:
    """What was measured, and from what."""

    axes: Sequence[Importance]
    """The most important first."""
    space: Space
    """Of the first stage, with the lecture's tiers."""
    trials: Sequence[Trial]
    """Of all stages that trained alike, as far as they say something of their setting."""
    losses: Sequence[float]
    """One for each trial, lower is better, infinite where training diverged."""

    @property
    def unexplained(self) -> float:
        """Share of the variance that no axis explains by itself: interactions, noise, and what
        trees do not learn from so few trials."""
        return max(0.0, 1 - sum(axis.share for axis in self.axes))

    @property
    def chance(self) -> float:
        """What no axis' share exceeds by chance, in 95 % of studies."""
        return self.axes[0].chance

    def sentences(self) -> list[str]:
        """What was seen beyond chance, where the tiers and the measurement disagree, and what
        would tell where it is open."""
        return sentences(self.axes, len(self.trials))

    def rows(self) -> list[list[str]]:
        """Of a table: key, tier, share, its interval, PED-ANOVA's share, its interval."""
        return [
            [
                one.axis.key,
                str(one.axis.tier or ""),
                f"{one.share:.0%}",
                f"{one.low:.0%} … {one.high:.0%}",
                f"{one.ped:.0%}",
                f"{one.ped_low:.0%} … {one.ped_high:.0%}",
            ]
            for one in self.axes
        ]


def importance_stage(study: Study) -> str:
    """The stage whose overrides decide which trials compare: the latest that has enough of them.

    A stage that has just begun says nothing yet, and would leave out all that is known.
    """
    return latest_stage_with(study, TOP)


def study_importance(
    study: Study, tiers: Mapping[str, int], most: int | None = None
) -> StudyImportance:
    """Measure the importance of each axis, from all trials that compare.

    Arguments:
        study: that has begun a stage.
        tiers: config key → the lecture's tier.
        most: how many trials of a large stage are enough; all for None.

    Raises:
        TooFewTrials: fewer than five trials, or all of them diverged, or all equal.
    """
    first, _, trials = pooled_trials(study, importance_stage(study), most)
    # On the first stage's box: shares within a narrowed one would say how well refine has worked.
    space = Space(tuple(replace(axis, tier=tiers.get(axis.key)) for axis in first))
    losses = [t.result.loss(study.mode) for t in trials if t.result]
    axes = measure(space, [t.point for t in trials], losses)
    return StudyImportance(axes, space, trials, losses)
