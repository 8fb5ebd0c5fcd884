"""A stage becomes a W&B sweep: `caviar sweep`.

The sweep file that a local stage runs is what is registered, unchanged; its text, its hash and the
sweep's id are kept in `runs/<study>/sweeps.json`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import yaml

from caviar.errors import UserError
from caviar.ledger.registered import Registered, digest, read_registered, write_registered
from caviar.search.loop import refuse_when_confirmed
from caviar.search.stages import check_follows, stage_facts
from caviar.search.study import Study
from caviar.space.sweep_file import SweepFile
from caviar.sweeps.compare import difference, refuse_changed_sweep
from caviar.wandb_client import fetch_sweep, register_sweep


def register(
    study: Study, sweep: SweepFile, entity: str | None, project: str, force: bool
) -> tuple[Registered, bool]:
    """Register a stage, unless it is registered already.

    Arguments:
        study: whose stage it is; its folder gets the sweep file and the record.
        sweep: what to register.
        entity: of W&B, a user or a team; the account's own by default.
        project: of W&B.
        force: register anew what is registered with another content.

    Returns:
        The sweep, and whether it is new.

    Raises:
        UserError: the stage is registered with another content, or the study is no W&B study.
    """
    known = may_register(study, sweep)
    if known is not None and not force:
        if known.sweep.same_trials(sweep) and known.sweep.num_trials == sweep.num_trials:
            return known, False
        changed = difference(yaml.safe_load(known.text), yaml.safe_load(sweep.text()))
        raise UserError(
            f"stage {sweep.stage} is registered as {known.path}, with another content:\n{changed}\n"
            "write --force to register what is asked now as a sweep of its own"
        )
    refuse_other_file(study, sweep, force)
    facts = stage_facts(study, sweep)
    path = register_sweep(yaml.safe_load(sweep.text()), entity, project)
    return _remember(study, sweep, path, facts), True


def adopt(study: Study, sweep: SweepFile, path: str, force: bool) -> Registered:
    """Remember a sweep that was made elsewhere, by `wandb sweep` or on another machine.

    Arguments:
        study: whose stage it is.
        sweep: the file that it was made from, to compare the server's with.
        path: `entity/project/id`.
        force: in the place of another sweep, whose runs the study forgets.

    Raises:
        UserError: the server has another sweep under this path.
    """
    known = may_register(study, sweep)
    if known is not None and known.path != path and not force:
        raise UserError(
            f"stage {sweep.stage} of study {study.name} is {known.path}, whose runs it would "
            "forget; write --force if that is meant"
        )
    refuse_other_file(study, sweep, force)
    if path.count("/") != 2:
        raise UserError(f"--id {path} should be ENTITY/PROJECT/ID, as wandb agent takes it")
    entity, project, sweep_id = path.split("/")
    facts = stage_facts(study, sweep)
    text = str(facts["sweep"])
    found = Registered(sweep.stage, entity, project, sweep_id, digest(text), _now(), facts)
    document = fetch_sweep(path).document
    more = refuse_changed_sweep(found, document)
    # The same file may be spelt otherwise: 1 for 1.0, or with half steps of whole numbers.
    there = SweepFile.parse(yaml.safe_dump(dict(document)), Path(path))
    if more and not there.same_trials(sweep):
        raise UserError(
            f"the sweep {path} on the server and {sweep.stage} of study {study.name} differ:\n"
            f"{more}\nname the file that the sweep was made from: search.sweep=FILE"
        )
    return _remember(study, sweep, path, facts)


def may_register(study: Study, sweep: SweepFile) -> Registered | None:
    """An earlier registration of this stage.

    Raises:
        UserError: the study is confirmed, or its stages are not sweeps, or search other axes.
    """
    refuse_when_confirmed(study)
    known = read_registered(study.folder)
    here = [stage for stage in study.search_stages() if stage not in known]
    if here:
        raise UserError(
            f"study {study.name} has trials of its own in {', '.join(here)}; register its sweep "
            "under another name: search.study=ANOTHER_NAME search.sweep=FILE"
        )
    check_follows(study, sweep)
    return known.get(sweep.stage)


def refuse_other_file(study: Study, sweep: SweepFile, force: bool) -> None:
    """Before anything is registered: the stage's file may have been edited, and is not lost.

    Raises:
        UserError: it differs from what would be registered.
    """
    file = study.sweep_path(sweep.stage)
    if file.exists() and not force and SweepFile.read(file) != sweep:
        raise UserError(
            f"{file} exists, and says other than what is asked; register it as it is with "
            f"search.sweep={file}, or write --force to replace it"
        )


def _remember(study: Study, sweep: SweepFile, path: str, facts: dict[str, object]) -> Registered:
    file = study.sweep_path(sweep.stage)
    try:
        written = SweepFile.read(file) == sweep  # its comments say why; they are kept
    except UserError:
        written = False
    if not written:
        sweep.write(file)
    entity, project, sweep_id = path.split("/")
    text = str(facts["sweep"])
    found = Registered(sweep.stage, entity, project, sweep_id, digest(text), _now(), facts)
    write_registered(study.folder, found)
    return found


def next_stage(study: Study) -> str:
    """The first of the study's stages that is not registered.

    Raises:
        UserError: all of them are.
    """
    known = read_registered(study.folder)
    left = [stage for stage in study.settings.stage_names() if stage not in known]
    if not left:
        raise UserError(
            f"all stages of study {study.name} are registered: {', '.join(known)}; next is caviar "
            f"confirm search.study={study.name}, or name one more stage with search.stage=…"
        )
    return left[0]


def waits_for_refine(study: Study) -> Registered | None:
    """The latest sweep, where no stage is named and the next one's file is not there yet."""
    known = read_registered(study.folder)
    if not known or study.settings.stage is not None or study.settings.sweep is not None:
        return None
    left = [stage for stage in study.settings.stage_names() if stage not in known]
    ready = left and study.sweep_path(left[0]).exists()
    return None if ready or not left else known[next(reversed(known))]


def registered_stage(study: Study) -> Registered:
    """The sweep that the settings ask for: `search.stage`, else the latest.

    Raises:
        UserError: there is none.
    """
    known = read_registered(study.folder)
    stage = study.settings.stage or next(reversed(known), None)
    if stage is None or stage not in known:
        what = f"stage {stage} of study {study.name}" if stage else f"study {study.name}"
        raise UserError(
            f"{what} is no W&B sweep yet; register it with caviar sweep search.study={study.name}, "
            "or record one that was made elsewhere: caviar sweep --id ENTITY/PROJECT/ID "
            f"search.study={study.name} search.sweep=FILE"
        )
    return known[stage]


def named(sweep: SweepFile, study: Study, stage: str) -> SweepFile:
    """The file as this study's stage."""
    return replace(sweep, study=study.name, stage=stage)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
