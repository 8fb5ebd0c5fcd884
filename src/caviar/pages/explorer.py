"""What the page's own pictures and its table read: every trial of one study or of several.

    data = explorer_data([snapshot])      # plain JSON, in columns: rows of keys are twice as long

Values are natural ones, as a config has them, so that studies compare whose axes are drawn on
other scales. The page draws each axis on the scale that the first study has it on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf

from caviar.base import project
from caviar.base.errors import UserError
from caviar.base.result import finite
from caviar.pages.channels import metric_domain
from caviar.pages.recorded import curves_data
from caviar.pages.snapshot import Snapshot, best_value
from caviar.search.driver import command_of
from caviar.search.provenance import as_begun, trained_alike
from caviar.search.settings import CONFIRM, TEST
from caviar.space import Axis, Choice, OneMinusLog
from caviar.space.values import one_minus

DIGITS = 6  # of a value; tell any two settings apart


@dataclass
class Column:
    """One hyperparameter, in all studies of the page."""

    key: str
    kind: str
    """Of its scale: `log`, `one_minus_log`, `choice`, …"""
    low: float | None
    """The first stage's ends, in natural values; None of a choice."""
    high: float | None
    choices: list[str] = field(default_factory=list)
    """Of a choice; grows by values that are met."""

    @classmethod
    def of(cls, axis: Axis) -> Column:
        if isinstance(axis.scale, Choice):
            shown = [_shown(axis.scale.natural(v)) for v in axis.scale.values]
            return cls(axis.key, axis.scale.kind, None, None, shown)
        return cls(axis.key, axis.scale.kind, *axis.scale.declared())

    def cell(self, value: Any) -> Any:
        """A natural value as the page has it: a number, or the position of a choice."""
        if self.kind != Choice.kind:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return finite(value) if number else None
        if (text := _shown(value)) not in self.choices:
            self.choices.append(text)
        return self.choices.index(text)


def explorer_data(snapshots: Sequence[Snapshot]) -> dict[str, Any]:
    """All that the page's own pictures and table are drawn from.

    Arguments:
        snapshots: of studies that have the same metric.
    """
    first = snapshots[0]
    columns: dict[str, Column] = {}
    for snapshot in snapshots:
        for axis in snapshot.space:
            columns.setdefault(axis.key, Column.of(axis))
    stages = [_stages(snapshot, i) for i, snapshot in enumerate(snapshots)]
    listed = [s for group in stages for s in group]
    trials: dict[str, list[Any]] = {}
    row_of: dict[int, int] = {}
    offset = 0
    for snapshot, group in zip(snapshots, stages, strict=True):
        places = {stage["name"]: offset + i for i, stage in enumerate(group)}
        offset += len(group)
        for row in _rows(snapshot, columns, places, len(snapshots) > 1):
            row_of[id(row.pop("trial"))] = len(trials.get("number", ()))
            for name, value in row.items():
                trials.setdefault(name, []).append(value)
    values = [v for s in snapshots for t in s.trials if (v := best_value(t)) is not None]
    ends = metric_domain(values, first.mode)
    return {
        "metric": {
            "name": first.metric,
            "mode": first.mode,
            "low": ends[0][0] if ends else None,
            "high": ends[0][1] if ends else None,
            "log": bool(ends and ends[1]),
        },
        "now": round(time.time(), 1),
        "sampled": any(snapshot.sampled for snapshot in snapshots),
        "studies": [snapshot.study.name for snapshot in snapshots],
        "stages": listed,
        "axes": [vars(column) for column in columns.values()],
        "trials": trials,
        "curves": curves_data(snapshots, row_of),
    }


def _stages(snapshot: Snapshot, study: int) -> list[dict[str, Any]]:
    """The stages of a study that have trials; `group` is alike where losses compare."""
    groups: list[Mapping[str, Any]] = []
    listed = []
    for stage in snapshot.all_stages:
        searched = stage.name not in (CONFIRM, TEST)
        group = -1
        if searched:
            alike = [i for i, spec in enumerate(groups) if trained_alike(spec, stage.spec)]
            group = alike[0] if alike else len(groups)
            groups += [] if alike else [stage.spec]
        kind = "search" if searched else stage.name
        listed.append({"name": stage.name, "study": study, "kind": kind, "group": group})
    return listed


def _rows(
    snapshot: Snapshot, columns: Mapping[str, Column], places: Mapping[str, int], several: bool
) -> list[dict[str, Any]]:
    """A row for each trial: those of the search, the confirmation and the tests."""
    study = snapshot.study
    overrides = _overrides(snapshot)
    root, best = project.root(), snapshot.best
    rows = []
    given: Mapping[str, Any] | None = None
    for trial in snapshot.everything:
        result = trial.result
        test = trial.stage == TEST
        point = {_key(name): _natural(name, value) for name, value in trial.point.items()}
        fixed = trial.stage in (CONFIRM, TEST)
        if fixed and not {axis.key for axis in snapshot.space} <= {*point}:
            given = defaults_of(snapshot) if given is None else given
            point = {**given, **point}
        # A W&B run to come has no setting yet, and one with a damaged config lacks some of it.
        whole = fixed or {*snapshot.space.names} <= {*trial.point}
        # A trial's files lie below its number; those of a W&B run below its id.
        folder = study.folder / trial.stage / str(trial.claim.get("run", trial.number))
        measured = {k: _rounded(v) for k, v in (result.metrics if result else {}).items()}
        command = command_of(study, trial.planned, overrides[trial.stage], test, root)
        rows.append(
            {
                "trial": trial,
                "stage": places[trial.stage],
                "number": trial.number,
                "status": trial.status,
                # What a test measures is no value of the metric, and stands in its own columns.
                "value": None if test else _rounded(best_value(trial)),
                "epoch": result.best_epoch if result and not test else None,
                "setting": [
                    column.cell(point[key]) if key in point else None
                    for key, column in columns.items()
                ],
                "seconds": round(result.seconds, 2) if result else None,
                "started": round(trial.started.timestamp(), 1) if trial.started else None,
                "host": trial.host,
                "seed": trial.seed,
                "test": measured if test else None,
                "ended": None
                if test
                else {k: v for k, v in measured.items() if k != snapshot.metric} or None,
                "note": trial.note or str(trial.claim.get("label", "")),
                "error": (result.error or "") if result else "",
                "command": command if whole else "",
                "folder": str(folder.relative_to(study.folder.parent if several else study.folder)),
                "there": int(folder.is_dir()),
                "best": int(trial is best),
            }
        )
    return rows


def _overrides(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    """How each stage was begun; most were begun alike, and Hydra is slow."""
    begun: dict[str, tuple[str, ...]] = {}
    overrides = {}
    for stage in dict.fromkeys(t.stage for t in snapshot.everything):
        spec = snapshot.study.ledger.spec(stage)
        alike = repr((spec["overrides"], spec.get("config")))
        if alike not in begun:
            begun[alike] = as_begun(snapshot.study, spec)
        overrides[stage] = begun[alike]
    return overrides


def defaults_of(snapshot: Snapshot) -> dict[str, Any]:
    """The config's own value of each axis; the verdict has kept them."""
    if snapshot.verdict is not None and snapshot.verdict.defaults:
        return dict(snapshot.verdict.defaults)
    study = snapshot.study
    try:
        overrides = as_begun(study, study.ledger.spec(study.search_stages()[0]))
        config = study.compose(overrides)
    except (UserError, HydraException):
        return {}  # conf/ is no more what it was
    return {key: OmegaConf.select(config, key) for key in (axis.key for axis in snapshot.space)}


def _key(name: str) -> str:
    return name.removeprefix(OneMinusLog.prefix)


def _natural(name: str, value: Any) -> Any:
    """The config's value for a search coordinate."""
    return one_minus(value) if name.startswith(OneMinusLog.prefix) else value


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


def _rounded(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")
