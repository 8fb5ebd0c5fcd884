"""A trial: as it is planned, and as the ledger knows it. Translated to and from Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from caviar.base.result import EPOCH, EXCEPTION, Length, Result
from caviar.ledger.tries import FORGIVEN
from caviar.space import Axis, Choice, Integer, Log, LogInteger

WAITING, RUNNING = "waiting", "running"


@dataclass(frozen=True)
class Planned:
    """One trial to be: its setting, its training seed, and what it is called."""

    point: Mapping[str, Any]
    seed: int
    note: str = ""
    checkpoint: str | None = None
    """Of a trial that tests and does not train: what it tests, a file on some machine."""

    def attributes(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        kept = {"point": dict(self.point), "seed": self.seed, "note": self.note}
        return kept | ({"checkpoint": self.checkpoint} if self.checkpoint else {})


@dataclass(frozen=True)
class Trial:
    """One trial as the ledger knows it."""

    stage: str
    number: int
    status: str
    """`waiting`, `running`, or what its result says: `complete`, `diverged`, …"""
    planned: Planned
    result: Result | None = None
    curve: dict[int, float] = field(default_factory=dict)
    """Point → metric, also while it runs: by epoch, or by the number of the validation."""
    started: datetime | None = None
    faults: tuple[str, ...] = ()
    """What ended earlier tries."""
    forgiven: int = 0
    """How many of these, the first ones, were before it was last put back by `caviar retry`."""
    claim: Mapping[str, Any] = field(default_factory=dict)
    """The worker that has or had it: `host`, `pid`, `slot`, and the `epochs` it will train."""
    measured: Mapping[str, Any] = field(default_factory=dict)
    """The length of its training, as the running trial told it."""

    @property
    def point(self) -> Mapping[str, Any]:
        """Its search coordinates."""
        return self.planned.point

    @property
    def seed(self) -> int:
        return self.planned.seed

    @property
    def note(self) -> str:
        """Which setting this is, where a stage has several: `default`, `candidate 1`."""
        return self.planned.note

    @property
    def length(self) -> Length:
        """What its curve counts, and how much of it there will be; where it has finished, was."""
        if self.result is not None and self.result.unit != EPOCH:
            points = max(self.curve, default=-1) + 1
            return Length(self.result.unit, self.result.steps, points or None)
        if self.measured:
            return Length(**self.measured)
        epochs = self.claim.get("epochs")
        total = epochs if isinstance(epochs, int) and epochs > 0 else None
        return Length(EPOCH, total, total)

    @property
    def trained(self) -> int:
        """Epochs, or steps, that the last point of its curve stands for; 0 before the first."""
        return self.length.at(max(self.curve)) if self.curve else 0

    @property
    def finished(self) -> bool:
        return self.result is not None

    @property
    def failed(self) -> bool:
        """Whether a fault ended it, for good or until it is put back."""
        return self.result is not None and self.result.failed

    @property
    def waiting(self) -> bool:
        return self.status == WAITING

    @property
    def running(self) -> bool:
        return self.status == RUNNING

    def seconds_running(self, now: float) -> float:
        """Since its worker began it, at `now` in seconds since 1970; 0 before."""
        return now - self.started.timestamp() if self.started else 0.0

    @property
    def host(self) -> str:
        """The machine that claimed it."""
        return str(self.claim.get("host", ""))

    @property
    def pid(self) -> int | None:
        return self.claim.get("pid")


def from_optuna(stage: str, number: int, frozen: FrozenTrial) -> Trial:
    """Read what `Ledger` wrote.

    Arguments:
        stage: of the trial.
        number: of the trial; Optuna's own is another one where it has several tries.
        frozen: its latest try.
    """
    attributes = frozen.user_attrs
    result = None
    if frozen.state.is_finished():
        result = Result.from_dict(attributes.get("result") or {"status": EXCEPTION})
    unfinished = RUNNING if frozen.state == TrialState.RUNNING else WAITING
    return Trial(
        stage=stage,
        number=number,
        status=result.status if result else unfinished,
        planned=Planned(
            point=attributes.get("point", {}),
            seed=attributes.get("seed", 0),
            note=attributes.get("note", ""),
            checkpoint=attributes.get("checkpoint"),
        ),
        result=result,
        curve=dict(sorted(frozen.intermediate_values.items())),
        started=frozen.datetime_start,
        faults=tuple(attributes.get("faults", ())),
        forgiven=attributes.get(FORGIVEN, 0),
        claim=attributes.get("claim", {}),
        measured=attributes.get("length", {}),
    )


def distribution(axis: Axis) -> BaseDistribution:
    """An axis for Optuna's own tools, such as its dashboard."""
    scale = axis.scale
    if isinstance(scale, Choice):
        return CategoricalDistribution(scale.values)
    if isinstance(scale, Integer):
        return IntDistribution(scale.low, scale.high, log=isinstance(scale, LogInteger))
    return FloatDistribution(scale.low, scale.high, log=isinstance(scale, Log))
