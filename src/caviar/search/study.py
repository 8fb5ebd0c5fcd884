"""A study while it is driven: its folder, ledger, metric and launcher."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig

from caviar.base.errors import ProcessDied, SearchFailed, UserError
from caviar.config.overrides import (
    command_line,
    joined,
    override_value,
    point_overrides,
    rewrite_one_minus,
)
from caviar.ledger import Ledger, Planned, Trial, exists
from caviar.ledger.storages import POINTER
from caviar.screen.live import PERIOD, StageView
from caviar.screen.view import console, shown_path
from caviar.search.settings import CONFIRM, TEST, VERDICT, SearchSettings
from caviar.space import Space
from caviar.space.sweep_file import SweepFile

Launch = Callable[[Sequence[Sequence[str]], int], Any]


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
    declares: Sequence[str] = ()
    """Hydra overrides of the space."""
    compose: Callable[[Sequence[str]], DictConfig] | None = None
    """The config that trials with these overrides have, but for their points."""
    _said: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        return self.settings.study

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger.open(self.storage, self.name, self.settings.heartbeat)

    def require(self) -> None:
        """Take the metric from a study that must exist, whatever the config says now.

        Raises:
            UserError: there is no such study, or it has no stage.
        """
        if not exists(self.storage):
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
        return self.ledger.stages() if exists(self.storage) else []

    def search_stages(self) -> list[str]:
        """The stages so far, confirm and test left out."""
        return [s for s in self.stages() if s not in (CONFIRM, TEST)]

    def stages_before(self, stage: str) -> list[str]:
        """The search stages that were begun before this one."""
        found = self.search_stages()
        return found[: found.index(stage)] if stage in found else found

    def begun_sweep(self, stage: str) -> SweepFile:
        """The sweep file of a stage as it was begun."""
        return SweepFile.parse(self.ledger.spec(stage)["sweep"], self.sweep_path(stage))

    def tiers(self) -> dict[str, int]:
        """The lecture's tier of each hyperparameter that the study's space declares; none where
        that space is no more."""
        assert self.compose is not None
        first = self.begun_sweep(self.search_stages()[0])
        try:
            config = self.compose([*first.declares, *first.overrides])
        except (UserError, HydraException):
            return {}
        return dict((config.get("space") or {}).get("tiers") or {})

    def begin(self, stage: str, spec: Mapping[str, Any]) -> None:
        """Make the stage in the ledger, or check that it was begun with the same spec.

        Raises:
            UserError: it was begun with others, which must not be mixed.
        """
        self.point_to_ledger()
        self.ledger.begin(stage, spec, self.mode)
        self.compare(stage, spec)

    def point_to_ledger(self) -> None:
        """Remember where the ledger is, where it is not in the study's folder."""
        if self.settings.storage:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / POINTER).write_text(f"{self.storage}\n", encoding="utf-8")

    def compare(self, stage: str, spec: Mapping[str, Any]) -> None:
        """Check that a stage, if there is one, was begun with these spec.

        Raises:
            UserError: with the difference.
        """
        if stage not in self.stages():
            return
        old = self.ledger.spec(stage)
        for name, value in spec.items():
            before = old.get(name)
            if name == "overrides" and before is not None:
                before, value = sorted(before), sorted(value)  # their order says nothing
            # `shared` says which of the overrides are whose; that makes no other trial. An older
            # study does not know all the spec of today.
            if before == value or name == "shared" or name not in old:
                continue
            if name == "sweep" and before is not None:
                where = Path(f"{self.name}/{stage}")
                sweeps = [SweepFile.parse(text, where) for text in (before, value)]
                if sweeps[0].same_trials(sweeps[1]):
                    continue
                before, value = (
                    replace(s, num_trials=0, notes=(), reasons={}).text() for s in sweeps
                )
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
        Other drivers and workers may take some of them: each runs once, and this waits for all.

        Raises:
            SearchFailed: every trial failed, or a trial cannot be finished.
        """
        self.ledger.extend(stage, plan, space)
        if not self._all_finished(stage, len(plan)):
            with StageView(self.ledger, stage, len(plan), metric or self.metric, self.mode):
                while not self._all_finished(stage, len(plan)):
                    if not self.run_some(stage, len(plan)):
                        self._say_what_is_elsewhere(stage)
                        time.sleep(PERIOD)  # the others are at it
        known = self.ledger.trials(stage)[: len(plan)]
        if known and all(t.result and t.result.failed for t in known):
            assert known[0].result is not None
            raise SearchFailed(
                f"all {len(known)} trials of {stage} failed, the first with\n"
                f"  {known[0].result.error}\n{self._mend(stage)}"
            )
        return known

    def run_some(self, stage: str, count: int | None = None) -> bool:
        """Run the trials among the first `count` that nobody has; False if there is none.

        Raises:
            SearchFailed: a trial came back neither finished nor taken by anybody else.
        """
        known = {t.number: t for t in self.ledger.trials(stage)[:count]}
        here = [n for n in self.ledger.claimable(stage) if n in known and self._is_here(known[n])]
        if not here:
            return False
        jobs = [self._job(stage, known[n]) for n in here]
        try:
            returned = self.launch(jobs, here[0])
        except SearchFailed as error:
            raise SearchFailed(f"{error}\n{self._mend(stage)}") from None
        except Exception as error:
            # Of a cluster's library: a job of its was killed, or it could not begin any.
            if type(error).__module__.partition(".")[0] in ("builtins", "caviar", "hydra"):
                raise
            words = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            now = self.ledger.trials(stage)[:count]
            if all(t.claim == known[t.number].claim for t in now):
                raise SearchFailed(f"the launcher could not run {stage}: {words}") from error
            console.print(f"{stage}: {words}")
            return True
        left = {*self.ledger.claimable(stage)}
        for number, job in zip(here, returned or (), strict=False):
            fault = getattr(job, "_return_value", None)
            if number not in left or not isinstance(fault, Exception):
                continue
            if isinstance(fault, OSError | ProcessDied):
                what = "written down" if isinstance(fault, OSError) else "begun"
                raise SearchFailed(
                    f"trial {number} of {stage} could not be {what}: {fault}; mend that, "
                    "and run the command again"
                )
            raise fault
        return True

    def _say_what_is_elsewhere(self, stage: str) -> None:
        """Once, if a test waits for a checkpoint that another machine has."""
        if stage == TEST and not self._said and self.ledger.claimable(stage):
            hosts = {t.host for t in self.ledger.trials(CONFIRM)} - {socket.gethostname()}
            console.print(
                f"the checkpoints to test are not all on this machine; run caviar worker "
                f"search.study={self.name} search.storage={self.storage} on {', '.join(hosts)}"
            )
            self._said = True

    def _all_finished(self, stage: str, count: int) -> bool:
        return all(t.finished for t in self.ledger.trials(stage)[:count])

    def _is_here(self, trial: Trial) -> bool:
        """Whether a test, which needs a checkpoint, finds it on this machine."""
        checkpoint = trial.planned.checkpoint
        return checkpoint is None or Path(checkpoint).exists()

    def _mend(self, stage: str) -> str:
        folders = sorted((self.folder / stage).glob("*/error.txt"))
        where = f"the traceback is in {shown_path(folders[0])}; " if folders else ""
        return (
            f"{where}mend the model or the config, then remove {shown_path(self.folder)} or write "
            "search.study=ANOTHER_NAME"
        )

    def trial_overrides(self, planned: Planned, stage_overrides: Sequence[str]) -> list[str]:
        """What a user would type to train this setting, in search coordinates."""
        only_test: tuple[str, ...] = ()
        if planned.checkpoint is not None:
            path = override_value(planned.checkpoint)
            only_test = ("fit=false", "test=true", f"ckpt_path={path}")
        point = point_overrides(planned.point)
        return [*joined(stage_overrides, only_test), *point, f"seed={planned.seed}"]

    def print_commands(self, plan: Sequence[Planned], stage_overrides: Sequence[str]) -> None:
        """A dry run: one command a trial on standard output, and nothing else there."""
        for planned in plan:
            print(command_line(self.trial_overrides(planned, stage_overrides)))

    def _job(self, stage: str, trial: Trial) -> list[str]:
        spec = self.ledger.spec(stage)
        place = {"trial.stage": stage, "trial.number": trial.number, "search.study": self.name}
        if self.settings.storage:
            place["search.storage"] = self.storage
            place["search.heartbeat"] = self.settings.heartbeat
        if spec.get("pruner", "none") != "none":
            place["search.pruner"] = spec["pruner"]
        overrides = rewrite_one_minus(self.trial_overrides(trial.planned, spec["overrides"]))
        return [*overrides, *(f"{key}={override_value(value)}" for key, value in place.items())]


def _difference(before: Any, now: Any) -> str:
    """Lines that differ, old ones behind -, new ones behind +."""
    import difflib

    old, new = (v.splitlines() if isinstance(v, str) else [repr(v)] for v in (before, now))
    lines = list(difflib.unified_diff(old, new, lineterm="", n=0))[2:]
    return "\n".join(f"  {line}" for line in lines if not line.startswith(("@@", "-#", "+#")))
