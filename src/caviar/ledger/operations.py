"""What is written into a ledger: operations, in the words of Optuna's journal.

    store.write([set_attribute(trial, "claim", claim), set_state(trial, RUNNING)])

An operation is a plain object, and a line of the journal is one of them as JSON. So however many a
step of the ledger needs, and however many trials it is about, they reach the file in one append and
one sync to the disk. A database is told one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Operation = dict[str, Any]

# Optuna's numbers: of the kinds of operations, of the states of a trial, of the directions.
CREATE_STUDY, DELETE_STUDY, SET_STUDY_ATTRIBUTE = 0, 1, 2
CREATE_TRIAL, SET_STATE, SET_POINT, SET_ATTRIBUTE = 4, 6, 7, 8
RUNNING, COMPLETE, PRUNED, FAIL, WAITING = range(5)
MINIMIZE, MAXIMIZE = 1, 2
FINISHED = (COMPLETE, PRUNED, FAIL)


def create_study(name: str, mode: str) -> Operation:
    """A new stage."""
    direction = MINIMIZE if mode == "min" else MAXIMIZE
    return {"op_code": CREATE_STUDY, "study_name": name, "directions": [direction]}


def delete_study(study: int) -> Operation:
    """Forget a stage."""
    return {"op_code": DELETE_STUDY, "study_id": study}


def set_study_attribute(study: int, name: str, value: Any) -> Operation:
    """Write down something about a stage."""
    return {"op_code": SET_STUDY_ATTRIBUTE, "study_id": study, "user_attr": {name: value}}


def new_trial(
    study: int,
    attributes: Mapping[str, Any],
    params: Mapping[str, float],
    distributions: Mapping[str, str],
    curve: Mapping[int, float] | None = None,
    state: int = WAITING,
    value: float | None = None,
) -> Operation:
    """One more trial of a stage, which waits, or is finished already.

    Arguments:
        study: the stage.
        attributes: its own.
        params: its setting, for Optuna's own tools; of a choice, the position in the list.
        distributions: the axes of `params`, as Optuna's JSON.
        curve: point → metric.
        state: of it.
        value: of a finished one, as Optuna shows it.
    """
    now = None if state == WAITING else _now()
    ended = {} if state == WAITING else {"datetime_complete": now}
    return {
        "op_code": CREATE_TRIAL,
        "study_id": study,
        "datetime_start": now,
        "state": state,
        "value": value,
        "values": None,
        **ended,
        "distributions": dict(distributions),
        "params": dict(params),
        "user_attrs": dict(attributes),
        "system_attrs": {},
        "intermediate_values": dict(curve or {}),
    }


def set_state(trial: int, state: int, values: Sequence[float] | None = None) -> Operation:
    """Let a trial wait, run, or be finished, as of now; with the value that Optuna shows."""
    operation: Operation = {
        "op_code": SET_STATE,
        "trial_id": trial,
        "state": state,
        "values": None if values is None else [*values],
    }
    if state == RUNNING:
        operation["datetime_start"] = _now()
    elif state in FINISHED:
        operation["datetime_complete"] = _now()
    return operation


def set_point(trial: int, point: int, value: float) -> Operation:
    """One point of a trial's learning curve."""
    return {"op_code": SET_POINT, "trial_id": trial, "step": point, "intermediate_value": value}


def set_attribute(trial: int, name: str, value: Any) -> Operation:
    """Write down something about a trial."""
    return {"op_code": SET_ATTRIBUTE, "trial_id": trial, "user_attr": {name: value}}


def _now() -> str:
    return datetime.now(tz=UTC).isoformat(timespec="microseconds")
