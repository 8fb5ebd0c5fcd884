"""Tries of a trial: what `caviar retry` puts back is one more Optuna trial, under the same number.

Optuna never changes a trial that has finished, and no kind of its storages would. So a failed one
stays as it is, with its result and its curve, and what waits in its place is a new one that says
whose number it has. Numbers are therefore the ledger's own: counted over first tries.
"""

from __future__ import annotations

from collections.abc import Iterable

from optuna.trial import FrozenTrial, TrialState, create_trial

from caviar.base.result import Result

NUMBER = "try_of"  # in a later try: the trial's number
FORGIVEN = "forgiven"  # in a later try: how many of its faults are of earlier ones
OF_PLAN = ("point", "seed", "note", "checkpoint")  # attributes that every try has

# Attributes of a try that goes on from a checkpoint: who left it, and what its curve counts.
OF_CHECKPOINT = ("claim", "length")


def latest(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The latest try of every trial, by the trials' numbers.

    Arguments:
        trials: all of a stage, in the order in which they were made.
    """
    found: list[FrozenTrial] = []
    for trial in trials:
        number = trial.user_attrs.get(NUMBER)
        if number is None:
            found.append(trial)
        else:
            found[number] = trial
    return found


def another(failed: FrozenTrial, number: int, result: Result, resume: bool) -> FrozenTrial:
    """One more try of a trial that failed, with the faults of all tries before it.

    Arguments:
        failed: its latest try.
        number: of the trial.
        result: of that try.
        resume: whether it goes on from its last checkpoint; else nothing of that try is left to
            show that there is one, and its training begins anew.
    """
    before = failed.user_attrs
    faults = before.get("faults") or [result.error or result.status]
    attributes = {name: before[name] for name in OF_PLAN if name in before}
    attributes |= {NUMBER: number, "faults": faults, FORGIVEN: len(faults)}
    if resume:
        attributes |= {name: before[name] for name in OF_CHECKPOINT if name in before}
    return create_trial(
        state=TrialState.WAITING,
        params=failed.params,
        distributions=failed.distributions,
        user_attrs=attributes,
        intermediate_values=failed.intermediate_values if resume else None,
    )
