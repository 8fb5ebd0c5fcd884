"""What `python train.py` does when a W&B agent started it.

The agent's command line holds the sweep's fixed overrides and one point. A sweep may set what the
space declares, and nothing else: who edits it on the server must not choose a `_target_`, a path
or a callback here. Then the run gets what every trial of a search has: a seed of its own, a folder
of its study, and a log in W&B.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from caviar import project
from caviar.errors import UserError
from caviar.ledger.registered import Registered, find_registered
from caviar.ledger.wandb_runs import same
from caviar.overrides import override_key, override_value, point_overrides
from caviar.space import Choice, Space
from caviar.space.sampling import trial_seed

SWEEP, RUN, POINT_FILE = "WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"


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
    point = read_point(Path(os.environ[POINT_FILE]))
    fixed = [a for a in arguments if a.partition("=")[0] not in point]
    if any(flag in fixed for flag in ("-m", "--multirun")):
        raise UserError(f"sweep {sweep_id}: its command has -m, but W&B draws; leave it out")
    found = find_registered(sweep_id)
    space = found[1].sweep.space if found else _declared(fixed)
    refuse_undeclared(point, space, sweep_id, found)
    study, stage = (found[0], found[1].stage) if found else ("wandb", sweep_id)
    folder = project.runs() / study / stage / run_id
    given = {override_key(a) for a in arguments}
    added = {
        "logger": "wandb",
        "seed": trial_seed(0, sweep_id, int(run_id, 36)),  # ids are letters and digits
        "search.study": override_value(study),
        "hydra.run.dir": override_value(str(folder)),
    }
    # The agent writes null as None, and text as it is; the point is written as Hydra reads it.
    more = [f"{key}={value}" for key, value in added.items() if key not in given]
    return [*fixed, *point_overrides(point), *more]


def read_point(path: Path) -> dict[str, Any]:
    """The point that the agent wrote down for this run, by coordinate name."""
    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"the agent's file of this run's point cannot be read: {error}") from None
    return {
        name: entry.get("value") if isinstance(entry, Mapping) else entry
        for name, entry in (written or {}).items()
        if name != "wandb_version"
    }


def refuse_undeclared(
    point: Mapping[str, Any], space: Space, sweep_id: str, found: tuple[str, Registered] | None
) -> None:
    """Refuse a name that is no axis of the space, and a value that its axis cannot have.

    Raises:
        UserError: with the name.
    """
    where = f"sweep {sweep_id}"
    if found:
        declared = f"the file it was registered from ({found[0]}/{found[1].stage}.yaml)"
    else:
        declared = "the space of its command (conf/space/)"
    for name, value in point.items():
        if name not in space.names:
            raise UserError(
                f"{where} sets {name}, which {declared} does not declare; a sweep may set only "
                f"{', '.join(space.names)}. If {name} is to be searched, declare it in the space"
            )
        scale = space.axis(name).scale
        number = isinstance(value, int | float) and not isinstance(value, bool)
        chosen = isinstance(scale, Choice) and any(same(v, value) for v in scale.values)
        legal = chosen if isinstance(scale, Choice) else number
        if not legal:
            raise UserError(f"{where} sets {name}={value!r}, but {declared} says {scale}")


def _declared(fixed: Sequence[str]) -> Space:
    """The space that the command's own overrides compose, where no file is known here."""
    from caviar.compose import composed
    from caviar.search.checks import parse_space

    config, sources = composed(fixed)
    return parse_space(config, sources)
