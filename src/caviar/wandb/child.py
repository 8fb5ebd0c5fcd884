"""A run that a W&B agent started: what `python train.py` adds to its command, and its last word.

The agent's command line holds the sweep's fixed overrides and one point. A sweep may set what the
space declares, and nothing else: who edits it on the server must not choose a `_target_`, a path
or a callback here. Then the run gets what every trial of a search has: a seed of its own, a folder
of its study, and a log in W&B.

At its end it leaves a marker in W&B's summary, then an exit code. W&B calls a run finished when its
process left in order, which a process that was told to leave does as well; and a summary keeps a
metric's last value, not its best. So the whole result goes into the summary, and who reads a sweep
needs one request for hundreds of runs.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from caviar.base import project
from caviar.base.errors import UserError, failure
from caviar.base.result import MARKER, RESULT, Result, finite
from caviar.config.keys import Keys
from caviar.config.overrides import override_key, override_value, point_overrides
from caviar.space import Space
from caviar.space.sampling import trial_seed
from caviar.wandb.record import Registered, find_registered, value_of

# The agent's own variables.
SWEEP, RUN, POINT_FILE = "WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"
POINTS = 500  # of a learning curve, at most: a summary is read whole with every request

_has_ended = False  # whether this process has ended a run with its marker


def started_by_agent() -> bool:
    """Whether this is the first process of a run that a W&B agent started."""
    names = (SWEEP, RUN, POINT_FILE)
    return all(os.environ.get(n) for n in names) and "LOCAL_RANK" not in os.environ


def complete_overrides(arguments: Sequence[str]) -> list[str]:
    """The command line's overrides, checked, and with what a trial needs beside them.

    Raises:
        UserError: the sweep sets what it must not.
    """
    sweep_id, run_id = os.environ[SWEEP], os.environ[RUN]
    if Path(run_id).name in ("", "..") or "/" in run_id:  # the service names runs, not our folders
        raise UserError(f"{RUN}={run_id!r} cannot be a folder's name; use letters and digits")
    point = read_point(Path(os.environ[POINT_FILE]))
    # The agent's file tells a number from text that looks like one; its command line does not.
    fixed = [a for a in arguments if a.partition("=")[0] not in point]
    if any(flag in fixed for flag in ("-m", "--multirun")):
        raise UserError(f"sweep {sweep_id}: its command has -m, but W&B draws; leave it out")
    recorded = find_registered(sweep_id)
    space = recorded[1].sweep.space if recorded else _declared(fixed)
    refuse_undeclared(point, space, sweep_id, recorded)
    study, stage = (recorded[0], recorded[1].stage) if recorded else ("wandb", sweep_id)
    folder = project.runs() / study / stage / run_id
    given = {override_key(a) for a in arguments}
    seed = trial_seed(0, sweep_id, run_number(run_id))
    added: dict[str, Any] = {"logger": "wandb", "seed": seed}
    if project.current().theirs:
        keys = _keys_of(fixed)
        added = {keys.seed: seed} | ({} if keys.test is None else {keys.test: "false"})
    added["search.study"] = override_value(study)
    added["hydra.run.dir"] = override_value(str(folder))
    # What the sweep's command says itself stays: logger=none is somebody's wish.
    more = [f"{key}={value}" for key, value in added.items() if key not in given]
    # The agent writes null as None, and text as it is; the point is written as Hydra reads it.
    return [*fixed, *point_overrides(point), *more]


def run_number(run_id: str) -> int:
    """A number of a run's own, from its id.

    W&B draws ids of letters and digits, which are read as base 36. An id that somebody chose, such
    as `my-run`, is read as its bytes.
    """
    try:
        return int(run_id, 36)
    except ValueError:
        return int.from_bytes(os.fsencode(run_id))


def refuse_test(config: DictConfig) -> None:
    """Refuse a run of a sweep that would open the test set, or train on what was trained before.

    Raises:
        UserError: its command says so.
    """
    keys, fit = Keys.of(config), config.get("fit", True)
    test, resume = (k and OmegaConf.select(config, k) for k in (keys.test, keys.resume))
    if test or not fit or resume is not None:
        raise UserError(
            f"{keys.test}={test} fit={fit} {keys.resume}={resume}: a run of a sweep is trained "
            "from its own start, and the test set is locked; confirm opens it once"
        )


def read_point(path: Path) -> dict[str, Any]:
    """The point that the agent wrote down for this run, by coordinate name.

    Raises:
        UserError: the file cannot be read, or holds no point.
    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return {
            name: entry.get("value") if isinstance(entry, Mapping) else entry
            for name, entry in entries.items()
            if name != "wandb_version"
        }
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError) as error:
        raise UserError(f"the agent's file of this run's point cannot be read: {error}") from None


def refuse_undeclared(
    point: Mapping[str, Any], space: Space, sweep_id: str, recorded: tuple[str, Registered] | None
) -> None:
    """Refuse a name that is no axis of the space, and a value that its axis cannot have.

    Arguments:
        point: by coordinate name, as the agent wrote it.
        space: of the record, else of the command.
        sweep_id: for the message.
        recorded: the study and stage that the space is from; None if nobody recorded the sweep.

    Raises:
        UserError: with the name.
    """
    where = f"sweep {sweep_id}"
    if recorded:
        study, registered = recorded
        declared = f"the file it was registered from ({study}/{registered.stage}.yaml)"
    else:
        declared = "the space of its command (conf/space/)"
    for name, value in point.items():
        if name not in space.names:
            raise UserError(
                f"{where} sets {name}, which {declared} does not declare; a sweep may set only "
                f"{', '.join(space.names)}. If {name} is to be searched, declare it in the space"
            )
        scale = space.axis(name).scale
        try:
            value_of(scale, value)
        except ValueError:
            raise UserError(f"{where} sets {name}={value!r}, but {declared} says {scale}") from None


def _keys_of(fixed: Sequence[str]) -> Keys:
    """By which keys the config of a project's own script takes a seed, and opens its test set."""
    from caviar.config.commands import split_sources
    from caviar.config.compose import project_composer

    sources, overrides = split_sources(fixed)
    return Keys.of(project_composer(sources)(overrides))


def _declared(fixed: Sequence[str]) -> Space:
    """The space that the command's own overrides compose, where no file is known here."""
    from caviar.config.commands import split_sources
    from caviar.config.compose import project_composer
    from caviar.search.checks import parse_space

    sources, overrides = split_sources(fixed)
    compose = project_composer(sources)
    return parse_space(compose(overrides), compose.sources(overrides))


def finish_wandb(result: Result, curve: Mapping[int, float]) -> None:
    """End this process's W&B run, if there is one; the next trial of the same process would write
    into it.

    Arguments:
        result: of the run; one that failed ends with exit code 1.
        curve: epoch → declared metric.
    """
    global _has_ended
    wandb = sys.modules.get("wandb")
    if started_by_agent() and (wandb is None or wandb.run is None):
        # A task that logs elsewhere, or that has ended its run as soon as it had trained.
        wandb = import_module("wandb")
        wandb.init(resume="allow", settings=wandb.Settings(silent=True))
    if wandb is None or wandb.run is None:
        return
    _has_ended = True
    epochs = sorted(curve)
    thinned = epochs[:: -(-len(epochs) // POINTS) or 1]
    fields = result.to_dict() | {"curve": [[e, finite(curve[e])] for e in thinned]}
    # Last of all that is logged: a run that dies before this line is known by what it lacks.
    wandb.run.summary.update({MARKER: result.status, RESULT: json.dumps(fields)})
    wandb.finish(exit_code=1 if result.failed else 0)


@contextmanager
def told_to_wandb() -> Iterator[None]:
    """Let a run that a W&B agent started be known to have failed, also where it failed before it
    had a logger: by a refused key, a config that cannot be, a model that cannot be built."""
    try:
        yield
    except BaseException as error:
        if not _has_ended:
            with suppress(Exception):  # what it failed of is what counts
                import wandb

                wandb.init(settings=wandb.Settings(silent=True))
                finish_wandb(failure(error, None), {})
        raise
