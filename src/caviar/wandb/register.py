"""A stage becomes a W&B sweep: `caviar sweep`.

Which stage that is, is settled and checked as `python train.py -m` does it. The sweep file that a
local stage runs is what is registered, unchanged; its text, its hash and the sweep's id are kept in
`runs/<study>/sweeps.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml
from omegaconf import DictConfig

from caviar.base.errors import UserError
from caviar.config.commands import caviar_command
from caviar.config.compose import project_composer
from caviar.search import checks
from caviar.search.run import asked_stage
from caviar.search.stages import check_follows, stage_spec
from caviar.search.study import Study
from caviar.search.swept import one_value
from caviar.space.sweep_file import SweepFile
from caviar.wandb.client import fetch_sweep, register_sweep
from caviar.wandb.record import (
    Registered,
    difference,
    read_registered,
    refuse_changed_sweep,
    write_registered,
)


def asked_sweep(study: Study, overrides: Sequence[str]) -> tuple[Study, DictConfig, SweepFile]:
    """The stage that a command asks for: `search.sweep=FILE`, else `search.stage`, else the first
    one that is not registered, drawn from the space or refined before.

    Returns:
        The study with that stage's metric, the config, and the stage.

    Raises:
        UserError: as `python train.py -m` would; or all stages of the study are registered.
    """
    if study.settings.rungs:
        raise UserError(
            "search.rungs: agents of W&B take one run after the other, and none waits for the "
            "others at a rung; leave search.rungs out"
        )
    if study.settings.sweep is None and study.settings.stage is None:
        registered = read_registered(study.folder)
        to_come = _unregistered(study, registered)
        if not to_come:
            raise UserError(
                f"all stages of study {study.name} are registered: {', '.join(registered)}; next "
                f"is {caviar_command('confirm', study.name)}, or name one more stage with "
                "search.stage=…"
            )
        study = study.changed(settings=replace(study.settings, stage=to_come[0]))
    checks.no_seed(overrides, study.keys.seed)
    compose = project_composer(study.sources)
    config = compose(overrides)
    one_value(overrides)
    study, sweep, _ = asked_stage(study, config, overrides, compose)
    return study, config, sweep


def waits_for_refine(study: Study) -> Registered | None:
    """The latest sweep, where no stage is named and the next one's file is not there yet."""
    registered = read_registered(study.folder)
    if not registered or study.settings.stage is not None or study.settings.sweep is not None:
        return None
    to_come = _unregistered(study, registered)
    ready = to_come and study.sweep_path(to_come[0]).exists()
    return None if ready or not to_come else registered[next(reversed(registered))]


def registered_stage(study: Study) -> Registered:
    """The sweep that the settings ask for: `search.stage`, else the latest.

    Raises:
        UserError: there is none.
    """
    registered = read_registered(study.folder)
    stage = study.settings.stage or next(reversed(registered), None)
    if stage is None or stage not in registered:
        what = f"stage {stage} of study {study.name}" if stage else f"study {study.name}"
        raise UserError(
            f"{what} is no W&B sweep yet; register it with {caviar_command('sweep', study.name)}, "
            "or record one that was made elsewhere: "
            f"{caviar_command('sweep', study.name, 'search.sweep=FILE')} --id ENTITY/PROJECT/ID"
        )
    return registered[stage]


def _unregistered(study: Study, registered: Mapping[str, Registered]) -> list[str]:
    """The study's stages that are no sweeps yet, in their order."""
    return [stage for stage in study.settings.stage_names() if stage not in registered]


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
    earlier = _may_register(study, sweep)
    if earlier is not None and not force:
        if earlier.sweep.same_trials(sweep) and earlier.sweep.num_trials == sweep.num_trials:
            return earlier, False
        changed = difference(yaml.safe_load(earlier.text), yaml.safe_load(sweep.text()))
        raise UserError(
            f"stage {sweep.stage} is registered as {earlier.path}, with another content:\n"
            f"{changed}\nwrite --force to register what is asked now as a sweep of its own"
        )
    # All that may refuse comes first: nobody takes a sweep back that W&B has.
    _refuse_other_file(study, sweep, force)
    spec = stage_spec(study, sweep)
    path = register_sweep(yaml.safe_load(sweep.text()), entity, project)
    registered = Registered.now(sweep.stage, path, spec)
    _remember(study, sweep, registered)
    return registered, True


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
    earlier = _may_register(study, sweep)
    if earlier is not None and earlier.path != path and not force:
        raise UserError(
            f"stage {sweep.stage} of study {study.name} is {earlier.path}, whose runs it would "
            "forget; write --force if that is meant"
        )
    _refuse_other_file(study, sweep, force)
    if path.count("/") != 2:
        raise UserError(f"--id {path} should be ENTITY/PROJECT/ID, as wandb agent takes it")
    registered = Registered.now(sweep.stage, path, stage_spec(study, sweep))
    document = fetch_sweep(path).document
    changed = refuse_changed_sweep(registered, document)
    # The same file may be spelt otherwise: 1 for 1.0, or with half steps of whole numbers. The text
    # that is kept is ours, so that agents are compared with what this machine has seen.
    there = SweepFile.parse(yaml.safe_dump(dict(document)), Path(path))
    if changed and not there.same_trials(sweep):
        raise UserError(
            f"the sweep {path} on the server and {sweep.stage} of study {study.name} differ:\n"
            f"{changed}\nname the file that the sweep was made from: search.sweep=FILE"
        )
    _remember(study, sweep, registered)
    return registered


def _may_register(study: Study, sweep: SweepFile) -> Registered | None:
    """An earlier registration of this stage.

    Raises:
        UserError: the study is confirmed, or its stages are not sweeps, or search other axes.
    """
    study.refuse_when_confirmed()
    registered = read_registered(study.folder)
    here = [stage for stage in study.search_stages() if stage not in registered]
    if here:
        raise UserError(
            f"study {study.name} has trials of its own in {', '.join(here)}; register its sweep "
            "under another name: search.study=ANOTHER_NAME search.sweep=FILE"
        )
    check_follows(study, sweep)
    return registered.get(sweep.stage)


def _refuse_other_file(study: Study, sweep: SweepFile, force: bool) -> None:
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


def _remember(study: Study, sweep: SweepFile, registered: Registered) -> None:
    """Write the stage's file, unless it says the same already, then the record."""
    file = study.sweep_path(sweep.stage)
    # The file before the record: a command that is killed between the two leaves a sweep that
    # nobody recorded, and the same command with --id takes it up.
    try:
        written = SweepFile.read(file) == sweep  # its comments say why; they are kept
    except UserError:
        written = False
    if not written:
        sweep.write(file)
    write_registered(study.folder, registered)
