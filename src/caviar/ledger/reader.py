"""What is read of a ledger: its stages, their trials, how far they are.

    ledger = Ledger.open(storage, "digits")
    ledger.stages()                                 # "01_coarse", …
    ledger.trials("01_coarse")                      # by number
    ledger.changed("01_coarse", since)              # those that something was written of

Nothing here writes a result; `caviar.ledger.writer` does.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from caviar.ledger import operations as ops
from caviar.ledger.claims import Claims
from caviar.ledger.overview import Overview
from caviar.ledger.storages import patient
from caviar.ledger.trials import Trial, as_trial
from caviar.ledger.tries import Try

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from caviar.ledger.database import Database
    from caviar.ledger.journal import Journal

SEPARATOR = "/"  # between study and stage in an Optuna study's name

Mark = Any  # of `Reader.changed`


class Reader:
    """The trials of one study, in all its stages, as they are read."""

    elsewhere = False
    """Whether another service gives out the trials of its search stages."""

    def __init__(self, store: Journal | Database, study: str, claims: Claims) -> None:
        self._store, self.study, self._claims = store, study, claims
        self._ids: dict[str, int] = {}
        # By a stage's number, what `trials` gave last: of many, few have changed since.
        self._known: dict[int, tuple[Mark, list[Trial]]] = {}
        self._reading = threading.Lock()
        # Of the trials that this process has claimed.
        self._tokens: dict[int, str] = {}
        self._claimed: dict[tuple[str, int], int] = {}

    @patient
    def stages(self) -> list[str]:
        """Names of all stages, in the order in which they were begun."""
        prefix = self.study + SEPARATOR
        self._ids = {
            name.removeprefix(prefix): number
            for name, number in self._store.stages().items()
            if name.startswith(prefix)
        }
        return [*self._ids]

    def others(self) -> list[str]:
        """Names of other studies in the same storage."""
        names = {name.partition(SEPARATOR)[0] for name in self._store.stages()}
        return sorted(names - {self.study})

    @patient
    def spec(self, stage: str) -> dict[str, Any]:
        """What was written down when the stage was made: its overrides, seed, metric."""
        return self._store.stage(self._id(stage)).attributes.get("facts", {})

    @patient
    def code(self, stage: str) -> dict[str, dict[str, str]]:
        """Every state of the code that the stage was trained with: name → path → hash."""
        return self._store.stage(self._id(stage)).attributes.get("code", {})

    def note(self, stage: str) -> str:
        """Where a stage runs, if that is not here."""
        return ""

    def no_retry(self, stage: str) -> str:
        """Why a failed trial of the stage cannot be put back; empty if it can."""
        return ""

    def refresh(self) -> None:
        """Read again, at the next look, what is read from afar only now and then."""

    @property
    def continued_by(self) -> str:
        """Which command goes on with a stage that nobody runs."""
        return "the command that began the study"

    # -- trials

    def trials(self, stage: str) -> list[Trial]:
        """All trials of a stage, by number."""
        if stage not in self.stages():
            return []
        study = self._id(stage)
        with self._reading:
            mark, trials = self._known.get(study, (None, []))
            if mark is None:
                trials = []
            mark, changed = self.changed(stage, mark)
            for trial in changed:  # in the order of their numbers, where they are new
                trials[trial.number : trial.number + 1] = [trial]
            self._known[study] = mark, trials
            return [*trials]

    @patient
    def changed(self, stage: str, since: Mark = None) -> tuple[Mark, list[Trial]]:
        """Trials of a stage that something was written of since a mark, and perhaps others; and a
        mark of now, for the next time.

        Arguments:
            stage: of the study.
            since: a mark; None for all trials, by number.
        """
        mark, tries = self._store.changed(self._id(stage), since)
        return mark, [as_trial(stage, one) for one in tries]

    @patient
    def mark(self, stage: str) -> Mark:
        """Of now, for `changed`."""
        return self._store.mark(self._id(stage))

    @patient
    def overview(self, stage: str) -> Overview:
        """How far a stage is, in numbers; of a journal without reading its trials one by one."""
        return self._store.overview(self._id(stage))

    @patient
    def some(self, stage: str, numbers: Sequence[int]) -> list[Trial]:
        """Some trials of a stage."""
        tries = self._store.tries(self._id(stage), numbers, {})
        return [as_trial(stage, one) for one in tries]

    @patient
    def trial(self, stage: str, number: int) -> Trial:
        """One trial."""
        return as_trial(stage, self._try(stage, number))

    @patient
    def claimable(self, stage: str) -> list[int]:
        """Numbers of the trials that wait, or whose worker has died."""
        study = self._id(stage)
        states = self._store.states(study)
        running = [one for one, state in states if state == ops.RUNNING]
        dead = self._claims.abandoned(study, running) if running else set()
        return [
            number
            for number, (one, state) in enumerate(states)
            if state == ops.WAITING or one in dead
        ]

    @patient
    def interrupted(self, stage: str, running: Collection[int]) -> set[int]:
        """Which of these running trials no living worker has.

        Arguments:
            stage: its name.
            running: numbers of trials.
        """
        if not running:
            return set()
        study = self._id(stage)
        ids = [one for one, _ in self._store.states(study)]
        numbers = {ids[number]: number for number in running}
        return {numbers[one] for one in self._claims.abandoned(study, [*numbers])}

    @patient
    def should_prune(self, stage: str, number: int, pruner: BasePruner) -> bool:
        """Whether a running trial should be given up, judged by the curves of all others."""
        import optuna

        storage = self._store.optuna
        study = optuna.load_study(study_name=self._name(stage), storage=storage, pruner=pruner)
        return pruner.prune(study, storage.get_trial(self._trial_id(stage, number)))

    # -- Optuna's names and numbers

    def _name(self, stage: str) -> str:
        return f"{self.study}{SEPARATOR}{stage}"

    def _id(self, stage: str) -> int:
        if stage not in self._ids:
            self._ids[stage] = self._store.stages()[self._name(stage)]
        return self._ids[stage]

    def _trial_id(self, stage: str, number: int) -> int:
        return self._try(stage, number).id

    def _try(self, stage: str, number: int) -> Try:
        (only,) = self._tries(stage, [number])
        return only

    def _tries(self, stage: str, numbers: Sequence[int]) -> list[Try]:
        """The trials' latest tries, or those which this process has."""
        own = {n: self._claimed[stage, n] for n in numbers if (stage, n) in self._claimed}
        return self._store.tries(self._id(stage), numbers, own)
