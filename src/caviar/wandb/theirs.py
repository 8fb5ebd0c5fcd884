"""A W&B sweep file that knows nothing of Caviar, read: `caviar sweep --from theirs.yaml`.

What it draws, what it fixes, what it watches; and, a line for each, what a search does otherwise.
The distributions are `caviar.space.theirs`; which axis of the config each parameter becomes, and on
which scale, is `caviar.wandb.brought`'s affair.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from caviar.base.errors import UserError
from caviar.config.keys import Metric
from caviar.space import Choice, Integer, SpaceError
from caviar.space.sweep_file import GOALS
from caviar.space.theirs import Fixed, Left, Parameter, read_parameters

MACROS = re.compile(r"\$\{(env|interpreter|program|args\w*)\}|(/usr/bin/env )?python3?|.*\.py")
OVERRIDE = re.compile(r"[+~]*[A-Za-z_][\w./@-]*=.*")  # a fixed word of the command that is Hydra's
METHODS = ("grid", "random", "bayes")


@dataclass(frozen=True)
class Theirs:
    """Somebody's sweep."""

    path: Path
    parameters: tuple[Parameter, ...]
    fixed: tuple[Fixed, ...]
    left: tuple[Left, ...]
    metric: Metric | None
    words: tuple[str, ...]
    """Hydra overrides that its command has."""
    otherwise: tuple[str, ...]
    """What of the file a search does in another way, or not at all."""
    project: str | None = None
    entity: str | None = None

    @classmethod
    def read(cls, path: Path) -> Theirs:
        """Read a sweep file.

        Raises:
            UserError: it is missing, no YAML, no sweep, or says something that W&B does not know.
        """
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise UserError(f"cannot read the sweep file {path}: {reason}") from None
        except yaml.YAMLError as error:
            raise UserError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from None
        if not isinstance(document, dict) or not isinstance(document.get("parameters"), dict):
            raise UserError(f"{path} has no parameters, so it is no sweep file of W&B")
        if not document["parameters"]:
            raise UserError(f"{path}: parameters is empty; name what is to be searched")
        try:
            read = list(read_parameters(document["parameters"]))
        except SpaceError as error:
            raise UserError(f"{path}: parameters.{error.key}: {error.message}") from None
        parameters = tuple(p for p in read if isinstance(p, Parameter))
        words, rest = _command(document)
        return cls(
            path,
            parameters,
            tuple(p for p in read if isinstance(p, Fixed)),
            tuple(p for p in read if isinstance(p, Left)),
            _metric(document, path),
            words,
            (*_otherwise(document, parameters, path), *rest),
            *(str(v) if (v := document.get(key)) else None for key in ("project", "entity")),
        )


def _metric(document: Mapping[str, Any], path: Path) -> Metric | None:
    metric = document.get("metric")
    if metric is None:
        return None
    if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
        example = "{ name: val/loss, goal: minimize }"
        raise UserError(f"{path}: metric has no name; write metric: {example}")
    modes = {goal: mode for mode, goal in GOALS.items()}
    goal = metric.get("goal", "minimize")  # as W&B takes it
    if goal not in modes:
        raise UserError(f"{path}: metric.goal is {goal!r}; write one of {', '.join(modes)}")
    return Metric(metric["name"], modes[goal])


def _otherwise(
    document: Mapping[str, Any], parameters: tuple[Parameter, ...], path: Path
) -> list[str]:
    lines = []
    method = document.get("method")
    if method not in METHODS:
        raise UserError(f"{path}: method is {method!r}; W&B has {', '.join(METHODS)}")
    if method == "bayes":
        lines.append(
            "method bayes: trials are random points, and each later round is drawn from what a "
            "model of all earlier ones has found"
        )
    if method == "grid":
        sizes = [_size(p) for p in parameters]
        times = f" {math.prod(sizes)} of them" if all(sizes) else ""
        lines.append(
            f"method grid: trials are random points, not all combinations{times}; as many as the "
            "budget pays for, and each shows another value of every range"
        )
    if "early_terminate" in document:
        kind = (document["early_terminate"] or {}).get("type", "")
        lines.append(
            f"early_terminate {kind}: the first round of caviar search has a rung already, behind "
            "which a third of the trials goes on; for a single round write search.rungs=[0.33], or "
            "search.pruner=hyperband"
        )
    if (cap := document.get("run_cap")) is not None:
        lines.append(
            f"run_cap {cap}: for a single round write search.num_trials={cap}; for a whole search, "
            f"confirmation included, search.budget={cap}"
        )
    if isinstance(document.get("metric"), dict) and "target" in document["metric"]:
        lines.append("metric.target: a search does not end when a trial has reached a value")
    return lines


def _size(parameter: Parameter) -> int:
    """How many values a grid has of it; 0 where it has no grid."""
    scale = parameter.scale
    if isinstance(scale, Choice):
        return len(scale.values)
    return scale.high - scale.low + 1 if type(scale) is Integer else 0


def _command(document: Mapping[str, Any]) -> tuple[tuple[str, ...], list[str]]:
    """Hydra overrides in the command, and a line on what else is there."""
    given = document.get("command") or ()
    words = [str(word) for word in (given.split() if isinstance(given, str) else given)]
    kept = tuple(w for w in words if OVERRIDE.fullmatch(w))
    rest = [w for w in words if w not in kept and not MACROS.fullmatch(w)]
    lost = f"command: {' '.join(rest)} is no override of Hydra, and is not handed on"
    return kept, [lost] if rest else []
