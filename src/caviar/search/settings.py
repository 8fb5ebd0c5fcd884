"""The `search` node of the config: its fields, their types and their rules."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from caviar.base.errors import UserError, check_rules
from caviar.config.compose import read_settings
from caviar.config.keys import runs_of
from caviar.config.messages import REMOVED
from caviar.ledger import HEARTBEAT, JOURNAL, Ledger, known_storage
from caviar.ledger.storages import check_kind, patient
from caviar.refine import METHODS
from caviar.search.race import FEWEST
from caviar.space.sampling import SAMPLERS

ACTIONS = ("stage", "search", "confirm", "worker")
KEEP = r"all|none|best [1-9]\d*"  # checkpoints of trials
ACQUISITIONS = ("expected_improvement", "none")
PRUNERS = ("none", "asha", "median", "hyperband")
# The ledger's stages after the last search stage. A result in `test` means that the test set is
# open: from then on the search is closed.
CONFIRM, TEST = "confirm", "test"
DEFAULT_TRIALS = 30
# `search.stages=auto`: as many rounds as are worth their trainings, and as the budget pays for.
AUTO = {
    "coarse": {"share": 30, "rungs": [0.33], "keep": 0.33},
    **{name: {"share": 8, "rungs": []} for name in ("second", "third", "fourth")},
}
VERDICT = "verdict.json"  # in the study's folder; a decided one says that the study is complete
DECIDED, ALWAYS = "decided", "always"


@dataclass
class StageSettings:
    """One round of `caviar search`."""

    num_trials: int | None = None
    """None for its share of `search.budget`."""
    share: float = 1.0
    """Its part of the budget, beside those of the other stages."""
    overrides: list[str] = field(default_factory=list)
    """Hydra overrides of every trial of the stage, such as `trainer.max_epochs=5`."""
    rungs: list[float] | None = None
    """Where its trials wait for each other: epochs, or shares of the training below 1. None for
    `search.rungs`."""
    keep: float | None = None
    """Share of the trials that goes on behind each rung. None for `search.keep`."""


@dataclass
class ConfirmSettings:
    """The best few again, with fresh seeds, in a race against the default."""

    top: int = 3
    """Settings to confirm."""
    budget: int = 11
    """Trainings in all, the default's included."""
    test: str = DECIDED
    """When the test set is opened: `decided`, or `always` at the race's end."""


@dataclass
class SearchSettings:
    """Everything under `search`; `caviar/conf/search/default.yaml` says what each is for."""

    action: str = "stage"
    study: str = "default"
    stage: str | None = None
    num_trials: int | None = None
    seed: int = 0
    sampler: str = "random"
    storage: str | None = None
    heartbeat: int = HEARTBEAT
    idle: float = 60.0
    pruner: str = "none"
    rungs: list[float] = field(default_factory=list)
    keep: float = 0.5
    sweep: str | None = None
    dry_run: bool = False
    rehearse: bool = True
    keep_checkpoints: str = "all"
    refine: str = "surrogate"
    acquisition: str = "expected_improvement"
    freeze: bool = False
    budget: int = 65
    stop: bool = False
    stages: dict[str, StageSettings] = field(default_factory=dict)
    confirm: ConfirmSettings = field(default_factory=ConfirmSettings)

    @classmethod
    def of(cls, config: DictConfig) -> SearchSettings:
        """From a composed config.

        Raises:
            UserError: a field is unknown, of another type, or breaks its rule.
        """
        for key in config.search.get("confirm") or ():
            if (name := f"search.confirm.{key}") in REMOVED:
                raise UserError(REMOVED[name])
        if config.search.get("stages") == "auto":
            config = copy.deepcopy(config)
            config.search.stages, config.search.stop = AUTO, True
        settings = read_settings(config, "search", cls)
        settings._check()
        return settings

    def _check(self) -> None:
        rules: list[tuple[str, Any, bool, str]] = [
            ("action", self.action, self.action in ACTIONS, f"one of {', '.join(ACTIONS)}"),
            ("sampler", self.sampler, self.sampler in SAMPLERS, f"one of {', '.join(SAMPLERS)}"),
            ("refine", self.refine, self.refine in METHODS, f"one of {', '.join(METHODS)}"),
            (
                "acquisition",
                self.acquisition,
                self.acquisition in ACQUISITIONS,
                f"one of {', '.join(ACQUISITIONS)}",
            ),
            ("pruner", self.pruner, self.pruner in PRUNERS, f"one of {', '.join(PRUNERS)}"),
            (
                "keep_checkpoints",
                self.keep_checkpoints,
                re.fullmatch(KEEP, self.keep_checkpoints) is not None,
                "all, none, or 'best 3'",
            ),
            ("seed", self.seed, self.seed >= 0, "0 or more"),
            ("idle", self.idle, self.idle >= 0, "seconds, 0 or more"),
            ("heartbeat", self.heartbeat, self.heartbeat >= 1, "whole seconds, 1 or more"),
            *self._rung_rules(),
            (
                "budget",
                self.budget,
                self.action != "search" or self.budget > self.confirm.budget,
                f"more than {self.confirm.budget} (confirm.budget): it counts all trainings",
            ),
            ("stages", self.stages, bool(self.stages), "at least one stage"),
            (
                "confirm.test",
                self.confirm.test,
                self.confirm.test in (DECIDED, ALWAYS),
                f"one of {DECIDED}, {ALWAYS}",
            ),
            ("confirm.top", self.confirm.top, self.confirm.top >= 1, "1 or more"),
            # One value has no spread, and without a spread nobody can say what a gain is worth.
            (
                "confirm.budget",
                self.confirm.budget,
                self.confirm.budget >= self.confirm.top + 3,
                f"{self.confirm.top + 3} or more: two seeds of the default and of one setting, and "
                f"one of each other; {self.confirm.top + 2 * FEWEST - 1} or more to show a gain",
            ),
        ]
        if self.action == "search":
            first = next(iter(self.stages), "coarse")
            rule = "null: caviar search runs all its stages; for one write python train.py -m"
            rules.append(("stage", self.stage, self.stage is None, rule))
            rule = f"null: caviar search takes search.stages.{first}.num_trials and so on"
            rules.append(("num_trials", self.num_trials, self.num_trials is None, rule))
        for name, text in (("study", self.study), ("stage", self.stage)):
            legal = text is None or re.fullmatch(r"\w[\w.-]*", text) is not None
            rules.append((name, text, legal, "letters, digits, dots and dashes: it names a folder"))
        reserved = self.stage in (CONFIRM, TEST)
        rules.append(("stage", self.stage, not reserved, "another name; confirm uses this one"))
        trials = {f"stages.{name}.num_trials": s.num_trials for name, s in self.stages.items()}
        for name, number in {"num_trials": self.num_trials, **trials}.items():
            rules.append((name, number, number is None or number >= 1, "1 or more"))
        check_rules("search.", rules)

    def _rung_rules(self) -> Iterator[tuple[str, Any, bool, str]]:
        own = {f"stages.{name}.": (s.rungs, s.keep) for name, s in self.stages.items()}
        for place, (rungs, keep) in {"": (self.rungs, self.keep), **own}.items():
            rising = all(a < b for a, b in itertools.pairwise(rungs or ()))
            legal = rising and all(r > 0 and (r < 1 or r == int(r)) for r in rungs or ())
            rule = "rising epochs, or shares of the training below 1: [2,6] or [0.25]"
            yield f"{place}rungs", rungs, legal, rule
            yield f"{place}keep", keep, keep is None or 0 < keep < 1, "a share between 0 and 1"
        for name, stage in self.stages.items():
            yield f"stages.{name}.share", stage.share, stage.share > 0, "above 0"
        rule = "none beside search.rungs: both stop trials early"
        yield "pruner", self.pruner, self.pruner == "none" or not self.rungs, rule

    def rungs_of(self, stage: str) -> tuple[list[float], float]:
        """The rungs of a stage, by its full name, and which share of its trials each keeps.

        Those of the stages are part of how `caviar search` deals its budget out. One stage by
        itself trains as many trials as it was asked for, whole, unless `search.rungs` says more.
        """
        searching = self.action == "search"
        declared = self.stage_names().get(stage) if searching else None
        declared = declared or StageSettings()
        rungs = self.rungs if declared.rungs is None else declared.rungs
        if self.pruner != "none":  # which was asked for, and stops trials early in its own way
            rungs = []
        return [*rungs], self.keep if declared.keep is None else declared.keep

    def stage_names(self) -> dict[str, StageSettings]:
        """Stages in order, by their full names: `01_coarse`, `02_fine`, …"""
        return {f"{i:02d}_{name}": s for i, (name, s) in enumerate(self.stages.items(), start=1)}


def study_folder(config: DictConfig) -> Path:
    """`runs/<study>/`, where everything of a study lies."""
    return runs_of(config) / str(config.search.study)


def storage_of(config: DictConfig) -> str:
    """The ledger's absolute path or URL: `search.storage`, else where the study was begun, else a
    journal in its folder.

    Raises:
        UserError: the study is kept elsewhere, the URL holds a password, or its kind of database
            is none that machines can share.
    """
    folder, asked = study_folder(config), config.search.storage
    begun_in = known_storage(folder)
    if asked is None:
        return begun_in or str(folder / JOURNAL)
    asked = _absolute(asked)
    check_kind(asked)
    if re.match(r"\w[\w+]*://([^/@]*:[^/@]*@|.*[?&]password=)", asked):
        raise UserError(
            "search.storage holds a password, which would be written into every trial's config; "
            "leave it out, and put it into ~/.pgpass or the environment (PGPASSWORD)"
        )
    # Two ledgers under one name would share a folder, and each overwrite the other's trials.
    if begun_in is not None and begun_in != asked:
        raise UserError(
            f"search.storage={asked}: study {config.search.study} is kept in {begun_in}; leave "
            "search.storage out, or write search.study=ANOTHER_NAME"
        )
    return asked


def open_ledger(config: DictConfig) -> Ledger:
    """The ledger of a trial's study; waits for a database that is out of reach."""
    storage, study = storage_of(config), str(config.search.study)
    return patient(Ledger.open)(storage, study, config.search.heartbeat)


def _absolute(storage: str) -> str:
    """A relative path means another file in another folder, and the trials may run there."""
    scheme, separator, path = storage.rpartition(":///")
    if separator and scheme.startswith("sqlite"):
        return f"{scheme}:///{Path(path).absolute()}"
    return storage if "://" in storage else str(Path(storage).absolute())
