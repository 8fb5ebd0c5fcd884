"""A stage becomes a W&B sweep: `caviar sweep`.

The sweep file that a local stage runs is what is registered, unchanged; its text, its hash and the
sweep's id are kept in `runs/<study>/sweeps.json`.
"""

# MERGED sweeps.compare """Whether the service still has the sweep that was registered.
#
# An agent runs the command that the sweep on the server names, on this machine. Whoever may edit the
# sweep there decides what that is, so it is compared before an agent starts.
# """
#
# MERGED sweeps.stage """Which stage `caviar sweep` is about, checked as `python train.py -m` checks it."""
#

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from caviar.base.errors import UserError
from caviar.config.compose import project_composer
from caviar.config.overrides import rewrite_one_minus
from caviar.search import checks
from caviar.search.run import asked_stage
from caviar.search.stages import check_follows, stage_spec
from caviar.search.study import Study
from caviar.space.sweep_file import SweepFile
from caviar.wandb.client import fetch_sweep, register_sweep
from caviar.wandb.ledger import Registered, digest, read_registered, write_registered


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
    spec = stage_spec(study, sweep)
    path = register_sweep(yaml.safe_load(sweep.text()), entity, project)
    return _remember(study, sweep, path, spec), True


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
    spec = stage_spec(study, sweep)
    text = str(spec["sweep"])
    found = Registered(sweep.stage, entity, project, sweep_id, digest(text), _now(), spec)
    document = fetch_sweep(path).document
    more = refuse_changed_sweep(found, document)
    # The same file may be spelt otherwise: 1 for 1.0, or with half steps of whole numbers.
    there = SweepFile.parse(yaml.safe_dump(dict(document)), Path(path))
    if more and not there.same_trials(sweep):
        raise UserError(
            f"the sweep {path} on the server and {sweep.stage} of study {study.name} differ:\n"
            f"{more}\nname the file that the sweep was made from: search.sweep=FILE"
        )
    return _remember(study, sweep, path, spec)


def may_register(study: Study, sweep: SweepFile) -> Registered | None:
    """An earlier registration of this stage.

    Raises:
        UserError: the study is confirmed, or its stages are not sweeps, or search other axes.
    """
    study.refuse_when_confirmed()
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


def _remember(study: Study, sweep: SweepFile, path: str, spec: dict[str, object]) -> Registered:
    file = study.sweep_path(sweep.stage)
    try:
        written = SweepFile.read(file) == sweep  # its comments say why; they are kept
    except UserError:
        written = False
    if not written:
        sweep.write(file)
    entity, project, sweep_id = path.split("/")
    text = str(spec["sweep"])
    found = Registered(sweep.stage, entity, project, sweep_id, digest(text), _now(), spec)
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


DECISIVE = ("program", "command")  # beside the parameters' names: what runs here


def refuse_changed_sweep(registered: Registered, document: Mapping[str, Any]) -> str:
    """Compare with the sweep's configuration on the server.

    Returns:
        What else differs, such as a range, as lines to show; empty if nothing does.

    Raises:
        UserError: program, command or the parameters' names differ; it shows how.
    """
    ours: dict[str, Any] = yaml.safe_load(registered.text)
    there = dict(document)
    changed = difference(_decisive(ours), _decisive(there))
    if changed:
        raise UserError(
            f"the sweep {registered.path} on the server is not the one that was registered from "
            f"{registered.stage}.yaml, and its agents would run here what it says now:\n{changed}\n"
            "if you do not know who changed it and why, start no agent; else register the stage "
            f"anew: caviar sweep search.study={registered.sweep.study} "
            f"search.stage={registered.stage} --force"
        )
    kept = [key for key in ours if key != "name"]  # anybody may call it otherwise
    return difference({k: ours[k] for k in kept}, {k: there.get(k) for k in kept})


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Lines that differ, ours behind -, theirs behind +; empty if none does."""
    lines = list(difflib.unified_diff(_lines(ours), _lines(theirs), lineterm="", n=0))[2:]
    return "\n".join(f"  {line}" for line in lines if not line.startswith("@@"))


def _decisive(document: Mapping[str, Any]) -> dict[str, Any]:
    decisive = {key: document.get(key) for key in DECISIVE}
    parameters = document.get("parameters")
    names = sorted(parameters) if isinstance(parameters, Mapping) else parameters
    return {**decisive, "parameters": names}


def _lines(value: Any) -> list[str]:
    """One thing a line, each with where it stands, so that a line that differs says all."""
    lines: list[str] = []
    for key, node in sorted(value.items()):
        if isinstance(node, Mapping):
            lines += [f"{key}.{line}" for line in _lines(node)]
        elif isinstance(node, list):
            lines += [f"{key}: {item}" for item in node]
        else:
            lines.append(f"{key}: {node}")
    return lines


def asked_sweep(study: Study, overrides: Sequence[str]) -> tuple[Study, DictConfig, SweepFile]:
    """The stage that a command asks for: `search.sweep=FILE`, else `search.stage`, else the first
    one that is not registered, drawn from the space or refined before.

    Returns:
        The study with that stage's metric, the config, and the stage.

    Raises:
        UserError: as `python train.py -m` would.
    """
    if study.settings.sweep is None and study.settings.stage is None:
        study = study.changed(settings=replace(study.settings, stage=next_stage(study)))
    checks.no_seed(overrides)
    compose = project_composer()
    config = compose(overrides)
    checks.no_grid(config, rewrite_one_minus(overrides))
    study, sweep, _ = asked_stage(study, config, overrides, compose)
    return study, config, sweep
