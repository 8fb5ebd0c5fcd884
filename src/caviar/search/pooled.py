"""The trials of a study's stages together: what the next stage, and confirm, are read from."""

from __future__ import annotations

import math

from caviar.base.errors import UserError
from caviar.config.commands import caviar_command
from caviar.ledger import Ledger, Trial
from caviar.screen.view import counts
from caviar.search.provenance import trained_alike
from caviar.search.study import Study
from caviar.space import Space


def pooled_trials(
    study: Study, like: str, most: int | None = None
) -> tuple[Space, Space, list[Trial]]:
    """The coarse space, the latest space, and the finished trials that may be pooled.

    Failed trials say nothing of their setting. Stages that trained otherwise than the stage `like`,
    such as for fewer epochs, are left out, because their losses do not compare.

    Arguments:
        study: that has begun a stage.
        like: the stage.
        most: of a stage with many times as many trials, so many at even distances; all for None.
    """
    ledger, stages = study.ledger, study.search_stages()
    pooled = [
        trial
        for stage in stages
        if trained_alike(ledger.spec(stage), ledger.spec(like))
        for trial in _some(ledger, stage, most)
        if trial.result is not None and not math.isnan(trial.result.loss(study.mode))
    ]
    return study.begun_sweep(stages[0]).space, study.begun_sweep(stages[-1]).space, pooled


def _some(ledger: Ledger, stage: str, most: int | None) -> list[Trial]:
    total = ledger.overview(stage).total
    if most is None or total <= 2 * most:
        return ledger.trials(stage)
    return ledger.some(stage, [number * total // most for number in range(most)])


def latest_stage_with(study: Study, fewest: int) -> str:
    """The latest stage with `fewest` results or more; just the latest if there is none."""
    stages = study.search_stages()
    for stage in reversed(stages):
        losses = study.ledger.overview(stage).losses
        if sum(not math.isnan(loss) for loss in losses) >= fewest:
            return stage
    return stages[-1]


def refuse_too_early(study: Study) -> None:
    """A region read from the first trials of a stage is not the stage's.

    Raises:
        UserError: less than half of the latest stage has finished.
    """
    stage = study.search_stages()[-1]
    trials = study.ledger.trials(stage)
    finished = sum(t.finished for t in trials)
    if 2 * finished < len(trials):
        raise UserError(
            f"{finished} of {len(trials)} trials of {stage} have finished ({counts(trials)}); "
            f"wait for the others ({caviar_command('status', study.name)}), or write --early"
        )
