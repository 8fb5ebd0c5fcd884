"""The ledger: where the trials of a study and their results are kept.

    ledger = Ledger.open(storage, "digits")
    ledger.extend("01_coarse", plan, space)         # waiting
    claimed = ledger.claim("01_coarse", 0)          # True for exactly one living process
    ledger.report("01_coarse", 0, point, value)
    ledger.finish("01_coarse", 0, result)

It is an Optuna storage, one Optuna study a stage, so Optuna's dashboard and databases work; all
of Optuna stays behind these few functions. A worker writes its own result: a killed driver loses
nothing.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from caviar.base.result import DIVERGED, PRUNED, TRANSIENT, Length, Result
from caviar.ledger.claims import Claims
from caviar.ledger.storages import HEARTBEAT, KINDS, open_storage, patient
from caviar.ledger.trials import Planned, Trial, distribution, from_optuna
from caviar.space import Space

SEPARATOR = "/"  # between study and stage in an Optuna study's name
UNSEEN = "its worker died"  # a fault that nobody was there to see

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Ledger:
    """The trials of one study, in all its stages."""

    elsewhere = False
    """Whether another service gives out the trials of its search stages."""

    def __init__(self, storage: BaseStorage, study: str, claims: Claims) -> None:
        self._storage, self.study, self._claims = storage, study, claims
        self._ids: dict[str, int] = {}
        self._tokens: dict[int, str] = {}  # of the trials that this process has claimed

    @classmethod
    def open(cls, storage: str, study: str, heartbeat: int = HEARTBEAT) -> Ledger:
        """From a path of a journal file, made if missing, the URL of a database, or a file of a
        kind that somebody registered.

        Raises:
            UserError: the file or the database cannot be opened.
        """
        if kind := KINDS.get(Path(storage).name):
            return kind(Path(storage).parent, study)
        opened, claims = open_storage(storage, study, heartbeat)
        return cls(opened, study, claims)

    # -- stages

    @patient
    def stages(self) -> list[str]:
        """Names of all stages, in the order in which they were begun."""
        prefix = self.study + SEPARATOR
        studies = [s for s in self._storage.get_all_studies() if s.study_name.startswith(prefix)]
        studies.sort(key=lambda s: s._study_id)
        return [s.study_name.removeprefix(prefix) for s in studies]

    @patient
    def begin(self, stage: str, spec: Mapping[str, Any], mode: str) -> dict[str, Any]:
        """Make the stage if it is new; what was written down when it was made."""
        # Exclusively: two drivers that are started at once would make the stage twice.
        with self._claims.exclusive():
            if stage not in self.stages():
                direction = StudyDirection.MINIMIZE if mode == "min" else StudyDirection.MAXIMIZE
                self._storage.create_new_study([direction], self._name(stage))
            attributes = self._storage.get_study_user_attrs(self._id(stage))
            # "facts" is the attribute's name on disk, which earlier versions wrote.
            if "facts" not in attributes:  # new, or its maker died before it wrote them
                self._storage.set_study_user_attr(self._id(stage), "facts", dict(spec))
        return self.spec(stage)

    @patient
    def spec(self, stage: str) -> dict[str, Any]:
        """What was written down when the stage was made: its overrides, seed, metric."""
        return self._storage.get_study_user_attrs(self._id(stage)).get("facts", {})

    def note(self, stage: str) -> str:
        """Where a stage runs, if that is not here."""
        return ""

    def refresh(self) -> None:
        """Read again, at the next look, what is read from afar only now and then."""

    @property
    def continued_by(self) -> str:
        """Which command goes on with a stage that nobody runs."""
        return "the command that began the study"

    # -- trials

    @patient
    def extend(self, stage: str, plan: Sequence[Planned], space: Space) -> None:
        """Append what of `plan` is not there yet, waiting: trial i of the stage is plan[i]."""
        with self._claims.exclusive():
            there = len(self._storage.get_all_trials(self._id(stage), deepcopy=False))
            # By position, so that a larger plan adds what is new and nothing is enqueued twice.
            for planned in plan[there:]:
                point = planned.point
                shown = {axis.name: distribution(axis) for axis in space if axis.name in point}
                template = create_trial(
                    state=TrialState.WAITING,
                    params={name: point[name] for name in shown},
                    distributions=shown,
                    user_attrs=planned.attributes(),
                )
                self._storage.create_new_trial(self._id(stage), template)

    @patient
    def trials(self, stage: str) -> list[Trial]:
        """All trials of a stage, by number."""
        if stage not in self.stages():
            return []
        frozen = self._storage.get_all_trials(self._id(stage), deepcopy=False)
        return [from_optuna(stage, t) for t in frozen]

    @patient
    def trial(self, stage: str, number: int) -> Trial:
        """One trial."""
        return from_optuna(stage, self._storage.get_trial(self._trial_id(stage, number)))

    @patient
    def claimable(self, stage: str) -> list[int]:
        """Numbers of the trials that wait, or whose worker has died."""
        study_id = self._id(stage)
        trials = self._storage.get_all_trials(study_id, deepcopy=False)
        running = [t._trial_id for t in trials if t.state == TrialState.RUNNING]
        dead = self._claims.abandoned(study_id, running) if running else set()
        return [t.number for t in trials if t.state == TrialState.WAITING or t._trial_id in dead]

    def claim(self, stage: str, number: int, **worker: Any) -> bool:
        """Make a waiting trial, or one whose worker died, this process's own; False if a living
        process has it, or it is finished.

        Arguments:
            stage: of the study.
            number: of the trial.
            worker: what a reader may want to know of the worker: its slot, the epochs to train.
        """
        host, pid = socket.gethostname(), os.getpid()
        return self._claim(
            stage, number, {"token": uuid.uuid4().hex, "host": host, "pid": pid, **worker}
        )

    @patient
    def _claim(self, stage: str, number: int, claim: dict[str, Any]) -> bool:
        # Reading the state and writing the claim are one step, under the study's lock: by Optuna's
        # own compare-and-set, four processes claimed 40 trials 41 to 44 times on SQLite.
        trial_id = self._trial_id(stage, number)
        with self._claims.exclusive():
            trial = self._storage.get_trial(trial_id)
            running = trial.state == TrialState.RUNNING
            if running and trial.user_attrs.get("claim") == claim:
                return True  # the connection was lost behind an earlier call
            taken = self._tokens.get(trial_id)
            if trial.state.is_finished() or taken not in (None, claim["token"]):
                return False
            if taken is None and not self._claims.take(self._id(stage), trial_id, running):
                return False
            self._tokens[trial_id] = claim["token"]
            if running:  # its worker died, or the claim above would not have been granted
                faults = [*trial.user_attrs.get("faults", []), UNSEEN]
                self._storage.set_trial_user_attr(trial_id, "faults", faults)
                self._storage.set_trial_state_values(trial_id, TrialState.WAITING)
            # The claim first: a trial that runs has always somebody who can be asked about.
            self._storage.set_trial_user_attr(trial_id, "claim", claim)
            self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        return True

    @patient
    def release(self, stage: str, number: int, pid: int | None = None) -> None:
        """Put a trial that was interrupted back among the waiting ones: this process's own, or
        that of its dead child `pid`."""
        trial_id = self._trial_id(stage, number)
        with self._claims.exclusive():
            if self._is_own(trial_id) or self._was_of(trial_id, pid):
                self._storage.set_trial_state_values(trial_id, TrialState.WAITING)
        self._let_go(trial_id)

    @patient
    def measure(self, stage: str, number: int, length: Length) -> None:
        """How long a running trial will train, where its claim could not say."""
        trial_id = self._trial_id(stage, number)
        if self._is_own(trial_id):
            self._storage.set_trial_user_attr(trial_id, "length", asdict(length))

    @patient
    def report(self, stage: str, number: int, point: int, value: float) -> None:
        """One point of the learning curve, while the trial runs."""
        trial_id = self._trial_id(stage, number)
        if self._is_own(trial_id):
            self._storage.set_trial_intermediate_value(trial_id, point, value)

    @patient
    def should_prune(self, stage: str, number: int, pruner: optuna.pruners.BasePruner) -> bool:
        """Whether a running trial should be given up, judged by the curves of all others."""
        study = optuna.load_study(
            study_name=self._name(stage), storage=self._storage, pruner=pruner
        )
        return pruner.prune(study, self._storage.get_trial(self._trial_id(stage, number)))

    @patient
    def finish(self, stage: str, number: int, result: Result) -> bool:
        """Write the result of an own trial. A diverged one is complete, with the worst value.

        False, and nothing is written, if this process was taken for dead and another one has the
        trial now.
        """
        trial_id = self._trial_id(stage, number)
        # Whether it is still ours is asked under the lock: a worker that was out of reach for a
        # minute may come back while another one finishes the same trial.
        with self._claims.exclusive():
            own = self._is_own(trial_id)
            if own:
                self._close(stage, trial_id, result)
        self._let_go(trial_id)
        return own

    @patient
    def fail(
        self, stage: str, number: int, result: Result, retries: int, pid: int | None = None
    ) -> bool:
        """Write down what a trial failed of: this process's own, or that of a dead child.

        Arguments:
            stage: of the study.
            number: of the trial.
            result: of a fault.
            retries: how often a transient fault is forgiven.
            pid: of the dead process, a child of this one.

        Returns:
            True if the trial waits again, for another try.
        """
        trial_id = self._trial_id(stage, number)
        again = False
        with self._claims.exclusive():
            if self._is_own(trial_id) or self._was_of(trial_id, pid):
                before = self._storage.get_trial(trial_id).user_attrs.get("faults", [])
                faults = [*before, result.error or result.status]
                self._storage.set_trial_user_attr(trial_id, "faults", faults)
                # What nobody saw, as when the machine lost its power, is not held against it.
                seen = len([fault for fault in faults if fault != UNSEEN])
                again = result.status in TRANSIENT and seen <= retries
                if again:
                    self._storage.set_trial_state_values(trial_id, TrialState.WAITING)
                else:
                    self._close(stage, trial_id, result)
        self._let_go(trial_id)
        return again

    def _is_own(self, trial_id: int) -> bool:
        """Whether this process still has the trial: in a database it may have been taken for
        dead, while it was only out of reach."""
        trial = self._storage.get_trial(trial_id)
        token = trial.user_attrs.get("claim", {}).get("token")
        return trial.state == TrialState.RUNNING and token == self._tokens.get(trial_id, "")

    def _was_of(self, trial_id: int, pid: int | None) -> bool:
        """Whether the trial is that of a process of this machine."""
        trial = self._storage.get_trial(trial_id)
        claim = trial.user_attrs.get("claim", {})
        of_child = (claim.get("host"), claim.get("pid")) == (socket.gethostname(), pid)
        return trial.state == TrialState.RUNNING and of_child

    def _let_go(self, trial_id: int) -> None:
        self._tokens.pop(trial_id, None)
        self._claims.drop(trial_id)

    def _close(self, stage: str, trial_id: int, result: Result) -> None:
        # The result before the state: after a kill between the two the trial is still running, and
        # is run again; the other way round it would be finished without a result.
        self._storage.set_trial_user_attr(trial_id, "result", result.to_dict())
        if result.failed or (result.best is None and result.status != DIVERGED):
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
            return
        minimise = self._storage.get_study_directions(self._id(stage)) == [StudyDirection.MINIMIZE]
        loss = result.loss("min" if minimise else "max")
        state = TrialState.PRUNED if result.status == PRUNED else TrialState.COMPLETE
        self._storage.set_trial_state_values(trial_id, state, [loss if minimise else -loss])

    # -- Optuna's names and numbers

    def _name(self, stage: str) -> str:
        return f"{self.study}{SEPARATOR}{stage}"

    def _id(self, stage: str) -> int:
        if stage not in self._ids:
            self._ids[stage] = self._storage.get_study_id_from_name(self._name(stage))
        return self._ids[stage]

    def _trial_id(self, stage: str, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id(stage), number)
