"""Stages of random search: their sweep files, and running them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from caviar.errors import UserError
from caviar.ledger import Planned, Trial
from caviar.overrides import (
    joined,
    keys_outside,
    override_key,
    restore_one_minus,
)
from caviar.search.settings import SearchSettings
from caviar.search.study import Study
from caviar.space import Choice, Log, LogInteger, Space
from caviar.space.sampling import trial_seed
from caviar.space.sweep_file import DECLARES, SweepFile

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
        declares=tuple(study.declares),
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
    before = study.stages_before(sweep.stage)
    kept = study.ledger.facts(before[-1])["shared"] if before else sweep.overrides
    return {
        "sweep": sweep.text(),
        "overrides": list(sweep.overrides),
        # Without any stage's own: what confirm trains with, and later stages inherit.
        "shared": list(joined((o for o in kept if before or o not in own), study.overrides)),
        "seed": study.settings.seed,
        "sampler": study.settings.sampler,
        "pruner": study.settings.pruner,
    }


def run_stage(study: Study, sweep: SweepFile) -> list[Trial]:
    """Write the stage's sweep file, run its trials that are not finished, return them all."""
    check_follows(study, sweep)
    facts = stage_facts(study, sweep)
    study.compare(sweep.stage, facts)
    path = study.sweep_path(sweep.stage)
    written = SweepFile.read(path) if path.exists() else None
    changed = written is not None and not written.same_trials(sweep)
    # Overrides that the command line adds to a stage that begins are written into its file.
    if changed and written and (sweep.stage in study.stages() or written.space != sweep.space):
        raise UserError(
            f"{path} was edited, and says other than what is asked; run it under another name with "
            f"search.study=ANOTHER_NAME search.sweep={path}, or remove it, and it is written again"
        )
    study.begin(sweep.stage, facts)
    if changed or written is None or written.num_trials != sweep.num_trials:
        sweep.write(path)
    return study.run(sweep.stage, plan(sweep, study.settings), sweep.space)


def check_follows(study: Study, sweep: SweepFile) -> None:
    """All stages of a study search the same axes, or their trials could not be pooled.

    Raises:
        UserError: they do not.
    """
    before = study.stages_before(sweep.stage)
    if not before:
        return
    first = study.begun_sweep(before[0]).space
    path = study.sweep_path(sweep.stage)
    for name in sorted({*first.names} ^ {*sweep.space.names}):
        mend = "drop it" if name not in first.names else "to fix it, give it a single value: …"
        raise UserError(f"{path}: {name}: {before[0]} and this stage search other axes; {mend}")
    for axis in first:
        now = sweep.space.axis(axis.name).scale
        if isinstance(axis.scale, Log | LogInteger):
            values = now.values if isinstance(now, Choice) else (now.low,)
            for value in values:
                if not isinstance(value, int | float) or value <= 0:
                    raise UserError(
                        f"{path}: {axis.name}: {value!r} has no place on {before[0]}'s scale "
                        f"{axis.scale.kind}; write a small positive number"
                    )
        if isinstance(axis.scale, Choice):
            old = {(type(v), v) for v in axis.scale.values}
            new = now.values if isinstance(now, Choice) else ("a range",)
            for value in new:
                if (type(value), value) not in old:
                    raise UserError(
                        f"{path}: {axis.name}: {before[0]} had no {value!r} among its choices; "
                        "choose among them, or begin another study"
                    )


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


def shared_overrides(study: Study) -> tuple[str, ...]:
    """What the latest stage fixed for all of its study, then the command line's."""
    parent = study.search_stages()[-1]
    return joined(study.ledger.facts(parent)["shared"], study.overrides)


def inherit_sampling(study: Study, arguments: Sequence[str]) -> None:
    """Go on with the study's seed, sampler and pruner, unless the command line names others."""
    named = {override_key(a) for a in arguments}
    facts = study.ledger.facts(study.search_stages()[0])
    kept = {
        name: facts[name]
        for name in ("seed", "sampler", "pruner")
        if name in facts and f"search.{name}" not in named
    }
    study.settings = replace(study.settings, **kept)


def search_overrides(arguments: Sequence[str]) -> list[str]:
    """The command line's overrides that say what is trained, as they were typed."""
    return restore_one_minus(keys_outside(arguments, *SEARCH_NODES))


def space_overrides(arguments: Sequence[str]) -> list[str]:
    """The command line's overrides that say what is searched."""
    return [a for a in arguments if DECLARES.match(a)]


def sweep_with_overrides(path: Path, overrides: Sequence[str]) -> SweepFile:
    """A sweep file, with the command line's overrides after its own."""
    sweep = SweepFile.read(path)
    return replace(sweep, overrides=joined(sweep.overrides, overrides))
