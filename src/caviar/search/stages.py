"""Stages of random search: their sweep files, and running them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from caviar.errors import UserError
from caviar.ledger import Trial
from caviar.overrides import joined, keys_outside, point_overrides, restore_one_minus
from caviar.refine import Refinement, TooFewTrials, refine
from caviar.search.settings import SearchSettings
from caviar.search.study import Planned, Study
from caviar.space import Space
from caviar.space.sampling import trial_seed
from caviar.space.sweep_file import SweepFile

# Nodes that say how to search; the others say what is trained, and belong into the sweep file.
SEARCH_NODES = ("search", "space", "trial", "hydra")


def coarse_sweep(study: Study, space: Space, stage: str, trials: int) -> SweepFile:
    """The first stage, straight from the space."""
    declared = study.settings.stage_names().get(stage)
    return SweepFile(
        study=study.name,
        stage=stage,
        space=space,
        num_trials=trials,
        metric=study.metric,
        mode=study.mode,
        overrides=joined(study.overrides, declared.overrides if declared else ()),
    )


def stage_file(study: Study) -> Path | None:
    """The sweep file of the stage that is asked for; None for a study's first, drawn from the
    space.

    Raises:
        UserError: a later stage has no file yet.
    """
    settings = study.settings
    if settings.sweep is not None:
        return Path(settings.sweep)
    declared, begun = list(settings.stage_names()), study.stages()
    first, stage = (begun or declared)[0], settings.stage or declared[0]
    if stage == first or (not begun and stage not in declared):
        return None
    path = study.sweep_path(stage)
    if not path.exists():
        raise UserError(
            f"search.stage={stage} comes after {first}, and has no sweep file yet; write it with "
            f"caviar refine search.study={study.name} search.stage={stage}"
        )
    return path


def stage_facts(study: Study, sweep: SweepFile) -> dict[str, Any]:
    """What the ledger keeps of a stage, and what must be the same when it is run again."""
    declared = study.settings.stage_names().get(sweep.stage)
    own = declared.overrides if declared else []
    return {
        "sweep": sweep.text(),
        "overrides": list(sweep.overrides),
        # Without the stage's own: what confirm trains with, and later stages inherit.
        "shared": list(joined((o for o in sweep.overrides if o not in own), study.overrides)),
        "seed": study.settings.seed,
        "sampler": study.settings.sampler,
    }


def run_stage(study: Study, sweep: SweepFile) -> list[Trial]:
    """Write the stage's sweep file, run its trials that are not finished, return them all."""
    study.begin(sweep.stage, stage_facts(study, sweep))
    path = study.sweep_path(sweep.stage)
    if not path.exists() or SweepFile.read(path).num_trials != sweep.num_trials:
        sweep.write(path)
    return study.run(sweep.stage, plan(sweep, study.settings), sweep.space)


def plan(sweep: SweepFile, settings: SearchSettings) -> list[Planned]:
    """The stage's trials: each a pure function of (seed, stage, number, space)."""
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


def learned(study: Study, overrides: Sequence[str]) -> tuple[Space, Space, list[Trial]]:
    """The coarse space, the latest space, and the finished trials that may be pooled.

    Failed trials say nothing of their setting. Stages trained under other overrides, such as
    fewer epochs, are left out, because their losses do not compare.
    """
    ledger, stages = study.ledger, study.search_stages()
    sweeps = [SweepFile.parse(ledger.facts(s)["sweep"], study.sweep_path(s)) for s in stages]
    pooled = [
        trial
        for stage, sweep in zip(stages, sweeps, strict=True)
        if sorted(sweep.overrides) == sorted(overrides)
        for trial in ledger.trials(stage)
        if trial.result is not None and not math.isnan(trial.result.loss(study.mode))
    ]
    return sweeps[0].space, sweeps[-1].space, pooled


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
        if losses and all(map(math.isinf, losses)):
            mend = (
                "search lower learning rates under another name: search.study=ANOTHER_NAME "
                "space.optimizer.lr='${log:1e-6,1e-2}'"
            )
        else:
            mend = f"run more of stage {parent} first, with a larger num_trials"
        raise UserError(f"study {study.name}: {error}; {mend}") from None
    diverged = sum(math.isinf(loss) for loss in losses)
    notes = [
        f"Refined ({study.settings.refine}) from {parent}: {len(pooled)} trials of all stages, "
        f"{diverged} diverged.",
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
        notes=tuple(notes),
        reasons=found.reasons,
    )
    return sweep, found


def shared_overrides(study: Study) -> tuple[str, ...]:
    """What the latest stage fixed for all of its study, then the command line's."""
    parent = study.search_stages()[-1]
    return joined(study.ledger.facts(parent)["shared"], study.overrides)


def search_overrides(arguments: Sequence[str]) -> list[str]:
    """The command line's overrides that say what is trained, as they were typed."""
    return restore_one_minus(keys_outside(arguments, *SEARCH_NODES))


def sweep_with_overrides(path: Path, overrides: Sequence[str]) -> SweepFile:
    """A sweep file, with the command line's overrides after its own."""
    sweep = SweepFile.read(path)
    return replace(sweep, overrides=joined(sweep.overrides, overrides))


def _one(trial: Trial, metric: str) -> str:
    assert trial.result is not None
    where = f"{trial.stage}/{trial.number}"
    return f"{metric} {trial.result.best:.4g}  {where}  {' '.join(point_overrides(trial.point))}"
