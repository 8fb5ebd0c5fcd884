"""A ledger in a database, SQLite or PostgreSQL: an Optuna storage, as a ledger asks for one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from caviar.ledger import operations as ops
from caviar.ledger.connections import operation as one_connection
from caviar.ledger.operations import Operation
from caviar.ledger.overview import Overview
from caviar.ledger.replay import Stage
from caviar.ledger.trials import as_trial
from caviar.ledger.tries import NUMBER, RETRIED, Try


class Database:
    """The same as `journal.Journal`, in a database, which is told one operation after the other."""

    def __init__(self, storage: RDBStorage) -> None:
        self._storage = storage

    @property
    def optuna(self) -> BaseStorage:
        """The storage, for Optuna's own tools."""
        return self._storage

    def write(self, operations: Sequence[Operation]) -> None:
        """Let operations take effect, in their order; after an error, some of them."""
        with one_connection(self._storage):
            for operation in operations:
                self._perform(operation)

    def _perform(self, operation: Operation) -> None:
        kind, storage = operation["op_code"], self._storage
        if kind == ops.CREATE_STUDY:
            directions = [StudyDirection(d) for d in operation["directions"]]
            storage.create_new_study(directions, operation["study_name"])
        elif kind == ops.DELETE_STUDY:
            storage.delete_study(operation["study_id"])
        elif kind == ops.SET_STUDY_ATTRIBUTE:
            for name, value in operation["user_attr"].items():
                storage.set_study_user_attr(operation["study_id"], name, value)
        elif kind == ops.CREATE_TRIAL:
            storage.create_new_trial(operation["study_id"], _template(operation))
        elif kind == ops.SET_STATE:
            state = TrialState(operation["state"])
            storage.set_trial_state_values(operation["trial_id"], state, operation["values"])
        elif kind == ops.SET_POINT:
            point, value = operation["step"], operation["intermediate_value"]
            storage.set_trial_intermediate_value(operation["trial_id"], point, value)
        else:
            for name, value in operation["user_attr"].items():
                storage.set_trial_user_attr(operation["trial_id"], name, value)

    def stages(self) -> Mapping[str, int]:
        """Every study's name → its number, in the order in which they were begun."""
        studies = sorted(self._storage.get_all_studies(), key=lambda s: s._study_id)
        return {study.study_name: study._study_id for study in studies}

    def stage(self, study: int) -> Stage:
        """One of them; its trials are not listed here."""
        storage = self._storage
        minimises = storage.get_study_directions(study) == [StudyDirection.MINIMIZE]
        name = storage.get_study_name_from_id(study)
        return Stage(name, "min" if minimises else "max", storage.get_study_user_attrs(study))

    def tries(self, study: int, numbers: Sequence[int], own: Mapping[int, int]) -> list[Try]:
        """The latest tries of some trials of a stage; of many, all of the stage are read at once.

        Arguments:
            study: the stage.
            numbers: of the trials.
            own: number → another try, which is read in place of the latest.
        """
        storage = self._storage
        if len(numbers) < 2 and RETRIED not in storage.get_study_user_attrs(study):
            number_to_id = storage.get_trial_id_from_study_id_trial_number
            ids = [own[n] if n in own else number_to_id(study, n) for n in numbers]
            return [_try(storage.get_trial(id), n) for id, n in zip(ids, numbers, strict=True)]
        tries = self._all(study)
        latest, by_id = _latest(tries), {one.id: one for one in tries}
        return [by_id[own[n]] if n in own else latest[n] for n in numbers]

    def states(self, study: int) -> list[tuple[int, int]]:
        """By the trials' numbers, each one's latest try and its state."""
        return [(one.id, one.state) for one in _latest(self._all(study))]

    def mark(self, study: int) -> object:
        """Of now, for `changed`."""
        return None

    def changed(self, study: int, since: object) -> tuple[object, list[Try]]:
        """The latest tries of all trials: a database does not say what was written last."""
        return None, _latest(self._all(study))

    def overview(self, study: int) -> Overview:
        """Of a stage."""
        name, mode = (stage := self.stage(study)).name, stage.mode
        return Overview.of([as_trial(name, one) for one in _latest(self._all(study))], mode)

    def _all(self, study: int) -> list[Try]:
        """Every try, in the order in which they were made."""
        found: list[Try] = []
        first = 0
        for frozen in self._storage.get_all_trials(study, deepcopy=False):
            number = frozen.user_attrs.get(NUMBER, first)
            first += NUMBER not in frozen.user_attrs
            found.append(_try(frozen, number))
        return found


def _latest(tries: Iterable[Try]) -> list[Try]:
    """Of each trial, by number."""
    return [*{one.number: one for one in tries}.values()]


def _try(frozen: FrozenTrial, number: int) -> Try:
    shown = frozen.distributions
    return Try(
        id=frozen._trial_id,
        number=number,
        state=int(frozen.state),
        attributes=frozen.user_attrs,
        curve=frozen.intermediate_values,
        started=frozen.datetime_start,
        params={n: shown[n].to_internal_repr(v) for n, v in frozen.params.items()},
        distributions={n: distribution_to_json(d) for n, d in shown.items()},
    )


def _template(operation: Operation) -> FrozenTrial:
    shown = {n: json_to_distribution(d) for n, d in operation["distributions"].items()}
    return create_trial(
        state=TrialState(operation["state"]),
        value=operation["value"],
        params={n: shown[n].to_external_repr(v) for n, v in operation["params"].items()},
        distributions=shown,
        user_attrs=operation["user_attrs"],
        intermediate_values=operation["intermediate_values"],
    )
