"""What `python train.py -m` does, by `search.action`: one stage, a whole search, or confirm."""

# MERGED search.worker """`caviar worker`: take trials of a study that another machine drives.
#
# It draws nothing and decides nothing. The ledger says what each trial is; this machine needs the
# same code and the same data.
# """
#

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import DictConfig

from caviar.config.compose import config_sources
from caviar.config.overrides import joined, rewrite_one_minus
from caviar.screen.live import PERIOD, StageView
from caviar.screen.view import console
from caviar.search import checks, loop
from caviar.search.confirm import Confirmed
from caviar.search.settings import DEFAULT_TRIALS, SearchSettings, storage_of, study_folder
from caviar.search.stages import (
    coarse_sweep,
    inherit_sampling,
    plan,
    search_overrides,
    shared_overrides,
    space_overrides,
    stage_file,
    sweep_with_overrides,
)
from caviar.search.study import Launch, Study
from caviar.space.sweep_file import SweepFile


def run(
    config: DictConfig,
    arguments: Sequence[str],
    launch: Launch,
    loader: Any,
    confirmed: Confirmed | None = None,
) -> None:
    """Entry of the sweeper.

    Arguments:
        config: composed, with every override. `search.study` is set to the sweep file's study
            where only the file names one.
        arguments: the command line's overrides, `hydra.` ones left out.
        launch: hands jobs, lists of overrides, to Hydra's launcher.
        loader: Hydra's config loader.
        confirmed: called when a study has been confirmed; what it has left behind.

    Raises:
        UserError: before anything ran.
    """
    checks.no_grid(config, arguments)
    checks.no_seed(arguments)
    name_study(config, arguments)
    settings = SearchSettings.of(config)
    study = Study(
        settings=settings,
        folder=study_folder(config),
        storage=storage_of(config),
        metric=config.metric.name,
        mode=config.metric.mode,
        overrides=search_overrides(arguments),
        launch=launch,
        declares=space_overrides(arguments),
        compose=partial(compose_trials, loader),
    )
    if settings.action == "worker":
        study.require()
        checks.trainable(compose_trials(loader, shared_overrides(study)), keeps_checkpoint=False)
        work(study)
        return
    if settings.action == "confirm":
        study.require()
        inherit_sampling(study, arguments)
        trained = compose_trials(loader, shared_overrides(study))
        checks.trainable(trained, keeps_checkpoint=True)
        if not (study.complete or settings.dry_run):
            checks.has_test_step(trained)
        loop.confirm_only(study, confirmed)
        return
    sweep, trained = first_sweep(study, config, arguments, loader)
    checks.no_fixed_axis(sweep)
    study.metric, study.mode = sweep.metric, sweep.mode
    if settings.dry_run:
        study.print_commands(plan(sweep, study.settings), sweep.overrides)
    elif settings.action == "search":
        if not study.complete:
            checks.has_test_step(trained)
        loop.search(study, sweep, confirmed)
    else:
        loop.stage(study, sweep)


def first_sweep(
    study: Study, config: DictConfig, arguments: Sequence[str], loader: Any
) -> tuple[SweepFile, DictConfig]:
    """The stage that the config asks for, a sweep file or the space, and what its trials train;
    both checked."""
    settings = study.settings
    names = settings.stage_names()
    searching = settings.action == "search"
    if searching:  # a slip in the last stage's overrides is better found now than then
        for name, declared in settings.stages.items():
            if declared.overrides:
                with checks.named(f"search.stages.{name}.overrides"):
                    trained = compose_trials(loader, joined(study.overrides, declared.overrides))
                    checks.trainable(trained, keeps_checkpoint=False)
    file = stage_file(study)
    if file is not None and study.stages() and not searching:
        inherit_sampling(study, arguments)
    if file is None:
        checks.trainable(config, keeps_checkpoint=searching)
        root = Path(config.paths.root)
        space = checks.parse_space(config, config_sources(loader, root, arguments))
        stage = settings.stage or next(iter(names))
        trials = names[stage].num_trials if stage in names else DEFAULT_TRIALS
        return coarse_sweep(study, space, stage, settings.num_trials or trials), config
    sweep = sweep_with_overrides(file, study.overrides)
    # The file's own overrides decide what is trained, such as another model.
    trained = compose_trials(loader, sweep.overrides)
    checks.trainable(trained, keeps_checkpoint=searching)
    checks.same_metric(sweep, trained, file)
    checks.check_space(sweep.space, trained, [], str(file))
    stage = next(iter(names)) if searching else sweep.stage
    trials = settings.num_trials or sweep.num_trials or DEFAULT_TRIALS
    sweep = replace(sweep, study=study.name, stage=settings.stage or stage, num_trials=trials)
    return sweep, trained


def name_study(config: DictConfig, arguments: Sequence[str]) -> None:
    """Set `search.study` to the sweep file's study, where the command line names only the file."""
    if config.search.sweep is not None and not checks.names_study(arguments):
        config.search.study = SweepFile.read(Path(config.search.sweep)).study or config.search.study


def compose_trials(loader: Any, overrides: Sequence[str]) -> DictConfig:
    """The config that the trials with these overrides will have, but for their points."""
    typed = rewrite_one_minus(overrides)
    composed: DictConfig = loader.load_configuration("train", typed, RunMode.MULTIRUN)
    return composed


def work(study: Study) -> None:
    """Run trials until none was waiting or running anywhere for `search.idle` seconds."""
    study.point_to_ledger()
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since <= study.settings.idle and not study.complete:
        busy = False
        for stage in study.stages():
            trials = study.ledger.trials(stage)
            busy |= any(not t.finished for t in trials)
            if study.ledger.claimable(stage):
                with StageView(study.ledger, stage, len(trials), study.metric, study.mode):
                    study.run_some(stage)
        if busy:
            quiet_since = time.monotonic()
        time.sleep(PERIOD)
    console.print(f"no trial of study {study.name} is left")
