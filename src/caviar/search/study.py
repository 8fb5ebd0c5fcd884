"""A study while it is driven: its folder, ledger, metric and launcher."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from caviar.errors import SearchFailed, UserError
from caviar.ledger import RUNNING, WAITING, Ledger, Trial
from caviar.live import StageView
from caviar.overrides import (
    command_line,
    joined,
    override_value,
    point_overrides,
    rewrite_one_minus,
)
from caviar.result import FAILED
from caviar.search.settings import CONFIRM, POINTER, TEST, VERDICT, SearchSettings
from caviar.space import Space
from caviar.space.sweep_file import SweepFile
from caviar.view import shown_path

Launch = Callable[[Sequence[Sequence[str]], int], Any]


@dataclass(frozen=True)
class Planned:
    """One trial to be: its setting, its training seed, and what it is called."""

    point: Mapping[str, Any]
    seed: int
    note: str = ""
    overrides: Sequence[str] = field(default=())
    """Beyond those of its stage."""


@dataclass
class Study:
    """One search under one name."""

    settings: SearchSettings
    folder: Path
    storage: str
    metric: str
    mode: str
    overrides: Sequence[str]
    """Hydra overrides that every trial of every stage shares."""
    launch: Launch

    @property
    def name(self) -> str:
        return self.settings.study

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger.open(self.storage, self.name)

    def require(self) -> None:
        """Take the metric from a study that must exist, whatever the config says now.

        Raises:
            UserError: there is no such study, or it has no stage.
        """
        if not Ledger.exists(self.storage):
            raise UserError(
                f"there is no study {self.name} in {shown_path(self.folder)}; begin it with "
                f"caviar search search.study={self.name}, or name another"
            )
        stages = self.stages()
        if not stages:
            raise UserError(f"study {self.name} has no stage in {self.storage}")
        sweep = self.begun_sweep(stages[0])
        self.metric, self.mode = sweep.metric, sweep.mode

    @property
    def complete(self) -> bool:
        """Whether it was searched and confirmed, and its test set opened."""
        return (self.folder / VERDICT).exists()

    def sweep_path(self, stage: str) -> Path:
        """Where a stage's sweep file lies."""
        return self.folder / f"{stage}.yaml"

    def stages(self) -> list[str]:
        """All stages so far; looking makes no ledger."""
        return self.ledger.stages() if Ledger.exists(self.storage) else []

    def search_stages(self) -> list[str]:
        """The stages so far, confirm and test left out."""
        return [s for s in self.stages() if s not in (CONFIRM, TEST)]

    def stages_before(self, stage: str) -> list[str]:
        """The search stages that were begun before this one."""
        found = self.search_stages()
        return found[: found.index(stage)] if stage in found else found

    def begun_sweep(self, stage: str) -> SweepFile:
        """The sweep file of a stage as it was begun."""
        return SweepFile.parse(self.ledger.facts(stage)["sweep"], self.sweep_path(stage))

    def begin(self, stage: str, facts: Mapping[str, Any]) -> None:
        """Make the stage in the ledger, or check that it was begun with the same facts.

        Raises:
            UserError: it was begun with others, which must not be mixed.
        """
        if self.settings.storage:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / POINTER).write_text(f"{self.storage}\n", encoding="utf-8")
        self.ledger.begin(stage, facts, self.mode)
        self.compare(stage, facts)

    def compare(self, stage: str, facts: Mapping[str, Any]) -> None:
        """Check that a stage, if there is one, was begun with these facts.

        Raises:
            UserError: with the difference.
        """
        if stage not in self.stages():
            return
        old = self.ledger.facts(stage)
        for name, value in facts.items():
            before = old.get(name)
            if name == "overrides" and before is not None:
                before, value = sorted(before), sorted(value)  # their order says nothing
            if before == value or name == "shared":  # which of the overrides is no other trial
                continue
            if name == "sweep" and before is not None:
                where = Path(f"{self.name}/{stage}")
                sweeps = [SweepFile.parse(text, where) for text in (before, value)]
                if sweeps[0].same_trials(sweeps[1]):
                    continue
                before, value = (replace(sweep, num_trials=0).text() for sweep in sweeps)
            raise UserError(
                f"stage {stage} of study {self.name} was begun with another {name}:\n"
                f"{_difference(before, value)}\nrepeat the old one to continue, or write "
                "search.study=ANOTHER_NAME to begin anew"
            )

    def run(
        self, stage: str, plan: Sequence[Planned], space: Space, metric: str | None = None
    ) -> list[Trial]:
        """Run what of `plan` has not run yet, and return all of it.

        Trial i of the ledger's stage is plan[i], so a longer plan adds trials and repeats none.

        Raises:
            SearchFailed: every trial failed.
        """
        for trial in self.ledger.trials(stage):
            # Its driver died: this one holds the study's lock, which is this machine's.
            if trial.status == RUNNING and trial.host in ("", socket.gethostname()):
                self.ledger.release(stage, trial.number)
        for planned in plan[len(self.ledger.trials(stage)) :]:
            self.ledger.add(stage, planned.point, space, planned.seed, planned.note)
        known = self.ledger.trials(stage)[: len(plan)]
        waiting = [t.number for t in known if t.status == WAITING]
        returned = None
        if waiting:
            jobs = [self._job(stage, number, plan[number]) for number in waiting]
            with StageView(self.ledger, stage, len(plan), metric or self.metric, self.mode):
                returned = self.launch(jobs, waiting[0])
            known = self.ledger.trials(stage)[: len(plan)]
        self._check_finished(stage, waiting, known, returned)
        if known and all(t.status == FAILED for t in known):
            assert known[0].result is not None
            raise SearchFailed(
                f"all {len(known)} trials of {stage} failed, the first with\n"
                f"  {known[0].result.error}\nthe traceback is in "
                f"{shown_path(self.folder / stage / '0' / 'error.txt')}; mend the model or the "
                f"config, then remove {shown_path(self.folder)} or write search.study=ANOTHER_NAME"
            )
        return known

    def trial_overrides(self, planned: Planned, stage_overrides: Sequence[str]) -> list[str]:
        """What a user would type to train this setting, in search coordinates."""
        point = point_overrides(planned.point)
        return [*joined(stage_overrides, planned.overrides), *point, f"seed={planned.seed}"]

    def print_commands(self, plan: Sequence[Planned], stage_overrides: Sequence[str]) -> None:
        """A dry run: one command a trial on standard output, and nothing else there."""
        for planned in plan:
            print(command_line(self.trial_overrides(planned, stage_overrides)))

    def _job(self, stage: str, number: int, planned: Planned) -> list[str]:
        fixed = self.ledger.facts(stage)["overrides"]
        place = {"trial.stage": stage, "trial.number": number, "search.study": self.name}
        if self.settings.storage:
            place["search.storage"] = self.storage
        overrides = rewrite_one_minus(self.trial_overrides(planned, fixed))
        return [*overrides, *(f"{key}={override_value(value)}" for key, value in place.items())]

    def _check_finished(
        self, stage: str, waiting: Sequence[int], known: Sequence[Trial], returned: Any
    ) -> None:
        """A job that could not write into the ledger is no trial's fault, and must be seen."""
        unfinished = {t.number: t.host for t in known if not t.finished}
        for number, job in zip(waiting, returned or (), strict=False):
            error = getattr(job, "_return_value", None)
            if number in unfinished and isinstance(error, OSError):
                raise SearchFailed(
                    f"trial {number} of {stage} could not be written down: {error}; mend that, "
                    "and run the command again"
                )
            if number in unfinished and isinstance(error, Exception):
                raise error
        if unfinished:
            hosts = ", ".join(sorted({h for h in unfinished.values() if h})) or "no machine"
            raise SearchFailed(
                f"trials {sorted(unfinished)} of {stage} are not finished, and run on {hosts}; "
                "run the command again when they are done"
            )


def _difference(before: Any, now: Any) -> str:
    """Lines that differ, old ones behind -, new ones behind +."""
    import difflib

    old, new = (v.splitlines() if isinstance(v, str) else [repr(v)] for v in (before, now))
    lines = list(difflib.unified_diff(old, new, lineterm="", n=0))[2:]
    return "\n".join(f"  {line}" for line in lines if not line.startswith(("@@", "-#", "+#")))
