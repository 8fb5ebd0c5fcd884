"""A sweep's runs as trials. Whatever became of a run, it is counted, and shown as what it is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from caviar.base.result import COMPLETE, DIVERGED, EXCEPTION, KILLED, MARKER, RESULT, Result
from caviar.ledger.trials import RUNNING, Planned, Trial
from caviar.space import Choice, Integer, Linear, Space
from caviar.space.sweep_file import SweepFile

ALIVE = ("running", "pending", "preempting", "preempted")
NO_MARKER = "W&B calls it {state}, but it lacks the completion marker"


@dataclass(frozen=True)
class WandbRun:
    """One run as W&B tells it."""

    name: str
    """Its id, eight letters."""
    label: str
    """Its display name."""
    state: str
    created: str
    """ISO 8601."""
    config: Mapping[str, Any]
    summary: Mapping[str, Any]


def trials_of(
    stage: str, sweep: SweepFile, runs: Sequence[WandbRun], over: bool = False
) -> list[Trial]:
    """A trial for each run, numbered by their age.

    Arguments:
        stage: of the study.
        sweep: as it was registered.
        runs: all of the sweep's.
        over: whether the sweep starts no more; a run that has not begun by then never will.
    """
    ordered = sorted(runs, key=lambda run: (run.created, run.name))
    return [_trial(stage, number, sweep, run, over) for number, run in enumerate(ordered)]


def _trial(stage: str, number: int, sweep: SweepFile, run: WandbRun, over: bool) -> Trial:
    marked = _marked(run)
    result = _result(sweep, run, marked)
    if result is None and over and run.state == "pending":
        result = Result(KILLED, error="it was given out, and never heard of")
    point, missing = _point(sweep.space, run.config)
    if missing and result is not None and not result.failed:
        # A value without its setting teaches nothing, and must not be mistaken for one.
        result = Result(EXCEPTION, error=f"its config lacks {', '.join(missing)}")
    trainer = run.config.get("trainer")
    epochs = trainer.get("max_epochs") if isinstance(trainer, Mapping) else None
    return Trial(
        stage=stage,
        number=number,
        status=result.status if result else RUNNING,
        planned=Planned(point, seed=_whole(run.config.get("seed"))),
        result=result,
        curve=_curve(sweep, run, marked),
        started=_time(run.created),
        claim={"label": run.label or run.name, "run": run.name, "epochs": epochs},
    )


def _marked(run: WandbRun) -> dict[str, Any]:
    """What the run itself said at its end; empty without a word from it."""
    try:
        found = json.loads(run.summary.get(RESULT) or "{}") if MARKER in run.summary else {}
    except (ValueError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _result(sweep: SweepFile, run: WandbRun, marked: Mapping[str, Any]) -> Result | None:
    """The run's result; None while it is alive."""
    if marked:
        result = Result.from_dict(dict(marked))
        if result.status == COMPLETE and result.best is None:
            return _by_summary(sweep, run, result)
        return result
    if run.state in ALIVE:
        return None
    died = run.state in ("crashed", "killed")
    said = f"W&B calls it {run.state}" if died else NO_MARKER.format(state=run.state)
    return Result(KILLED if died else EXCEPTION, error=said)


def _by_summary(sweep: SweepFile, run: WandbRun, result: Result) -> Result:
    """Of a run that says it is complete without its best value, by what W&B shows of it."""
    name = f"{sweep.metric}_best"
    value = number(run.summary.get(name))
    if value is None:
        return Result(EXCEPTION, seed=result.seed, error=f"complete, but {name} is missing")
    if not math.isfinite(value):
        return Result(DIVERGED, seed=result.seed)
    result.best = value
    return result


def _point(space: Space, config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The swept values, which W&B keeps flat in the config; and the names that are missing."""
    point: dict[str, Any] = {}
    for axis in space:
        value = config.get(axis.name)
        if isinstance(axis.scale, Choice) and axis.name in config:
            # JSON writes 1.0 as 1: the declared value is meant.
            alike = [v for v in axis.scale.values if same(v, value)]
            point |= {axis.name: alike[0]} if alike else {}
        elif isinstance(axis.scale, Linear) and number(value) is not None:
            point[axis.name] = _whole(value) if isinstance(axis.scale, Integer) else value
    return point, [axis.name for axis in space if axis.name not in point]


def same(declared: Any, value: Any) -> bool:
    """Whether a value of JSON's is a declared one; 1 is 1.0, but neither is True."""
    booleans = isinstance(declared, bool) == isinstance(value, bool)
    return bool(booleans and declared == value)


def _curve(sweep: SweepFile, run: WandbRun, marked: Mapping[str, Any]) -> dict[int, float]:
    """Epoch → metric; of a run that is alive only the latest point."""
    if marked:
        points = marked.get("curve") or []
        return {int(e): math.nan if v is None else float(v) for e, v in points}
    epoch, value = number(run.summary.get("epoch")), number(run.summary.get(sweep.metric))
    return {} if epoch is None or value is None else {int(epoch): value}


def number(value: Any) -> float | None:
    """A number of a summary, where W&B writes NaN and infinity as text; None for anything else."""
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _whole(value: Any) -> int:
    found = number(value)
    return int(found) if found is not None and math.isfinite(found) else 0


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
