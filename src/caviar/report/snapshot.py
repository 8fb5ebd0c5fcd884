"""What a report is about, read once: the stages of a study, their trials, the verdict."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from caviar.base.errors import UserError
from caviar.base.result import DIVERGED
from caviar.ledger import Trial
from caviar.screen.view import best_trials
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
    reasons: Mapping[str, Sequence[str]]
    """Why each range is what it is, by coordinate name."""
    trials: Sequence[Trial]
    begun: bool = True
    """False of one that refine has written and nobody runs yet."""

    @property
    def losses(self) -> list[float]:
        """Of its finished trials, as far as they say something of their setting."""
        found = [t.result.loss(self.sweep.mode) for t in self.trials if t.result]
        return [loss for loss in found if loss == loss]  # not those that failed


@dataclass(frozen=True)
class Snapshot:
    """A study as it is now."""

    study: Study
    stages: Sequence[Stage]
    """Those that were begun, and at the end one that refine has written and nobody has begun."""
    confirmed: Sequence[Trial]
    tested: Sequence[Trial]
    verdict: Verdict | None
    tiers: Mapping[str, int]

    @property
    def metric(self) -> str:
        return self.study.metric

    @property
    def mode(self) -> str:
        return self.study.mode

    @cached_property
    def space(self) -> Space:
        """Of the first stage, with the lecture's tiers."""
        first = self.stages[0].sweep.space
        return Space(tuple(replace(axis, tier=self.tiers.get(axis.key)) for axis in first))

    @cached_property
    def trials(self) -> list[Trial]:
        """Of all stages of search."""
        return [t for stage in self.stages for t in stage.trials]

    @cached_property
    def everything(self) -> list[Trial]:
        """Confirmation and tests among them."""
        return [*self.trials, *self.confirmed, *self.tested]

    @cached_property
    def best(self) -> Trial | None:
        """The best trial of the search; it flatters.

        Of the stages that trained as the latest one did: other losses do not compare.
        """
        known = [s for s in self.stages if s.losses]
        overrides = sorted(known[-1].sweep.overrides) if known else []
        alike = [s for s in known if sorted(s.sweep.overrides) == overrides]
        found = best_trials([t for s in alike for t in s.trials], self.mode, 1)
        return found[0] if found else None

    @property
    def unfinished(self) -> list[Trial]:
        return [t for t in self.everything if not t.finished]

    def value(self, trial: Trial) -> float | None:
        """The best value of a trial that has one and did not diverge or fail."""
        result = trial.result
        known = result is not None and not result.failed and result.status != DIVERGED
        return result.best if known and result else None


def gather(study: Study) -> Snapshot:
    """Read the study, whose ledger exists."""
    ledger = study.ledger
    stages = []
    for name in study.search_stages():
        text = ledger.spec(name)["sweep"]
        sweep = SweepFile.parse(text, study.sweep_path(name))
        reasons = reasons_in(text) or _reasons_beside(study.sweep_path(name), sweep)
        stages.append(Stage(name, sweep, reasons, ledger.trials(name)))
    if waiting := _written(study, stages):
        stages.append(waiting)
    verdict = study.folder / VERDICT
    return Snapshot(
        study=study,
        stages=stages,
        confirmed=ledger.trials(CONFIRM),
        tested=ledger.trials(TEST),
        verdict=read_verdict(verdict) if verdict.exists() else None,
        tiers=study.tiers(),
    )


def _written(study: Study, begun: Sequence[Stage]) -> Stage | None:
    """The next stage, if refine has written its file."""
    known = {stage.name for stage in begun}
    for name in study.settings.stage_names():
        path = study.sweep_path(name)
        if name in known or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
            sweep = SweepFile.parse(text, path)
        except (OSError, UnicodeDecodeError, UserError):
            return None  # whoever runs it will be told
        same = set(sweep.space.names) == set(begun[0].sweep.space.names)
        return Stage(name, sweep, reasons_in(text), [], begun=False) if same else None
    return None


def _reasons_beside(path: Path, sweep: SweepFile) -> dict[str, list[str]]:
    """From the stage's file: a stage that was run from it has its ranges without the comments."""
    try:
        text = path.read_text(encoding="utf-8")
        return reasons_in(text) if SweepFile.parse(text, path).same_trials(sweep) else {}
    except (OSError, UnicodeDecodeError, UserError):
        return {}


def reasons_in(text: str) -> dict[str, list[str]]:
    """The comments below each axis of a sweep file: why its range is what it is."""
    found: dict[str, list[str]] = {}
    axis: str | None = None
    for line in text.partition("\nparameters:\n")[2].splitlines():
        if named := re.fullmatch(r"  ([A-Za-z_][\w.-]*):(\s.*)?", line):
            axis = named[1]
        elif axis is not None and (said := re.fullmatch(r"    # (.*)", line)):
            found.setdefault(axis, []).append(said[1])
        elif not line.startswith(" "):
            break
    return found


def axis_in(stage: Stage, axis: Axis) -> Axis:
    """An axis as a stage has it."""
    return stage.sweep.space.axis(axis.name)


def folder_of(snapshot: Snapshot, trial: Trial) -> Path:
    """Where a trial's files lie; those of a W&B run below its id."""
    return snapshot.study.folder / trial.stage / str(trial.claim.get("run", trial.number))
