"""Where the project is: the folder that holds `conf/` and `runs/`."""

from __future__ import annotations

import os
from pathlib import Path

from caviar.base.environment import ROOT, RUNS
from caviar.base.errors import UserError


def root() -> Path:
    """The project's folder.

    It is `CAVIAR_ROOT`, else the nearest folder upwards from here with `conf/train.yaml`, else the
    checkout that the package was installed from. `python train.py` sets `CAVIAR_ROOT` to its own
    folder, so it works from anywhere, and so do the processes that it starts.

    Raises:
        UserError: none of these holds a `conf/train.yaml`.
    """
    if named := os.environ.get(ROOT):
        places = [Path(named)]
    else:
        here = Path.cwd()
        places = [here, *here.parents, Path(__file__).resolve().parents[3]]
    for place in places:
        if (place / "conf" / "train.yaml").is_file():
            return place.resolve()
    raise UserError(
        f"no conf/train.yaml in {places[0]} or above; go to the project's folder, or set "
        "CAVIAR_ROOT to it"
    )


def runs() -> Path:
    """Where all that training leaves behind goes: `CAVIAR_RUNS`, or `runs/` in the root."""
    return Path(os.environ.get(RUNS) or root() / "runs")
