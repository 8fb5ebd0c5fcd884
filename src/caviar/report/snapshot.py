"""What a report is about, read once: the stages of a study, their trials, the verdict.

    snapshot = Snapshot.of(study)      # all sections are made from this one

A study may run while its report is written. Read once, its sections agree with one another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from caviar.base.errors import UserError
from caviar.base.result import DIVERGED
from caviar.ledger import Trial
from caviar.screen.view import best_trials
from caviar.search.provenance import trained_alike
from caviar.search.settings import CONFIRM, TEST, VERDICT
from caviar.search.study import Study
from caviar.search.verdict import Verdict, read_verdict
from caviar.space import Axis, Space
from caviar.space.sweep_file import SweepFile


@dataclass(frozen=True)
class Stage:
    """One stage of search."""

    name: str
    sweep: SweepFile
    trials: Sequence[Trial]
    spec: Mapping[str, Any]
    """What the ledger keeps of it."""
    begun: bool = True
    """False of one that refine has written and nobody runs yet."""

    @property
    def reasons(self) -> Mapping[str, Sequence[str]]:
        """Why each range is what it is, by coordinate name."""
        return self.sweep.reasons

    @property
    def losses(self) -> list[float]:
        """Of its finished trials, lower is better; infinite where training diverged."""
        losses = [t.result.loss(self.sweep.mode) for t in self.trials if t.result]
        return [loss for loss in losses if loss == loss]  # NaN: it failed, and says nothing

    def axis(self, axis: Axis) -> Axis:
        """An axis of the first stage as this stage has it."""
        return self.sweep.space.axis(axis.name)


@dataclass(frozen=True)
class Snapshot:
    """A study as it is now."""

    study: Study
    stages: Sequence[Stage]
    """Those that were begun, and at the end one that refine has written and nobody has begun."""
    confirmed: Sequence[Trial]
    tested: Sequence[Trial]
    verdict: Verdict | None
    """None before the study is confirmed."""
    tiers: Mapping[str, int]
    """Config key → the lecture's tier."""

    @classmethod
    def of(cls, study: Study) -> Snapshot:
        """Read the study, whose ledger exists."""
        ledger = study.ledger
        stages = []
        for name in study.search_stages():
            # As it was begun: the file beside it may have been edited since.
            sweep = _with_reasons(study.begun_sweep(name), study.sweep_path(name))
            stages.append(Stage(name, sweep, ledger.trials(name), ledger.spec(name)))
        if waiting := _written_stage(study, stages):
            stages.append(waiting)
        verdict = study.folder / VERDICT
        return cls(
            study=study,
            stages=stages,
            confirmed=ledger.trials(CONFIRM),
            tested=ledger.trials(TEST),
            verdict=read_verdict(verdict) if verdict.exists() else None,
            tiers=study.tiers(),  # composes the whole config, so once
        )

    @property
    def metric(self) -> str:
        return self.study.metric

    @property
    def mode(self) -> str:
        return self.study.mode

    @cached_property
    def space(self) -> Space:
        """Of the first stage, with the lecture's tiers; all pictures are on its scales."""
        first = self.stages[0].sweep.space
        return Space(tuple(replace(axis, tier=self.tiers.get(axis.key)) for axis in first))

    @cached_property
    def trials(self) -> list[Trial]:
        """Of all stages of search."""
        return [t for stage in self.stages for t in stage.trials]

    @cached_property
    def everything(self) -> list[Trial]:
        """All trials, confirmation and tests among them."""
        return [*self.trials, *self.confirmed, *self.tested]

    @cached_property
    def best(self) -> Trial | None:
        """The best trial of the search, which flatters itself.

        Of the stages that trained as the latest one did: other losses do not compare.
        """
        with_losses = [s for s in self.stages if s.losses]
        alike = [s for s in with_losses if trained_alike(s.spec, with_losses[-1].spec)]
        best = best_trials([t for s in alike for t in s.trials], self.mode, 1)
        return best[0] if best else None


def best_value(trial: Trial) -> float | None:
    """The metric's best value, of a trial that has one and did not diverge or fail."""
    result = trial.result
    # A run that diverged late has a best value on record; as a result it counts as worst.
    if result is None or result.failed or result.status == DIVERGED:
        return None
    return result.best


def _written_stage(study: Study, begun: Sequence[Stage]) -> Stage | None:
    """The next stage, if refine has written its file."""
    names = {stage.name for stage in begun}
    for name in study.settings.stage_names():
        path = study.sweep_path(name)
        if name in names or not path.is_file():
            continue
        try:
            sweep = SweepFile.read(path)
        except UserError:
            return None  # whoever runs it will be told
        # Over other axes it could not be run, and has no place in pictures.
        same = set(sweep.space.names) == set(begun[0].sweep.space.names)
        spec = {"overrides": sweep.overrides}
        return Stage(name, sweep, [], spec, begun=False) if same else None
    return None


def _with_reasons(sweep: SweepFile, path: Path) -> SweepFile:
    """A stage as it was begun, with the reasons that stand in its file, where its ledger is of a
    version that did not keep them."""
    if sweep.reasons or not path.is_file():
        return sweep
    try:
        file = SweepFile.read(path)
    except UserError:
        return sweep
    # Edited since, its comments are about ranges that nobody ran.
    return replace(sweep, reasons=file.reasons) if file.same_trials(sweep) else sweep
