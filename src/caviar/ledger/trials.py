"""A trial: as it is planned, and as the ledger knows it. Translated to and from Optuna's words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from caviar.base.result import EPOCH, EXCEPTION, PRUNED, Length, Result
from caviar.ledger.tries import FORGIVEN, RUNG, Try
from caviar.space import Axis, Choice, Integer, Log, LogInteger

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

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
    rung: int = 0
    """How many rungs of its stage it has come past."""

    @property
    def point(self) -> Mapping[str, Any]:
        """Its search coordinates."""
        return self.planned.point

    @property
    def seed(self) -> int:
        return self.planned.seed

    @property
    def note(self) -> str:
        """Which setting this is, where a stage has several: `default`, `02_fine/7`."""
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
    def stopped(self) -> bool:
        """Whether it was stopped before the end of its training: at a rung, or as hopeless."""
        return self.status == PRUNED

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


def as_trial(stage: str, latest: Try) -> Trial:
    """Read what `Ledger` wrote.

    Arguments:
        stage: of the trial.
        latest: its latest try.
    """
    attributes = latest.attributes
    result = None
    if latest.finished:
        result = Result.from_dict(attributes.get("result") or {"status": EXCEPTION})
    unfinished = RUNNING if latest.running else WAITING
    return Trial(
        stage=stage,
        number=latest.number,
        status=result.status if result else unfinished,
        planned=Planned(
            point=attributes.get("point", {}),
            seed=attributes.get("seed", 0),
            note=attributes.get("note", ""),
            checkpoint=attributes.get("checkpoint"),
        ),
        result=result,
        curve=dict(sorted(latest.curve.items())),
        started=latest.started,
        faults=tuple(attributes.get("faults", ())),
        forgiven=attributes.get(FORGIVEN, 0),
        claim=latest.claim,
        measured=attributes.get("length", {}),
        rung=attributes.get(RUNG, 0),
    )


def optuna_axis(axis: Axis) -> str:
    """An axis for Optuna's own tools, such as its dashboard: a distribution of its as JSON."""
    scale = axis.scale
    attributes: dict[str, Any]
    if isinstance(scale, Choice):
        name, attributes = "CategoricalDistribution", {"choices": [*scale.values]}
    elif isinstance(scale, Integer):
        log = isinstance(scale, LogInteger)
        name = "IntDistribution"
        attributes = {"log": log, "step": 1, "low": scale.low, "high": scale.high}
    else:
        low, high = float(scale.low), float(scale.high)
        name = "FloatDistribution"
        attributes = {"step": None, "low": low, "high": high, "log": isinstance(scale, Log)}
    return json.dumps({"name": name, "attributes": attributes})


def optuna_value(axis: Axis, value: Any) -> float:
    """A search coordinate as Optuna keeps it: of a choice, the position in the list."""
    return axis.scale.values.index(value) if isinstance(axis.scale, Choice) else float(value)


def distribution(axis: Axis) -> BaseDistribution:
    """The same as Optuna's own object."""
    from optuna.distributions import json_to_distribution

    return json_to_distribution(optuna_axis(axis))
