"""The next stage's sweep file, from all trials so far: `caviar refine`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caviar.errors import UserError
from caviar.ledger import Trial
from caviar.overrides import point_overrides
from caviar.refine import Refinement, TooFewTrials, refine
from caviar.search.study import Study
from caviar.space import Space
from caviar.space.sweep_file import SweepFile
from caviar.view import counts

LOWER = (
    "search lower learning rates under another name: search.study=ANOTHER_NAME "
    "space.optimizer.lr='${log:1e-6,1e-2}'"
)


def learned(study: Study, overrides: Sequence[str]) -> tuple[Space, Space, list[Trial]]:
    """The coarse space, the latest space, and the finished trials that may be pooled.

    Failed trials say nothing of their setting. Stages trained under other overrides, such as
    fewer epochs, are left out, because their losses do not compare.
    """
    ledger, stages = study.ledger, study.search_stages()
    sweeps = [study.begun_sweep(s) for s in stages]
    pooled = [
        trial
        for stage, sweep in zip(stages, sweeps, strict=True)
        if sorted(sweep.overrides) == sorted(overrides)
        for trial in ledger.trials(stage)
        if trial.result is not None and not math.isnan(trial.result.loss(study.mode))
    ]
    return sweeps[0].space, sweeps[-1].space, pooled


def latest_learned(study: Study, fewest: int) -> str:
    """The latest stage with `fewest` results or more; just the latest if there is none."""
    stages = study.search_stages()
    for stage in reversed(stages):
        losses = [t.result.loss(study.mode) for t in study.ledger.trials(stage) if t.result]
        if sum(not math.isnan(loss) for loss in losses) >= fewest:
            return stage
    return stages[-1]


def refined_sweep(
    study: Study, stage: str, trials: int, overrides: Sequence[str]
) -> tuple[SweepFile, Refinement]:
    """The next stage, computed from all finished trials.

    Raises:
        UserError: too few trials have finished.
    """
    parent = study.search_stages()[-1]
    coarse, space, pooled = learned(study, study.ledger.facts(parent)["overrides"])
    losses = [t.result.loss(study.mode) for t in pooled if t.result]
    try:
        found = refine(
            coarse,
            space,
            [t.point for t in pooled],
            losses,
            method=study.settings.refine,
            freeze=study.settings.freeze,
            seed=study.settings.seed,
        )
    except TooFewTrials as error:
        diverged = bool(losses) and all(map(math.isinf, losses))
        more = f"run more of stage {parent} first, with a larger num_trials"
        mend = LOWER if diverged else more
        raise UserError(f"study {study.name}: {error}; {mend}") from None
    notes = [
        f"Refined ({study.settings.refine}) from {parent}: {len(pooled)} trials of all stages, "
        f"{sum(map(math.isinf, losses))} diverged.",
        "Top five:",
        *(f"  {_one(pooled[i], study.metric)}" for i in found.top),
    ]
    sweep = SweepFile(
        study=study.name,
        stage=stage,
        space=found.space,
        num_trials=trials,
        metric=study.metric,
        mode=study.mode,
        overrides=tuple(overrides),
        declares=study.begun_sweep(study.search_stages()[0]).declares,
        notes=tuple(notes),
        reasons=found.reasons,
    )
    return sweep, found


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
            f"wait for the others (caviar status search.study={study.name}), or write --early"
        )


def _one(trial: Trial, metric: str) -> str:
    assert trial.result is not None
    where = f"{trial.stage}/{trial.number}"
    return f"{metric} {trial.result.best:.4g}  {where}  {' '.join(point_overrides(trial.point))}"
