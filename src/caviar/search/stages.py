"""Stages of a search: what each one is, and running it.

    sweep, refinement = stage_sweep(study, "02_fine", trials=14)   # as begun, as filed, or refined
    trials = run_stage(study, sweep)

A stage is described by a sweep file. Once it has begun, the ledger's copy of the text is the truth,
and the file follows from it: a file that somebody has edited since is refused, one that is gone is
written again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from caviar.base import project
from caviar.base.errors import UserError
from caviar.config.commands import caviar_command
from caviar.config.kept import kept_config
from caviar.config.overrides import joined, point_overrides
from caviar.ledger import Trial
from caviar.refine import Refinement, TooFewTrials, expected_gain, refine
from caviar.screen.view import console, plural
from caviar.search.driver import run_trials
from caviar.search.planned import acquisition_of, plan_of
from caviar.search.pooled import pooled_trials
from caviar.search.provenance import refuse_edited_conf
from caviar.search.rungs import rungs_asked, rungs_of, why_whole
from caviar.search.settings import DEFAULT_TRIALS
from caviar.search.study import Study
from caviar.space import Choice, Space
from caviar.space.sweep_file import SweepFile

LOWER = (
    "search lower learning rates under another name: search.study=ANOTHER_NAME "
    "space.optimizer.lr='${log:1e-6,1e-2}'"
)


def stage_sweep(
    study: Study,
    stage: str,
    *,
    trials: int | None = None,
    overrides: Sequence[str] = (),
    space: Space | None = None,
    file: Path | None = None,
    anew: bool = False,
) -> tuple[SweepFile, Refinement | None]:
    """What a stage is: the space or the file that are given; else as it was begun, by the ledger;
    else as its own file says, which refine wrote and somebody may have edited; and else what all
    trials so far suggest, with the reasons.

    Arguments:
        study: whose stage it is.
        stage: its name.
        trials: how many; by default as many as the file says, and never fewer than were begun.
        overrides: of every trial; behind a file's own.
        space: of the study's first stage.
        file: a sweep file that the command names.
        anew: refine, also where there is a file.

    Raises:
        UserError: the file cannot be read, or too few trials have finished.
    """
    if space is not None:
        whole = SweepFile(
            study=study.name,
            stage=stage,
            space=space,
            num_trials=trials or DEFAULT_TRIALS,
            metric=study.metric,
            mode=study.mode,
            overrides=tuple(overrides),
            declares=tuple(study.declares),
            sources=tuple(study.sources),
            program=project.current().program,
        )
        return whole, None
    if file is None and not anew and stage in study.stages():
        begun = study.begun_sweep(stage)
        # Never fewer than it was begun with, or those that wait would wait for ever.
        count = max(trials or 0, begun.num_trials, study.ledger.overview(stage).total)
        return replace(begun, num_trials=count, overrides=tuple(overrides)), None
    path = file or study.sweep_path(stage)
    if not anew and (file is not None or path.exists()):
        written = SweepFile.read(path)
        count = (trials if file is not None else None) or written.num_trials or DEFAULT_TRIALS
        fixed = joined(written.overrides, overrides)
        if written.study != study.name:  # the other study's reasons are none of this one's
            written = replace(written, study=study.name, notes=(), reasons={})
        asked = replace(written, stage=stage, num_trials=count, overrides=fixed)
        return replace(asked, sources=tuple(study.sources)), None
    return _refined(study, stage, trials or DEFAULT_TRIALS, overrides)


def _refined(
    study: Study, stage: str, trials: int, overrides: Sequence[str]
) -> tuple[SweepFile, Refinement]:
    """The next stage, computed from all finished trials."""
    parent = study.search_stages()[-1]
    coarse, latest, pooled = pooled_trials(study, parent)
    losses = [t.result.loss(study.mode) for t in pooled if t.result]
    try:
        refinement = refine(
            coarse,
            latest,
            [t.point for t in pooled],
            losses,
            method=study.settings.refine,
            freeze=study.settings.freeze,
            seed=study.settings.seed,
        )
    except TooFewTrials as error:
        diverged = bool(losses) and all(map(math.isinf, losses))
        mend = LOWER if diverged else _more_trials(study, parent)
        raise UserError(f"study {study.name}: {error}; {mend}") from None
    outlook = expected_gain(
        coarse,
        refinement.space,
        [t.point for t in pooled],
        losses,
        trials,
        study.settings.seed,
    )
    refinement = replace(refinement, outlook=outlook)
    notes = [
        f"Refined ({study.settings.refine}) from {parent}: {len(pooled)} trials of all stages, "
        f"{sum(map(math.isinf, losses))} diverged.",
        "Top five:",
    ]
    for trial in (pooled[i] for i in refinement.top):
        assert trial.result is not None
        place, setting = f"{trial.stage}/{trial.number}", " ".join(point_overrides(trial.point))
        notes.append(f"  {study.metric} {trial.result.best:.4g}  {place}  {setting}")
    # Without the tiers, a prior for the whole search that the first stage's file states.
    space = Space(tuple(replace(axis, tier=None) for axis in refinement.space))
    sweep = SweepFile(
        study=study.name,
        stage=stage,
        space=space,
        num_trials=trials,
        metric=study.metric,
        mode=study.mode,
        overrides=tuple(overrides),
        declares=study.begun_sweep(study.search_stages()[0]).declares,
        program=project.current().program,
        sources=tuple(study.sources),
        notes=tuple(notes),
        reasons=refinement.reasons,
    )
    return sweep, refinement


def _more_trials(study: Study, stage: str) -> str:
    """How a stage comes to have more results."""
    names = dict(zip(study.settings.stage_names(), study.settings.stages, strict=True))
    searching = study.settings.action == "search"
    setting = f"stages.{names[stage]}.num_trials" if searching and stage in names else "num_trials"
    trials = study.ledger.trials(stage)
    more = f"run more of stage {stage} first, with a larger search.{setting} than {len(trials)}"
    if study.ledger.no_retry(stage) or not any(t.failed for t in trials):
        return more
    return f"put back what failed with {caviar_command('retry', study.name)}, or {more}"


def stage_spec(study: Study, sweep: SweepFile) -> dict[str, Any]:
    """What the ledger keeps of a stage, and what must be the same when it is run again."""
    declared = study.settings.stage_names().get(sweep.stage)
    own = declared.overrides if declared else []
    before = study.stages_before(sweep.stage)
    kept = study.ledger.spec(before[-1])["shared"] if before else sweep.overrides
    config = study.compose(sweep.overrides)
    rungs = rungs_asked(config, *study.settings.rungs_of(sweep.stage))
    return {
        "sweep": sweep.text(),
        "overrides": list(sweep.overrides),
        # Without any stage's own: what confirm trains with, and later stages inherit.
        "shared": list(joined((o for o in kept if before or o not in own), study.overrides)),
        "config": kept_config(config),
        "sources": list(study.sources),
        "seed": study.settings.seed,
        "sampler": study.settings.sampler,
        "pruner": study.settings.pruner,
        "rungs": asdict(rungs) if rungs is not None else None,
        "acquisition": acquisition_of(study, sweep),
    }


def shared_overrides(study: Study) -> tuple[str, ...]:
    """What the latest stage fixed for all of its study, then the command line's."""
    parent = study.search_stages()[-1]
    return joined(study.ledger.spec(parent)["shared"], study.overrides)


def run_stage(study: Study, sweep: SweepFile) -> list[Trial]:
    """Write the stage's sweep file, run its trials that are not finished, return them all.

    Raises:
        UserError: the stage was begun otherwise, or its file says other than what is asked.
    """
    check_follows(study, sweep)
    spec, begun = stage_spec(study, sweep), sweep.stage in study.stages()
    study.compare(sweep.stage, spec)
    path = study.sweep_path(sweep.stage)
    written = SweepFile.read(path) if path.exists() else None
    # The file of a stage that has begun keeps the overrides that it began with; those of this
    # command come to the same.
    filed = replace(sweep, overrides=study.begun_sweep(sweep.stage).overrides) if begun else sweep
    changed = written is not None and not written.same_trials(filed)
    # Overrides that the command line adds to a stage that begins are written into its file.
    if changed and written and (begun or written.space != sweep.space):
        raise UserError(
            f"{path} was edited, and says other than what is asked; run it under another name with "
            f"search.study=ANOTHER_NAME search.sweep={path}, or remove it, and it is written again"
        )
    # The ledger first: a kill between the two leaves a stage whose file is written by the next
    # command, and never a file of a stage that the ledger knows otherwise.
    study.begin(sweep.stage, spec)
    if changed or written is None or written.num_trials != sweep.num_trials:
        filed.write(path)
    planned = plan_of(study, sweep)
    spec = study.ledger.spec(sweep.stage)
    if not begun and spec["acquisition"] != "none":
        console.print(
            f"{sweep.stage}: {plural(len(planned), 'trial')} picked inside of these ranges, where "
            "a model of all trials expects most improvement (search.acquisition)"
        )
    rungs = rungs_of(spec)
    if rungs is None and study.settings.rungs_of(sweep.stage)[0]:
        why = why_whole(study.compose(sweep.overrides)) or "they are of one epoch"
        why = "it was begun so" if begun else why
        console.print(f"{sweep.stage}: all trials are trained whole, without rungs: {why}")
    trials = run_trials(study, sweep.stage, planned, sweep.space, sweep.overrides)
    while rungs is not None:
        rung, going = rungs.promoted(trials, study.mode)
        if not going:
            break
        console.print(
            f"{sweep.stage}: {len(going)} of {len(trials)} trials go on behind epoch "
            f"{rungs.epochs[rung - 1]}"
        )
        study.ledger.advance(sweep.stage, going, rung)
        trials = run_trials(study, sweep.stage, planned, sweep.space, sweep.overrides)
    return trials


def check_follows(study: Study, sweep: SweepFile) -> None:
    """All stages of a study search the same axes, or their trials could not be pooled; and they
    train by the same conf/.

    Raises:
        UserError: they do not.
    """
    before = study.stages_before(sweep.stage)
    if not before:
        return
    if sweep.stage not in study.stages():
        refuse_edited_conf(study, sweep.overrides, searching=True)
    first = study.begun_sweep(before[0]).space
    path = study.sweep_path(sweep.stage)
    for name in sorted({*first.names} ^ {*sweep.space.names}):
        mend = "drop it" if name not in first.names else "to fix it, give it a single value: …"
        raise UserError(f"{path}: {name}: {before[0]} and this stage search other axes; {mend}")
    for axis in first:
        now = sweep.space.axis(axis.name).scale
        values = now.values if isinstance(now, Choice) else (now.low, now.high)
        if isinstance(axis.scale, Choice):
            choices = {(type(v), v) for v in axis.scale.values}  # True is not 1
            for value in values if isinstance(now, Choice) else ("a range",):
                if (type(value), value) not in choices:
                    raise UserError(
                        f"{path}: {axis.name}: {before[0]} had no {value!r} among its choices; "
                        "choose among them, or begin another study"
                    )
            continue
        # Losses are pooled over all stages in the first one's coordinates, so each value needs one.
        for value in values:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or (axis.scale.logarithmic and value <= 0):
                raise UserError(
                    f"{path}: {axis.name}: {value!r} has no place on {before[0]}'s scale "
                    f"{axis.scale.kind}; write a "
                    f"{'small positive number' if axis.scale.logarithmic else 'number'}"
                )
