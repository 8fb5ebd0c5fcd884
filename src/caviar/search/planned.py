"""The trials of a stage: drawn at random, or picked by a model of all trials before.

plan(sweep, settings)     # of a stage that is drawn: of its file and the settings alone
plan_of(study, sweep)     # of one that has begun, in whichever way it has
"""

from __future__ import annotations

from caviar.ledger import Planned
from caviar.refine import picked
from caviar.search.pooled import pooled_trials
from caviar.search.settings import SearchSettings
from caviar.search.study import Study
from caviar.space.sampling import trial_seed
from caviar.space.sweep_file import SweepFile


def acquisition_of(study: Study, sweep: SweepFile) -> str:
    """How a stage that is to begin comes to its points inside of its ranges."""
    settings, after = study.settings, study.stages_before(sweep.stage)
    by_model = settings.action == "search" and after and settings.sampler == "random"
    return settings.acquisition if by_model else "none"


def plan(sweep: SweepFile, settings: SearchSettings) -> list[Planned]:
    """The trials of a stage that is drawn: each a pure function of (seed, stage, number, space)."""
    columns = sweep.space.draw(
        settings.seed, sweep.stage, sweep.num_trials, sampler=settings.sampler
    )
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [
        Planned(
            dict(zip(columns, row, strict=True)), trial_seed(settings.seed, sweep.stage, number)
        )
        for number, row in enumerate(rows)
    ]


def plan_of(study: Study, sweep: SweepFile) -> list[Planned]:
    """The trials of a stage that has begun. Where a model picks them, those that were given out
    stay as they are in the ledger, whatever has been learned since."""
    settings, stage = study.settings, sweep.stage
    if study.ledger.spec(stage).get("acquisition", "none") == "none":
        return plan(sweep, settings)
    given_out = [trial.planned for trial in study.ledger.trials(stage)]
    missing = sweep.num_trials - len(given_out)
    if missing <= 0:
        return given_out
    coarse, _, pooled = pooled_trials(study, study.stages_before(stage)[-1])
    before = [t for t in pooled if t.stage != stage]
    points = picked(
        coarse,
        sweep.space,
        [t.point for t in before],
        [t.result.loss(study.mode) for t in before if t.result],
        missing,
        settings.seed,
        stage,
        [planned.point for planned in given_out],
    )
    numbers = range(len(given_out), sweep.num_trials)
    seeds = [trial_seed(settings.seed, stage, number) for number in numbers]
    return given_out + [Planned(point, seed) for point, seed in zip(points, seeds, strict=True)]
