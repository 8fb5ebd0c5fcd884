"""What a worker writes into a ledger: its claims, its curves, its results.

    writer.claim("01_coarse", 0)                    # True for exactly one living process
    writer.report("01_coarse", 0, point, value)
    writer.finish("01_coarse", 0, result)           # or fail, or release

Who has claimed a trial writes of it, and nobody else, but for the parent of a worker that died. So
a killed driver loses nothing, and a worker that was taken for dead spoils nothing.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from caviar.base.result import DIVERGED, PRUNED, TRANSIENT, Length, Result
from caviar.ledger import operations as ops
from caviar.ledger.operations import Operation, set_attribute, set_point, set_state
from caviar.ledger.reader import Reader
from caviar.ledger.storages import patient
from caviar.ledger.tries import FORGIVEN, Try

UNSEEN = "its worker died"  # a fault that nobody was there to see


class Writer(Reader):
    """The trials of one study, as a worker has them: claimed, and their results written."""

    def claim(self, stage: str, number: int, **worker: Any) -> bool:
        """Make a waiting trial, or one whose worker died, this process's own; False if a living
        process has it, or it is finished.

        Arguments:
            stage: of the study.
            number: of the trial.
            worker: what a reader may want to know of the worker: its slot, the epochs to train.
        """
        return bool(self.claim_all(stage, [number], **worker))

    def claim_all(self, stage: str, numbers: Iterable[int], **worker: Any) -> list[int]:
        """Claim many trials at once, under one lock and with one write.

        Arguments:
            stage: of the study.
            numbers: of the trials.
            worker: as of `claim`, of each.

        Returns:
            The numbers of those that are this process's own now.
        """
        host, pid = socket.gethostname(), os.getpid()
        return self._claim(
            stage,
            [*dict.fromkeys(numbers)],
            {"token": uuid.uuid4().hex, "host": host, "pid": pid, **worker},
        )

    @patient
    def _claim(self, stage: str, numbers: Sequence[int], claim: dict[str, Any]) -> list[int]:
        # Reading the state and writing the claim are one step, under the study's lock: by Optuna's
        # own compare-and-set, four processes claimed 40 trials 41 to 44 times on SQLite.
        ours, taken, operations = [], {}, []
        with self._claims.exclusive():
            for trial in self._tries(stage, numbers):
                number, trial_id, running = trial.number, trial.id, trial.running
                if running and trial.claim == claim:
                    ours.append(number)  # the connection was lost behind an earlier call
                    continue
                token = self._tokens.get(trial_id)
                if trial.finished or token not in (None, claim["token"]):
                    continue
                if token is None and not self._claims.take(self._id(stage), trial_id, running):
                    continue
                taken[number] = trial_id
                self._tokens[trial_id] = claim["token"]
                self._claimed[stage, number] = trial_id
                if running:  # its worker died, or the claim above would not have been granted
                    faults = [*trial.attributes.get("faults", []), UNSEEN]
                    operations.append(set_attribute(trial_id, "faults", faults))
                    operations.append(set_state(trial_id, ops.WAITING))
                # The claim first: a trial that runs has always somebody who can be asked about.
                operations.append(set_attribute(trial_id, "claim", claim))
                operations.append(set_state(trial_id, ops.RUNNING))
            try:
                self._store.write(operations)
            except OSError:  # the disk is full, and nothing was written: somebody else may try
                for number, trial_id in taken.items():
                    self._let_go(stage, number, trial_id)
                raise
        return sorted([*ours, *taken])

    @patient
    def release(self, stage: str, number: int, pid: int | None = None) -> None:
        """Put a trial that was interrupted back among the waiting ones: this process's own, or
        that of its dead child `pid`."""
        with self._claims.exclusive():
            trial = self._try(stage, number)
            if self._has(trial) or _was_of(trial, pid):
                self._store.write([set_state(trial.id, ops.WAITING)])
        self._let_go(stage, number, trial.id)

    @patient
    def measure(self, stage: str, number: int, length: Length) -> None:
        """How long a running trial will train, where its claim could not say."""
        trial = self._try(stage, number)
        if self._has(trial):
            self._store.write([set_attribute(trial.id, "length", asdict(length))])

    def report(self, stage: str, number: int, point: int, value: float) -> None:
        """One point of the learning curve, while the trial runs."""
        self.report_all(stage, [(number, point, value)])

    @patient
    def report_all(self, stage: str, points: Iterable[tuple[int, int, float]]) -> None:
        """Points of the learning curves of own trials, with one write for all.

        Arguments:
            stage: of the study.
            points: (number of the trial, point, value of the metric) of each.
        """
        points = [*points]
        numbers = [*dict.fromkeys(number for number, _, _ in points)]
        own = {t.number: t.id for t in self._tries(stage, numbers) if self._has(t)}
        self._store.write([set_point(own[n], p, v) for n, p, v in points if n in own])

    def finish(self, stage: str, number: int, result: Result) -> bool:
        """Write the result of an own trial. A diverged one is complete, with the worst value.

        False, and nothing is written, if this process was taken for dead and another one has the
        trial now.
        """
        return bool(self.finish_all(stage, [(number, result)]))

    @patient
    def finish_all(self, stage: str, results: Iterable[tuple[int, Result]]) -> list[int]:
        """Write the results of own trials, under one lock and with one write.

        Arguments:
            stage: of the study.
            results: (number of the trial, its result) of each; of no fault, which `fail` is for,
                unless it is for good.

        Returns:
            The numbers of those that were this process's own, and are finished now.
        """
        given = dict(results)
        done = []
        # Whether it is still ours is asked under the lock: a worker that was out of reach for a
        # minute may come back while another one finishes the same trial.
        with self._claims.exclusive():
            tries = self._tries(stage, [*given])
            operations: list[Operation] = []
            mode = self._store.stage(self._id(stage)).mode
            for trial in tries:
                if self._has(trial):
                    done.append(trial.number)
                    operations += _closing(trial.id, given[trial.number], mode)
            self._store.write(operations)
        for trial in tries:
            self._let_go(stage, trial.number, trial.id)
        return done

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
        again = False
        with self._claims.exclusive():
            trial = self._try(stage, number)
            if self._has(trial) or _was_of(trial, pid):
                before = trial.attributes
                faults = [*before.get("faults", []), result.error or result.status]
                operations = [set_attribute(trial.id, "faults", faults)]
                # What nobody saw, as when the machine lost its power, is not held against it.
                own = faults[before.get(FORGIVEN, 0) :]
                seen = len([fault for fault in own if fault != UNSEEN])
                again = result.status in TRANSIENT and seen <= retries
                if again:
                    operations.append(set_state(trial.id, ops.WAITING))
                else:
                    mode = self._store.stage(self._id(stage)).mode
                    operations += _closing(trial.id, result, mode)
                self._store.write(operations)
        self._let_go(stage, number, trial.id)
        return again

    def _has(self, trial: Try) -> bool:
        """Whether this process still has the trial: in a database it may have been taken for
        dead, while it was only out of reach."""
        return trial.running and trial.claim.get("token") == self._tokens.get(trial.id, "")

    def _let_go(self, stage: str, number: int, trial_id: int) -> None:
        self._claimed.pop((stage, number), None)
        self._tokens.pop(trial_id, None)
        self._claims.drop(trial_id)


def _was_of(trial: Try, pid: int | None) -> bool:
    """Whether the trial is that of a process of this machine."""
    of_child = (trial.claim.get("host"), trial.claim.get("pid")) == (socket.gethostname(), pid)
    return trial.running and of_child


def _closing(trial_id: int, result: Result, mode: str) -> list[Operation]:
    """What ends a trial. A diverged one is complete, with the worst value."""
    # The result before the state: after a kill between the two the trial is still running, and is
    # run again; the other way round it would be finished without a result.
    told = set_attribute(trial_id, "result", result.to_dict())
    if result.failed or (result.best is None and result.status != DIVERGED):
        return [told, set_state(trial_id, ops.FAIL)]
    loss = result.loss(mode)
    state = ops.PRUNED if result.status == PRUNED else ops.COMPLETE
    return [told, set_state(trial_id, state, [loss if mode == "min" else -loss])]
