"""Tries of a trial: what `caviar retry` puts back is one more Optuna trial, under the same number.

Optuna never changes a trial that has finished, and no kind of its storages would. So a failed one
stays as it is, with its result and its curve, and what waits in its place is a new one that says
whose number it has. Numbers are therefore the ledger's own: counted over first tries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from caviar.base.result import Result
from caviar.ledger.operations import FINISHED, RUNNING, Operation, new_trial

NUMBER = "try_of"  # in a later try: the trial's number
RETRIED = "retried"  # in an Optuna study: that some trials of the stage have several tries
FORGIVEN = "forgiven"  # in a later try: how many of its faults are of earlier ones
RUNG = "rung"  # in a try that goes on behind a rung: how many it has come past
OF_PLAN = ("point", "seed", "note", "checkpoint")  # attributes that every try has

# Attributes of a try that goes on from a checkpoint: who left it, and what its curve counts.
OF_CHECKPOINT = ("claim", "length")


@dataclass(frozen=True)
class Try:
    """One Optuna trial, as a storage has it."""

    id: int
    """In the storage."""
    number: int
    """Of the trial, in its stage."""
    state: int
    """Optuna's number of it."""
    attributes: Mapping[str, Any]
    curve: Mapping[int, float]
    started: datetime | None
    params: Mapping[str, float]
    """As `operations.new_trial` has them."""
    distributions: Mapping[str, str]

    @property
    def running(self) -> bool:
        return self.state == RUNNING

    @property
    def finished(self) -> bool:
        return self.state in FINISHED

    @property
    def claim(self) -> Mapping[str, Any]:
        """What the worker that has or had it wrote down; empty before."""
        return self.attributes.get("claim", {})


def further(study: int, stopped: Try, rung: int) -> Operation:
    """A try that goes on behind a rung, from the last checkpoint of the one that was stopped there.

    Arguments:
        study: its stage.
        stopped: the trial's latest try.
        rung: how many it has come past then.
    """
    before = stopped.attributes
    kept = (*OF_PLAN, *OF_CHECKPOINT, "faults", FORGIVEN)
    attributes = {name: before[name] for name in kept if name in before}
    attributes |= {NUMBER: stopped.number, RUNG: rung}
    return new_trial(study, attributes, stopped.params, stopped.distributions, stopped.curve)


def another(study: int, failed: Try, result: Result, resume: bool) -> Operation:
    """One more try of a trial that failed, with the faults of all tries before it.

    Arguments:
        study: its stage.
        failed: its latest try.
        result: of that try.
        resume: whether it goes on from its last checkpoint; else nothing of that try is left to
            show that there is one, and its training begins anew.
    """
    before = failed.attributes
    faults = before.get("faults") or [result.error or result.status]
    attributes = {name: before[name] for name in OF_PLAN if name in before}
    attributes |= {NUMBER: failed.number, "faults": faults, FORGIVEN: len(faults)}
    if RUNG in before and resume:
        attributes[RUNG] = before[RUNG]
    if resume:
        attributes |= {name: before[name] for name in OF_CHECKPOINT if name in before}
    curve = failed.curve if resume else None
    return new_trial(study, attributes, failed.params, failed.distributions, curve)
