"""OmegaConf resolvers: scales for `conf/space/`, and `one_minus` for search coordinates.

Each is a pure function that returns plain data and never samples: a resolver may run any number
of times, on any rank.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from caviar.base.errors import UserError
from caviar.space.scales import SCALES, one_minus


def _range(kind: str) -> Any:
    def describe(*ends: Any) -> dict[str, Any]:
        if len(ends) != 2:
            raise UserError(f"${{{kind}:…}} takes two numbers, low and high; got {list(ends)}")
        return {"scale": kind, "low": ends[0], "high": ends[1]}

    return describe


def _choice(*values: Any) -> dict[str, Any]:
    # ${choice:} arrives as one empty text in some versions, and as nothing in others.
    return {"scale": "choice", "values": [] if values == ("",) else list(values)}


def _one_minus(complement: float) -> float:
    if isinstance(complement, bool) or not isinstance(complement, int | float):
        raise UserError(f"one_minus: {complement!r} is not a number")
    return one_minus(complement)


JOBS = "jobs"  # in a study's folder: what a plain grid has trained


def next_number(folder: str) -> int:
    """Claim the next free number below `folder` by making its folder.

    A resolver with an effect, and so one that is cached: a config asks for the value several
    times, and two runs that begin at once must not share a folder, which `mkdir` decides.
    """
    base = Path(folder)
    base.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(p.name) for p in base.iterdir() if p.name.isdigit()), default=-1)
    while True:
        try:
            os.mkdir(base / str(number))
            return number
        except FileExistsError:
            number += 1


def _trial_folder(stage: str | None, number: int | None, folder: str) -> str:
    """Where a job of a sweep lies below `folder`: a trial by its stage and number; one that is no
    trial, of Hydra's own sweepers, by the next free number."""
    if number is None:
        return f"{JOBS}/{next_number(f'{folder}/{JOBS}')}"
    return f"{stage}/{number}"


_ours: set[str] = set()  # names that were free


def register() -> None:
    """Make the resolvers known; safe to call again. Must happen before the config is composed.

    One of the project's own of that name stays: `refuse_taken` says what to do about it.
    """
    for kind in SCALES:
        _register(kind, _choice if kind == "choice" else _range(kind), cached=False)
    _register("one_minus", _one_minus, cached=False)
    for name, claiming in (("next_number", next_number), ("trial_folder", _trial_folder)):
        _register(name, claiming, cached=True)


def refuse_taken() -> None:
    """Refuse to search where a project has a resolver of its own by the name of one of ours.

    Raises:
        UserError: it names the resolver.
    """
    for name in (*SCALES, "one_minus", "trial_folder"):
        if OmegaConf.has_resolver(name) and name not in _ours:
            raise UserError(
                f"the project registers a resolver {name} of its own, which Caviar's spaces need: "
                "rename it"
            )


def _register(name: str, function: Any, cached: bool) -> None:
    if not OmegaConf.has_resolver(name):
        OmegaConf.register_new_resolver(name, function, use_cache=cached)
        _ours.add(name)
