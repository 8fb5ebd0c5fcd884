"""A sweep's runs as trials. Whatever became of a run, it is counted, and shown as what it is.

Anybody with access to the project may edit a run's config and summary, and older clients wrote
them otherwise. So nothing here is taken to have our form: what has not is as if it were missing,
and one such run never hides the others.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from caviar.base.result import (
    COMPLETE,
    DIVERGED,
    EXCEPTION,
    FAULTS,
    KILLED,
    MARKER,
    PRUNED,
    RESULT,
    Result,
)
from caviar.ledger.trials import RUNNING, Planned, Trial
from caviar.space import Space
from caviar.space.sweep_file import SweepFile
from caviar.wandb.record import value_of

ALIVE = ("running", "pending", "preempting", "preempted")
NO_MARKER = "W&B calls it {state}, but it lacks the completion marker"
LATEST = datetime.max.replace(tzinfo=UTC)  # of a run whose age is not known
STATUSES = (COMPLETE, DIVERGED, PRUNED, *FAULTS)

# What the other fields of a result are in JSON, where 1.0 may be written as 1.
KINDS: Mapping[str, Any] = {
    "best": float | int | None,
    "best_epoch": int | None,
    "best_step": int | None,
    "unit": str,
    "epochs": int | None,
    "steps": int | None,
    "last": float | int | None,
    "seconds": float | int,
    "num_params": int,
    "seed": int | None,
    "metrics": dict,
    "checkpoint": str | None,
    "error": str | None,
}


@dataclass(frozen=True)
class WandbRun:
    """One run as W&B tells it."""

    name: str
    """Its id, eight letters and digits unless somebody chose another."""
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
    # W&B gives no numbers. By age a run keeps its own while others come; and by name where several
    # began in the same second, because the service sends them in any order.
    ordered = sorted(runs, key=lambda run: (_time(run.created) or LATEST, run.name))
    return [_trial(stage, number, sweep, run, over) for number, run in enumerate(ordered)]


def _trial(stage: str, number: int, sweep: SweepFile, run: WandbRun, over: bool) -> Trial:
    config = run.config if isinstance(run.config, Mapping) else {}
    summary = run.summary if isinstance(run.summary, Mapping) else {}
    result, curve = _ending(summary) or (None, {})
    if result is None:  # its word counts before W&B's, which calls a run finished that was ended
        result, curve = _ending_by_state(run.state, over), _latest(summary, sweep.metric)
    elif result.status == COMPLETE:
        result = _checked(result, summary, f"{sweep.metric}_best")
    point = _point(sweep.space, config)
    missing = [name for name in sweep.space.names if name not in point]
    if missing and result is not None and not result.failed:
        # A value without its setting teaches nothing, and must not be mistaken for one.
        result = Result(EXCEPTION, error=f"its config lacks {', '.join(missing)}")
    trainer = config.get("trainer")
    epochs = trainer.get("max_epochs") if isinstance(trainer, Mapping) else None
    return Trial(
        stage=stage,
        number=number,
        status=result.status if result else RUNNING,
        planned=Planned(point, seed=_whole(config.get("seed"))),
        result=result,
        curve=curve,
        started=_time(run.created),
        claim={
            "label": run.label or run.name,
            "run": run.name,
            "epochs": max(0, _whole(epochs)) or None,  # Lightning's -1 is no number of epochs
        },
    )


def _ending(summary: Mapping[str, Any]) -> tuple[Result, dict[int, float]] | None:
    """The result and the curve, epoch → metric, that the run itself left as its last word.

    None where there are none, or not of the form that `finish_wandb` writes: then nobody knows
    whether the run came to its end.
    """
    if MARKER not in summary:
        return None
    try:
        fields = json.loads(summary[RESULT])
        points = fields.get("curve") or []
        curve = {int(e): math.nan if v is None else float(v) for e, v in points}
        whole = all(isinstance(fields[k], kind) for k, kind in KINDS.items() if k in fields)
        if whole and fields["status"] in STATUSES:
            return Result.from_dict(fields), curve
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
        pass
    return None


def _ending_by_state(state: str, over: bool) -> Result | None:
    """The result of a run that left no word, by what W&B calls it; None while it is alive."""
    if state == "pending" and over:
        return Result(KILLED, error="it was given out, and never heard of")
    if state in ALIVE:
        return None
    if state in ("crashed", "killed"):
        return Result(KILLED, error=f"W&B calls it {state}")
    return Result(EXCEPTION, error=NO_MARKER.format(state=state))


def _checked(result: Result, summary: Mapping[str, Any], metric: str) -> Result:
    """The result of a run that says it is complete, its best value by W&B's summary if it has
    none of its own."""
    best = number(summary.get(metric) if result.best is None else result.best)
    if best is None:
        return Result(EXCEPTION, seed=result.seed, error=f"complete, but {metric} is missing")
    if not math.isfinite(best):
        return Result(DIVERGED, seed=result.seed)
    result.best = best
    return result


def _point(space: Space, config: Mapping[str, Any]) -> dict[str, Any]:
    """The swept values, which W&B keeps flat in the config, without those that no axis has."""
    point: dict[str, Any] = {}
    for axis in space:
        if axis.name in config:
            with suppress(ValueError):
                point[axis.name] = value_of(axis.scale, config[axis.name])
    return point


def _latest(summary: Mapping[str, Any], metric: str) -> dict[int, float]:
    """The one point of a learning curve that W&B shows of a run that has not ended."""
    epoch, value = number(summary.get("epoch")), number(summary.get(metric))
    if epoch is None or value is None or not math.isfinite(epoch):
        return {}
    return {int(epoch): value}


def number(value: Any) -> float | None:
    """A number of a summary, where W&B writes NaN and infinity as text; None for anything else."""
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # a whole number of JSON's may have any length
        return math.inf if value > 0 else -math.inf


def _whole(value: Any) -> int:
    """A whole number of a config; 0 for anything else."""
    as_float = number(value)
    return int(as_float) if as_float is not None and math.isfinite(as_float) else 0


def _time(text: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
