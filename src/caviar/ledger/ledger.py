"""The ledger: where the trials of a study and their results are kept.

    ledger = Ledger.open(storage, "digits")
    ledger.extend("01_coarse", plan, space)         # waiting
    claimed = ledger.claim("01_coarse", 0)          # True for exactly one living process
    ledger.report("01_coarse", 0, point, value)
    ledger.finish("01_coarse", 0, result)

Who trains many trials in one process claims, reports and finishes them together: one lock and one
write for all.

    ours = ledger.claim_all("01_coarse", range(500))
    ledger.report_all("01_coarse", [(number, point, value), …])
    ledger.finish_all("01_coarse", [(number, result), …])

It is an Optuna storage, one Optuna study a stage, so Optuna's dashboard and databases work; all
of Optuna stays behind these few functions. A worker writes its own result: a killed driver loses
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from caviar.ledger.operations import (
    create_study,
    delete_study,
    new_trial,
    set_study_attribute,
)
from caviar.ledger.storages import HEARTBEAT, KINDS, open_storage, patient
from caviar.ledger.trials import Planned, as_trial, optuna_axis, optuna_value
from caviar.ledger.tries import RETRIED, RUNG, another, further
from caviar.ledger.writer import Writer
from caviar.space import Space


class Ledger(Writer):
    """The trials of one study, in all its stages: read, claimed, and their results written."""

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
    def begin(self, stage: str, spec: Mapping[str, Any], mode: str) -> dict[str, Any]:
        """Make the stage if it is new; what was written down when it was made."""
        # Exclusively: two drivers that are started at once would make the stage twice.
        with self._claims.exclusive():
            if stage not in self.stages():
                self._store.write([create_study(self._name(stage), mode)])
            study = self._id(stage)
            # "facts" is the attribute's name on disk, which earlier versions wrote.
            if "facts" not in self._store.stage(study).attributes:
                # New, or its maker died before it wrote them.
                self._store.write([set_study_attribute(study, "facts", dict(spec))])
        return self.spec(stage)

    @patient
    def withdraw(self, stage: str) -> bool:
        """Forget a stage of which nothing was seen, so that it can be begun otherwise; False, and
        nothing is done, if a trial of it runs or has told something."""
        with self._claims.exclusive():
            trials = self.trials(stage)
            if any(t.running or (t.finished and not t.failed) for t in trials):
                return False
            if stage in self._ids:
                self._store.write([delete_study(self._ids.pop(stage))])
        return True

    @patient
    def keep_code(self, stage: str, name: str, files: Mapping[str, str]) -> None:
        """Write down a state of the project's code that the stage is trained with.

        Arguments:
            stage: of the study.
            name: the hash of all files, by which claims name it.
            files: path → hash.
        """
        if name in self.code(stage):
            return
        with self._claims.exclusive():
            known = {**self.code(stage), name: dict(files)}
            self._store.write([set_study_attribute(self._id(stage), "code", known)])

    # -- trials

    @patient
    def extend(self, stage: str, plan: Sequence[Planned], space: Space) -> None:
        """Append what of `plan` is not there yet, waiting: trial i of the stage is plan[i]."""
        with self._claims.exclusive():
            study = self._id(stage)
            shown = {axis.name: optuna_axis(axis) for axis in space}
            operations = []
            # By position, so that a larger plan adds what is new and nothing is enqueued twice.
            for planned in plan[len(self._store.states(study)) :]:
                point = planned.point
                axes = [axis for axis in space if axis.name in point]
                params = {axis.name: optuna_value(axis, point[axis.name]) for axis in axes}
                distributions = {name: shown[name] for name in params}
                operations.append(new_trial(study, planned.attributes(), params, distributions))
            self._store.write(operations)

    @patient
    def retry(self, stage: str, number: int, resume: bool = False) -> bool:
        """Let a trial that failed wait for another try, with its faults on record; False, and
        nothing is done, if it did not fail, or if somebody else has put it back.

        Arguments:
            stage: of the study.
            number: of the trial.
            resume: go on from its last checkpoint, if it has one, and do not begin anew.
        """
        # Looking and writing are one step, or two who ask at once would add a try each.
        with self._claims.exclusive():
            failed = self._try(stage, number)
            result = as_trial(stage, failed).result
            if result is None or not result.failed:
                return False
            # First, as it only says where to look: a kill between the two has put nothing back.
            study = self._id(stage)
            again = another(study, failed, result, resume)
            self._store.write([set_study_attribute(study, RETRIED, True), again])
        return True

    @patient
    def advance(self, stage: str, numbers: Sequence[int], rung: int) -> None:
        """Let trials that were stopped at a rung wait again, to go on from their last checkpoints,
        with one write for all.

        Arguments:
            stage: of the study.
            numbers: of the trials.
            rung: how many rungs they have come past then.
        """
        with self._claims.exclusive():
            study = self._id(stage)
            stopped = [t for t in self._tries(stage, numbers) if t.finished]
            behind = [t for t in stopped if t.attributes.get(RUNG, 0) < rung]
            operations = [further(study, trial, rung) for trial in behind]
            self._store.write([set_study_attribute(study, RETRIED, True), *operations])
