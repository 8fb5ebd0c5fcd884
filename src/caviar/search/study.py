"""A study: one search under one name, as a command has opened it.

    study = open_study(config, overrides, composer)                # to begin it, or go on with it
    study = open_study(config, overrides, composer, begun=True)    # that must be there already
    study.stages()                                                 # ["01_coarse", "02_fine"]

It is frozen: what a command asks for is worked out once, in `open_study`, and whoever holds a study
may rely on it. What has been done already is in its ledger, and nowhere else: the spec of a stage
that was begun is the only truth about it, and its sweep file in the study's folder follows.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig

from caviar.base.errors import UserError
from caviar.base.files import replaced
from caviar.config.commands import caviar_command, for_shell, set_to, sources_of
from caviar.config.compose import Composer
from caviar.config.keys import TEMPLATE, Keys, metric_of
from caviar.config.overrides import keys_outside, override_key, restore_one_minus
from caviar.ledger import JOURNAL, Ledger, Trial, exists, known_storage
from caviar.ledger.storages import POINTER
from caviar.screen.view import shown_path
from caviar.search.provenance import keep_code, refuse_other_config, write_config
from caviar.search.settings import CONFIRM, TEST, VERDICT, SearchSettings, storage_of, study_folder
from caviar.search.verdict import read_verdict
from caviar.space import Space
from caviar.space.sweep_file import DECLARES, SweepFile

Launch = Callable[[Sequence[Sequence[str]], int], Any]
"""Runs jobs, lists of overrides, the first of which has this number; a JobReturn each."""

# Nodes that say how to search; the others say what is trained, and belong in the sweep file.
SEARCH_NODES = ("search", "space", "trial", "hydra")
# Of a stage's spec: what it was trained with is compared as a whole, and what only says how the
# overrides came together, or where config files are, makes no other trial.
NOT_COMPARED = ("config", "shared", "sources", "rungs", "acquisition")
# What a study keeps from its first stage on, unless a command names another and is refused.
SAMPLING = ("seed", "sampler", "pruner")


def nowhere(jobs: Sequence[Sequence[str]], first: int) -> None:
    """The launch of a command that trains nothing."""


@dataclass(frozen=True)
class Study:
    """One search under one name."""

    settings: SearchSettings
    folder: Path
    storage: str
    metric: str
    mode: str
    overrides: Sequence[str]
    """Hydra overrides of the command that say what is trained."""
    compose: Callable[[Sequence[str]], DictConfig]
    """The config that trials with these overrides have, but for their points."""
    launch: Launch = nowhere
    declares: Sequence[str] = ()
    """Hydra overrides of the command that say what is searched."""
    keys: Keys = TEMPLATE
    """Who trains, and by which keys of the config."""
    sources: Sequence[str] = ()
    """Words of the command, or of the one that began the study, that find config files."""

    @property
    def name(self) -> str:
        return self.settings.study

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger.open(self.storage, self.name, self.settings.heartbeat)

    def changed(self, **fields: Any) -> Study:
        """The same study with other fields, over the same ledger if that is open."""
        new = replace(self, **fields)
        if "ledger" in self.__dict__:
            new.__dict__["ledger"] = self.ledger
        return new

    @property
    def complete(self) -> bool:
        """Whether it was searched and confirmed, and all was tested that is to be."""
        tests_passed = all(t.finished and not t.failed for t in self._tests())
        path = self.folder / VERDICT
        return path.exists() and read_verdict(path).decided and tests_passed

    @property
    def tested(self) -> bool:
        """Whether a result on the test set was seen; it was not by tests that failed."""
        return any(t.finished and not t.failed for t in self._tests())

    @property
    def closed(self) -> str:
        """Why nothing more may be searched in it; empty if it may."""
        if self.tested:
            return "is confirmed and its test set open"
        return "is confirmed" if (self.folder / VERDICT).exists() else ""

    def _tests(self) -> list[Trial]:
        return self.ledger.trials(TEST) if exists(self.storage) else []

    # -- its stages

    def stages(self) -> list[str]:
        """All stages so far; looking makes no ledger."""
        return self.ledger.stages() if exists(self.storage) else []

    def search_stages(self) -> list[str]:
        """The stages so far, confirm and test left out."""
        return [s for s in self.stages() if s not in (CONFIRM, TEST)]

    def stages_before(self, stage: str) -> list[str]:
        """The search stages that were begun before this one."""
        stages = self.search_stages()
        return stages[: stages.index(stage)] if stage in stages else stages

    def sweep_path(self, stage: str) -> Path:
        """Where a stage's sweep file lies."""
        return self.folder / f"{stage}.yaml"

    def begun_sweep(self, stage: str) -> SweepFile:
        """A stage as it was begun: by the ledger, whatever became of its file."""
        return SweepFile.parse(self.ledger.spec(stage)["sweep"], self.sweep_path(stage))

    def tiers(self) -> dict[str, int]:
        """The lecture's tier of each hyperparameter that the study's space declares; none where
        that space is no more."""
        first = self.begun_sweep(self.search_stages()[0])
        try:
            config = self.compose([*first.declares, *first.overrides])
        except (UserError, HydraException):
            return {}
        return dict((config.get("space") or {}).get("tiers") or {})

    # -- beginning one

    def begin(self, stage: str, spec: Mapping[str, Any]) -> None:
        """Make the stage in the ledger, or check that it was begun with the same spec.

        Raises:
            UserError: it was begun with another, and the two must not be mixed.
        """
        self.point_to_ledger()
        begun = self.ledger.begin(stage, spec, self.mode)
        self.compare(stage, spec)
        keep_code(self.ledger, stage)
        if "config" in begun:
            write_config(self, stage, begun["config"])

    def point_to_ledger(self) -> None:
        """Remember where the ledger is, where it is not in the study's folder."""
        if self.settings.storage:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Whole, because the trials of another driver may read it at this very moment.
            with replaced(self.folder / POINTER) as partial:
                partial.write_text(f"{self.storage}\n", encoding="utf-8")

    def compare(self, stage: str, spec: Mapping[str, Any]) -> None:
        """Check that a stage, if there is one, was begun with this spec.

        Raises:
            UserError: with the difference.
        """
        if stage not in self.stages():
            return
        begun = self.ledger.spec(stage)
        # A study of an earlier version lacks what was not kept then.
        by_config = "config" in begun and "config" in spec
        if by_config:
            refuse_other_config(self, stage, begun, spec)
        for name, asked in spec.items():
            if name in NOT_COMPARED or name not in begun or (by_config and name == "overrides"):
                continue
            before = begun[name]
            if name == "overrides" and before is not None:
                before, asked = sorted(before), sorted(asked)  # their order means nothing
            if before == asked:
                continue
            if name == "sweep" and before is not None:
                where = Path(f"{self.name}/{stage}")
                sweeps = [SweepFile.parse(text, where) for text in (before, asked)]
                if by_config:  # which is what the overrides come to, whatever they are
                    sweeps[1] = replace(sweeps[1], overrides=sweeps[0].overrides)
                if sweeps[0].same_trials(sweeps[1]):
                    continue
                before, asked = (
                    replace(s, num_trials=0, notes=(), reasons={}).text() for s in sweeps
                )
                differs = _axes(*(s.space for s in sweeps)) or _difference(before, asked)
            else:
                differs = _difference(before, asked)
            raise UserError(
                f"stage {stage} of study {self.name} was begun with another {name}:\n"
                f"{differs}\nrepeat the old one to continue, or write "
                "search.study=ANOTHER_NAME to begin anew"
            )

    def refuse_when_confirmed(self) -> None:
        """More search after the test set was opened would make it a validation set.

        Raises:
            UserError: it was opened, or there is a verdict.
        """
        if closed := self.closed:
            raise UserError(
                f"study {self.name} {closed}; search on under another name: "
                "search.study=ANOTHER_NAME"
            )


def open_study(
    config: DictConfig,
    overrides: Sequence[str],
    compose: Callable[[Sequence[str]], DictConfig],
    launch: Launch = nowhere,
    begun: bool = False,
) -> Study:
    """The study that a command is about.

    Arguments:
        config: composed, with every override. `search.study` is set in it to the sweep file's
            study, where the command names only the file.
        overrides: of the command line, `hydra.` ones left out.
        compose: the config for other overrides.
        launch: hands jobs to Hydra's launcher.
        begun: it must exist; then its metric is the study's, whatever the config says now, and so
            are seed, sampler and pruner, unless the command names others.

    Raises:
        UserError: the settings cannot be, or there is no such study.
    """
    named = {override_key(o) for o in overrides}
    if config.search.sweep is not None and "search.study" not in named:
        config.search.study = SweepFile.read(Path(config.search.sweep)).study or config.search.study
    study = Study(
        settings=SearchSettings.of(config),
        folder=study_folder(config),
        storage=storage_of(config),
        metric=metric_of(config).name,
        mode=metric_of(config).mode,
        keys=Keys.of(config),
        overrides=restore_one_minus(keys_outside(overrides, *SEARCH_NODES)),
        compose=compose,
        launch=launch,
        declares=[o for o in overrides if DECLARES.match(o)],
        sources=sources_of(config),
    )
    _refuse_renamed(study)
    if not begun:
        return study
    if not exists(study.storage):
        there = _others(study.folder)
        close = difflib.get_close_matches(study.name, there, n=1)
        hint = f"did you mean {set_to('search.study', close[0])}? " if close else ""
        listed = f"{'There' if close else 'there'} are {', '.join(there)}; " if there else ""
        raise UserError(
            f"there is no study {study.name} in {shown_path(study.folder)}; {hint}{listed}begin it "
            f"with {caviar_command('search', study.name)}, or name another"
        )
    if not study.stages():
        raise UserError(f"study {study.name} has no stage in {study.storage}")
    sweep = study.begun_sweep(study.stages()[0])
    return keeping_sampling(study.changed(metric=sweep.metric, mode=sweep.mode), overrides)


def _refuse_renamed(study: Study) -> None:
    """Refuse a folder whose ledger knows the study by another name: a new one would be begun in the
    same file, beside all trials of the old one.

    Raises:
        UserError: with what gives the folder its name back.
    """
    if study.storage != str(study.folder / JOURNAL) or not exists(study.storage):
        return
    if not study.stages() and (others := study.ledger.others()):
        here, back = shown_path(study.folder), shown_path(study.folder.with_name(others[0]))
        raise UserError(
            f"{here} is the folder of study {others[0]}, which all in it goes by; rename "
            f"it back: {for_shell(['mv', str(here), str(back)])}"
        )


def _others(folder: Path) -> list[str]:
    """The studies beside one, the latest first."""
    runs = folder.parent
    found = [f for f in runs.iterdir() if known_storage(f)] if runs.is_dir() else []
    return [f.name for f in sorted(found, key=lambda f: f.stat().st_mtime, reverse=True)[:12]]


def reaching(study: Study, compose: Composer) -> Study:
    """The study, once `compose` finds config files where they were when it began, and where its
    sweep file says: `caviar confirm` need not repeat a `--config-dir`.

    Raises:
        UserError: they are on no disk of this machine.
    """
    begun, file = study.stages(), study.settings.sweep
    kept = study.ledger.spec(begun[0]).get("sources", ()) if begun else ()
    named = SweepFile.read(Path(file)).sources if file is not None else ()
    words = dict.fromkeys([*study.sources, *named, *kept])
    # On another machine they lie elsewhere, as the command says then.
    return study.changed(sources=compose.reach(list(words), elsewhere=bool(study.sources)))


def keeping_sampling(study: Study, overrides: Sequence[str]) -> Study:
    """The study with its own seed, sampler and pruner, unless the command line names others."""
    named = {override_key(o) for o in overrides}
    spec = study.ledger.spec(study.search_stages()[0])
    kept = {k: spec[k] for k in SAMPLING if k in spec and f"search.{k}" not in named}
    return study.changed(settings=replace(study.settings, **kept))


def _axes(before: Space, now: Space) -> str:
    """A line for each axis that is drawn otherwise; empty if all are drawn alike."""
    old, new = ({axis.key: str(axis.scale) for axis in space} for space in (before, now))
    return "\n".join(
        f"  {key}: {old.get(key, 'not drawn')}, and now {new.get(key, 'not drawn')}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    )


def _difference(before: Any, now: Any) -> str:
    """Lines that differ, old ones behind -, new ones behind +."""
    old, new = (v.splitlines() if isinstance(v, str) else [repr(v)] for v in (before, now))
    lines = list(difflib.unified_diff(old, new, lineterm="", n=0))[2:]
    return "\n".join(f"  {line}" for line in lines if not line.startswith(("@@", "-#", "+#")))
