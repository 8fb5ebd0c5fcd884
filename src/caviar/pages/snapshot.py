"""What a report is about, read once: the stages of a study, their trials, the verdict.

    snapshot = Snapshot.of(study)      # all sections are made from this one

A study may run while its report is written. Read once, its sections agree with one another.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from caviar.base.errors import UserError
from caviar.base.result import DIVERGED
from caviar.ledger import Ledger, Overview, Trial
from caviar.screen.view import best_trials
from caviar.search.provenance import trained_alike
from caviar.search.settings import CONFIRM, TEST, VERDICT
from caviar.search.study import Study
from caviar.search.verdict import Verdict, read_verdict
from caviar.space import Axis, Space
from caviar.space.sweep_file import SweepFile

# Trials of a stage that are drawn and listed one by one; of a larger stage, how many at even
# distances, and how many of its best.
WHOLE, SAMPLE, BEST = 5000, 2000, 20


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
    whole: Overview | None = None
    """Of all its trials, where `trials` are a sample of them."""
    beside: Sequence[Trial] = ()
    """Its best few, and those that run, where a sample lacks them."""

    @property
    def total(self) -> int:
        """How many trials it has."""
        return len(self.trials) if self.whole is None else self.whole.total

    @property
    def counts(self) -> Mapping[str, int]:
        """How many trials have which status."""
        return Counter(t.status for t in self.trials) if self.whole is None else self.whole.counts

    @property
    def seconds(self) -> Mapping[str, float]:
        """What its trials took, by status; of those that run, so far."""
        spent: defaultdict[str, float] = defaultdict(float)
        if self.whole is not None:
            for code, status in enumerate(self.whole.statuses):
                spent[status] = float(self.whole.seconds[self.whole.codes == code].sum())
        now = time.time()
        for trial in [*self.trials, *self.beside]:
            if trial.running:
                spent[trial.status] += trial.seconds_running(now)
            elif self.whole is None:
                spent[trial.status] += trial.result.seconds if trial.result else 0.0
        return spent

    @property
    def reasons(self) -> Mapping[str, Sequence[str]]:
        """Why each range is what it is, by coordinate name."""
        return self.sweep.reasons

    @property
    def losses(self) -> list[float]:
        """Of its finished trials, lower is better; infinite where training diverged. A sample of
        them is one: the best few are left out that it would lack."""
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
            stages.append(_begun(ledger, name, sweep))
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
        """Of all stages of search; of large ones a sample and the best few."""
        return [t for stage in self.stages for t in (*stage.trials, *stage.beside)]

    @cached_property
    def all_stages(self) -> list[Stage]:
        """The begun stages of search, confirmation and tests."""
        begun = [stage for stage in self.stages if stage.begun]
        for name, trials in ((CONFIRM, self.confirmed), (TEST, self.tested)):
            if trials:
                begun.append(Stage(name, begun[0].sweep, trials, {}))
        return begun

    @property
    def counts(self) -> Mapping[str, int]:
        """How many of all trials have which status."""
        return sum((Counter(stage.counts) for stage in self.all_stages), Counter())

    @property
    def sampled(self) -> str:
        """What is drawn and listed, where that is not all; else empty."""
        large = [stage for stage in self.stages if stage.whole is not None]
        return "; ".join(
            f"of the {stage.total:,} trials of {stage.name}, {len(stage.trials):,} at even "
            f"distances, and {len(stage.beside)} more: its best, and those that run"
            for stage in large
        )

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
        best = best_trials([t for s in alike for t in (*s.trials, *s.beside)], self.mode, 1)
        return best[0] if best else None


def _begun(ledger: Ledger, name: str, sweep: SweepFile) -> Stage:
    """A stage of search, or a sample of one that is large."""
    spec, whole = ledger.spec(name), ledger.overview(name)
    if whole.total <= WHOLE:
        return Stage(name, sweep, ledger.trials(name), spec)
    # By number, which says nothing of the setting: a random sample, and the same each time.
    numbers = np.linspace(0, whole.total - 1, SAMPLE).round().astype(int).tolist()
    rest = {*whole.best(BEST), *whole.running} - {*numbers}
    sample, beside = ledger.some(name, numbers), ledger.some(name, sorted(rest))
    return Stage(name, sweep, sample, spec, whole=whole, beside=beside)


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
