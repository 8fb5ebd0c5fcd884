"""The ledger: where the trials of a study and their results are kept.

    ledger = Ledger.open(storage, "digits")
    ledger.add("01_coarse", point, space, seed=…)   # waiting
    claimed = ledger.claim("01_coarse", 0)          # True for exactly one caller
    ledger.report("01_coarse", 0, epoch, value)
    ledger.finish("01_coarse", 0, result)

It is an Optuna storage, one Optuna study a stage, so Optuna's dashboard and databases work; all
of Optuna stays behind these few functions. A worker writes its own result: a killed driver loses
nothing.
"""

from __future__ import annotations

import socket
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from caviar.errors import UserError
from caviar.ledger.journal import Journal
from caviar.ledger.locks import locked
from caviar.result import DIVERGED, FAILED, Result
from caviar.space import Axis, Choice, Integer, Log, LogInteger, Space

WAITING, RUNNING = "waiting", "running"
SEPARATOR = "/"  # between study and stage in an Optuna study's name

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Trial:
    """One trial as the ledger knows it."""

    stage: str
    number: int
    status: str
    """`waiting`, `running`, or what its result says: `complete`, `diverged`, `failed`."""
    point: dict[str, Any]
    """Its search coordinates."""
    seed: int
    note: str = ""
    """Which setting this is, where a stage has several: `default`, `candidate 1`."""
    result: Result | None = None
    curve: dict[int, float] = field(default_factory=dict)
    """Epoch → metric, also while it runs."""
    started: datetime | None = None
    host: str = ""
    """The machine that claimed it."""

    @property
    def finished(self) -> bool:
        return self.result is not None


class Ledger:
    """The trials of one study, in all its stages."""

    def __init__(self, storage: BaseStorage, study: str, guard: Path | None = None) -> None:
        self._storage, self.study, self._guard = storage, study, guard
        self._ids: dict[str, int] = {}

    @classmethod
    def open(cls, storage: str, study: str) -> Ledger:
        """From a path of a journal file, made if missing, or the URL of a database.

        Raises:
            UserError: the file or the database cannot be opened.
        """
        try:
            if "://" not in storage:
                path = Path(storage)
                path.parent.mkdir(parents=True, exist_ok=True)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                    return cls(JournalStorage(Journal(path)), study)
            # Claims are not atomic in SQLite: two of some forty came out double in a test.
            file = storage.removeprefix("sqlite:///") if storage.startswith("sqlite:") else None
            guard = Path(f"{file}.claims") if file else None
            return cls(RDBStorage(storage), study, guard)
        except Exception as error:
            raise UserError(f"search.storage={_without_password(storage)}: {error}") from error

    # -- stages

    @staticmethod
    def exists(storage: str) -> bool:
        """False for a file that is not there, which opening would make."""
        file = storage.partition(":///")[2] if storage.startswith("sqlite") else storage
        return "://" in file or Path(file).exists()

    def stages(self) -> list[str]:
        """Names of all stages, in the order in which they were begun."""
        prefix = self.study + SEPARATOR
        studies = [s for s in self._storage.get_all_studies() if s.study_name.startswith(prefix)]
        studies.sort(key=lambda s: s._study_id)
        return [s.study_name.removeprefix(prefix) for s in studies]

    def begin(self, stage: str, facts: Mapping[str, Any], mode: str) -> dict[str, Any]:
        """Make the stage if it is new; what was written down when it was made."""
        if stage not in self.stages():
            direction = StudyDirection.MINIMIZE if mode == "min" else StudyDirection.MAXIMIZE
            study_id = self._storage.create_new_study([direction], self._name(stage))
            self._storage.set_study_user_attr(study_id, "facts", dict(facts))
        return self.facts(stage)

    def facts(self, stage: str) -> dict[str, Any]:
        """What was written down when the stage was made: its overrides, seed, metric."""
        return self._storage.get_study_user_attrs(self._id(stage)).get("facts", {})

    # -- trials

    def add(self, stage: str, point: Mapping[str, Any], space: Space, seed: int, note: str) -> int:
        """Append a waiting trial; its number, counted from 0 within the stage."""
        shown = {axis.name: _distribution(axis) for axis in space if axis.name in point}
        template = create_trial(
            state=TrialState.WAITING,
            params={name: point[name] for name in shown},
            distributions=shown,
            user_attrs={"point": dict(point), "seed": seed, "note": note},
        )
        trial_id = self._storage.create_new_trial(self._id(stage), template)
        return self._storage.get_trial_number_from_id(trial_id)

    def trials(self, stage: str) -> list[Trial]:
        """All trials of a stage, by number."""
        if stage not in self.stages():
            return []
        return [_trial(stage, t) for t in self._storage.get_all_trials(self._id(stage), False)]

    def trial(self, stage: str, number: int) -> Trial:
        """One trial."""
        return _trial(stage, self._storage.get_trial(self._trial_id(stage, number)))

    def claim(self, stage: str, number: int) -> bool:
        """Turn a waiting trial into a running one; False if somebody else has it already."""
        trial_id = self._trial_id(stage, number)
        with locked(self._guard) if self._guard else nullcontext():
            if self._storage.get_trial(trial_id).state != TrialState.WAITING:
                return False
            if not self._storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                return False
        self._storage.set_trial_user_attr(trial_id, "host", socket.gethostname())
        return True

    def release(self, stage: str, number: int) -> None:
        """Put a trial that was interrupted back among the waiting ones."""
        trial_id = self._trial_id(stage, number)
        if self._storage.get_trial(trial_id).state == TrialState.RUNNING:
            self._storage.set_trial_state_values(trial_id, TrialState.WAITING)

    def report(self, stage: str, number: int, epoch: int, value: float) -> None:
        """One point of the learning curve, while the trial runs."""
        trial_id = self._trial_id(stage, number)
        self._storage.set_trial_intermediate_value(trial_id, epoch, value)

    def finish(self, stage: str, number: int, result: Result) -> None:
        """Write the result of a running trial. A diverged one is complete, with the worst value."""
        trial_id = self._trial_id(stage, number)
        self._storage.set_trial_user_attr(trial_id, "result", result.to_dict())
        if result.status == FAILED or (result.best is None and result.status != DIVERGED):
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
            return
        minimise = self._storage.get_study_directions(self._id(stage)) == [StudyDirection.MINIMIZE]
        loss = result.loss("min" if minimise else "max")
        value = loss if minimise else -loss
        self._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [value])

    # -- Optuna's names and numbers

    def _name(self, stage: str) -> str:
        return f"{self.study}{SEPARATOR}{stage}"

    def _id(self, stage: str) -> int:
        if stage not in self._ids:
            self._ids[stage] = self._storage.get_study_id_from_name(self._name(stage))
        return self._ids[stage]

    def _trial_id(self, stage: str, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id(stage), number)


def _trial(stage: str, frozen: FrozenTrial) -> Trial:
    attributes = frozen.user_attrs
    result = None
    if frozen.state.is_finished():
        result = Result.from_dict(attributes.get("result") or {"status": FAILED})
    unfinished = RUNNING if frozen.state == TrialState.RUNNING else WAITING
    return Trial(
        stage=stage,
        number=frozen.number,
        status=result.status if result else unfinished,
        point=attributes.get("point", {}),
        seed=attributes.get("seed", 0),
        note=attributes.get("note", ""),
        result=result,
        curve=dict(sorted(frozen.intermediate_values.items())),
        started=frozen.datetime_start,
        host=attributes.get("host", ""),
    )


def _distribution(axis: Axis) -> BaseDistribution:
    scale = axis.scale
    if isinstance(scale, Choice):
        return CategoricalDistribution(scale.values)
    if isinstance(scale, Integer):
        return IntDistribution(scale.low, scale.high, log=isinstance(scale, LogInteger))
    return FloatDistribution(scale.low, scale.high, log=isinstance(scale, Log))


def _without_password(storage: str) -> str:
    scheme, separator, rest = storage.partition("://")
    credentials, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{credentials.split(':')[0]}{at}{host}" if at else storage
