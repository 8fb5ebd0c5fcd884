"""What is written into a ledger: operations, in the words of Optuna's journal.

    write(storage, [set_attribute(trial, "claim", claim), set_state(trial, RUNNING)])

An operation is a plain object, and a line of the journal is one of them as JSON. So however many a
step of the ledger needs, and however many trials it is about, they reach the file in one append and
one sync to the disk. A database is told one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.storages import BaseStorage, JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

Operation = dict[str, Any]

# Optuna's numbers of the kinds of operations.
SET_STUDY_ATTRIBUTE, CREATE_TRIAL, SET_STATE, SET_POINT, SET_ATTRIBUTE = 2, 4, 6, 7, 8

WRITER = "caviar"  # the journal wants a name; Optuna raises errors over its own lines alone


def set_study_attribute(study: int, name: str, value: Any) -> Operation:
    """Write down something about a stage."""
    return {"op_code": SET_STUDY_ATTRIBUTE, "study_id": study, "user_attr": {name: value}}


def new_trial(study: int, template: FrozenTrial) -> Operation:
    """One more waiting trial of a stage."""
    shown = template.distributions
    return {
        "op_code": CREATE_TRIAL,
        "study_id": study,
        "datetime_start": None,
        "state": int(template.state),
        "value": None,
        "values": None,
        "distributions": {name: distribution_to_json(d) for name, d in shown.items()},
        "params": {n: shown[n].to_internal_repr(v) for n, v in template.params.items()},
        "user_attrs": template.user_attrs,
        "system_attrs": {},
        "intermediate_values": template.intermediate_values,
    }


def set_state(trial: int, state: TrialState, values: Sequence[float] | None = None) -> Operation:
    """Let a trial wait, run, or be finished, as of now; with the value that Optuna shows."""
    now = datetime.now(tz=UTC).isoformat(timespec="microseconds")
    operation: Operation = {
        "op_code": SET_STATE,
        "trial_id": trial,
        "state": int(state),
        "values": None if values is None else [*values],
    }
    if state == TrialState.RUNNING:
        operation["datetime_start"] = now
    elif state.is_finished():
        operation["datetime_complete"] = now
    return operation


def set_point(trial: int, point: int, value: float) -> Operation:
    """One point of a trial's learning curve."""
    return {
        "op_code": SET_POINT,
        "trial_id": trial,
        "step": point,
        "intermediate_value": value,
    }


def set_attribute(trial: int, name: str, value: Any) -> Operation:
    """Write down something about a trial."""
    return {"op_code": SET_ATTRIBUTE, "trial_id": trial, "user_attr": {name: value}}


def write(storage: BaseStorage, operations: Iterable[Operation]) -> None:
    """Let operations take effect, in their order. In a journal all of them do, or none.

    Raises:
        OSError: the disk is full; the journal is as it was.
    """
    if isinstance(storage, JournalStorage):
        if lines := [{**operation, "worker_id": WRITER} for operation in operations]:
            storage._backend.append_logs(lines)
        return
    for operation in operations:
        _perform(storage, operation)


def _perform(storage: BaseStorage, operation: Mapping[str, Any]) -> None:
    """The same in a database."""
    kind = operation["op_code"]
    if kind == SET_STUDY_ATTRIBUTE:
        for name, value in operation["user_attr"].items():
            storage.set_study_user_attr(operation["study_id"], name, value)
    elif kind == SET_ATTRIBUTE:
        for name, value in operation["user_attr"].items():
            storage.set_trial_user_attr(operation["trial_id"], name, value)
    elif kind == SET_POINT:
        storage.set_trial_intermediate_value(
            operation["trial_id"], operation["step"], operation["intermediate_value"]
        )
    elif kind == SET_STATE:
        state = TrialState(operation["state"])
        storage.set_trial_state_values(operation["trial_id"], state, operation["values"])
    else:
        shown = {n: json_to_distribution(d) for n, d in operation["distributions"].items()}
        template = create_trial(
            state=TrialState(operation["state"]),
            params={n: shown[n].to_external_repr(v) for n, v in operation["params"].items()},
            distributions=shown,
            user_attrs=operation["user_attrs"],
            intermediate_values=operation["intermediate_values"],
        )
        storage.create_new_trial(operation["study_id"], template)
