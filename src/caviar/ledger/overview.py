"""How far a stage is, in numbers: what a screen asks for again and again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from caviar.base.result import COMPLETE, DIVERGED, EXCEPTION, FAULTS
from caviar.ledger.trials import RUNNING, WAITING, Trial

UNFINISHED = (WAITING, RUNNING)


@dataclass(frozen=True)
class Overview:
    """A stage as it is now; trials are known by their numbers."""

    statuses: Sequence[str]
    """What a status may be: `waiting`, `running`, then those of results."""
    codes: np.ndarray
    """(trials,) each one's status, by position in `statuses`."""
    values: np.ndarray
    """(trials,) each result's best value; NaN where there is none."""
    seconds: np.ndarray
    """(trials,) that each finished one took; 0 where nobody knows."""
    faults: Mapping[int, int]
    """How many faults a trial has on record, of those that have some."""
    started: np.ndarray
    """(trials,) when each was begun, in seconds since 1970; NaN before."""
    versions: Sequence[str]
    """Hashes of the code that its workers have had."""
    version_of: np.ndarray
    """(trials,) each one's, by position in `versions`; -1 where nobody knows."""
    mode: str
    """`min` or `max`, of the values."""

    @classmethod
    def of(cls, trials: Sequence[Trial], mode: str) -> Overview:
        """Of trials that are at hand."""
        statuses = [*dict.fromkeys([*UNFINISHED, *(t.status for t in trials)])]
        results = [t.result for t in trials]
        best = [math.nan if r is None or r.best is None else r.best for r in results]
        codes = [t.claim.get("code") for t in trials]
        versions = [*dict.fromkeys(code for code in codes if code)]
        begun = [t.started.timestamp() if t.started else math.nan for t in trials]
        return cls(
            statuses=statuses,
            codes=np.array([statuses.index(t.status) for t in trials], np.int8),
            values=np.array(best, float),
            seconds=np.array([r.seconds if r else 0.0 for r in results], float),
            faults={t.number: len(t.faults) for t in trials if t.faults},
            started=np.array(begun, float),
            versions=versions,
            version_of=np.array([versions.index(c) if c else -1 for c in codes], int),
            mode=mode,
        )

    def first(self, count: int | None) -> Overview:
        """The same of the trials with a number below `count`; of all for None."""
        if count is None or count >= self.total:
            return self
        return replace(
            self,
            codes=self.codes[:count],
            values=self.values[:count],
            seconds=self.seconds[:count],
            started=self.started[:count],
            version_of=self.version_of[:count],
            faults={n: many for n, many in self.faults.items() if n < count},
        )

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many trials have which status."""
        numbers = np.bincount(self.codes, minlength=len(self.statuses)).tolist()
        return dict(zip(self.statuses, numbers, strict=True))

    @property
    def total(self) -> int:
        """Of its trials."""
        return len(self.codes)

    @property
    def waiting(self) -> int:
        return self.counts[WAITING]

    @property
    def unfinished(self) -> int:
        """Those that wait or run."""
        return sum(self.counts[status] for status in UNFINISHED)

    @property
    def done(self) -> int:
        """Those that are finished."""
        return self.total - self.unfinished

    @property
    def running(self) -> list[int]:
        """Which trials run."""
        return self.numbers(RUNNING)

    @property
    def failed(self) -> list[int]:
        """Which trials a fault has ended."""
        return self.numbers(*FAULTS)

    @property
    def finished(self) -> list[int]:
        """Which trials have a result."""
        return np.flatnonzero(self.codes >= len(UNFINISHED)).tolist()

    @property
    def mean_seconds(self) -> float:
        """Of a finished trial; 0 before the first."""
        known = self.seconds[self.seconds > 0]
        return float(known.mean()) if len(known) else 0.0

    @property
    def losses(self) -> np.ndarray:
        """(trials,) lower is better; infinite where training diverged, NaN where nothing is known
        of the setting."""
        losses = self.values * (1 if self.mode == "min" else -1)
        losses[self.failed] = math.nan
        losses[self.numbers(*UNFINISHED)] = math.nan
        losses[self.numbers(DIVERGED)] = math.inf
        return losses

    def numbers(self, *statuses: str) -> list[int]:
        """Which trials have one of these statuses."""
        wanted = [i for i, status in enumerate(self.statuses) if status in statuses]
        return np.flatnonzero(np.isin(self.codes, wanted)).tolist()

    def best(self, count: int = 1) -> list[int]:
        """The best few that finished and did not diverge, best first."""
        # Pruned ones are left out: their best is that of fewer epochs. Ties go to the first.
        complete = np.array(self.numbers(COMPLETE), int)
        losses = self.values[complete] * (1 if self.mode == "min" else -1)
        there = ~np.isnan(losses)
        order = np.argsort(losses[there], kind="stable")[:count]
        return complete[there][order].tolist()


def statuses_of(states: np.ndarray, ends: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """`codes` of an overview, whose `statuses` are the two unfinished ones and then `names`.

    Arguments:
        states: (trials,) 0 for waiting, 1 for running, 2 for finished.
        ends: (trials,) statuses of results, by position in `names`; -1 for none.
        names: of them; what finished without a result is an exception.
    """
    ended = np.where(ends < 0, names.index(EXCEPTION), ends) + len(UNFINISHED)
    return np.where(states < len(UNFINISHED), states, ended).astype(np.int8)
