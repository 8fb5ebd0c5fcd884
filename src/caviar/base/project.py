"""Where the project is: the folder that holds `conf/` and `runs/`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from caviar.base.environment import ROOT, RUNS
from caviar.base.errors import UserError


def root() -> Path:
    """The project's folder.

    It is `CAVIAR_ROOT`, else the nearest folder upwards from here with `conf/train.yaml`. `python
    train.py` sets `CAVIAR_ROOT` to its own folder, so it works from anywhere, and so do the
    processes that it starts.

    Raises:
        UserError: none of these holds a `conf/train.yaml`.
    """
    if named := os.environ.get(ROOT):
        if (Path(named) / "conf" / "train.yaml").is_file():
            return Path(named).resolve()
        raise UserError(f"CAVIAR_ROOT={named} is no project: it has no conf/train.yaml")
    here = Path.cwd()
    for place in (here, *here.parents):
        if (place / "conf" / "train.yaml").is_file():
            return place.resolve()
    raise UserError(
        f"no project here: there is no conf/train.yaml in {here} or above; go to the project's "
        "folder, or set CAVIAR_ROOT to it"
    )


def enter() -> Path:
    """The project's folder, made this process's own: its modules can be imported, as `python
    train.py` can, and what this process starts finds it.

    Raises:
        UserError: there is no project here.
    """
    place = root()
    os.environ[ROOT] = str(place)
    if sys.path[:1] != [str(place)]:
        sys.path.insert(0, str(place))
    return place


def runs() -> Path:
    """Where all that training leaves behind goes: `CAVIAR_RUNS`, or `runs/` in the root."""
    return Path(os.environ.get(RUNS) or root() / "runs")
