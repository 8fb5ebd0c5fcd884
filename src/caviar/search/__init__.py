"""What `python train.py -m` does, by `search.action`: one stage, a whole search, or confirm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from caviar.search import checks, loop
from caviar.search.settings import DEFAULT_TRIALS, SearchSettings, storage_of, study_folder
from caviar.search.sources import config_sources
from caviar.search.stages import (
    coarse_sweep,
    plan,
    search_overrides,
    sweep_with_overrides,
)
from caviar.search.study import Launch, Study
from caviar.space.sweep_file import SweepFile


def run(config: DictConfig, arguments: Sequence[str], launch: Launch, loader: Any) -> None:
    """Entry of the sweeper.

    Arguments:
        config: composed, with every override.
        arguments: the command line's overrides, `hydra.` ones left out.
        launch: hands jobs, lists of overrides, to Hydra's launcher.
        loader: Hydra's config loader, to name the file that holds a bad range.

    Raises:
        UserError: before anything ran.
    """
    settings = SearchSettings.of(config)
    checks.no_grid(config, arguments)
    checks.no_seed(arguments)
    checks.no_test(config)
    checks.one_device(config)
    study = Study(
        settings=settings,
        folder=study_folder(config),
        storage=storage_of(config),
        metric=config.metric.name,
        mode=config.metric.mode,
        overrides=search_overrides(arguments),
        launch=launch,
    )
    if settings.action == "confirm":
        loop.confirm_only(study)
        return
    sweep = first_sweep(study, config, arguments, loader)
    checks.no_fixed_axis(sweep)
    study.metric, study.mode = sweep.metric, sweep.mode
    if settings.dry_run:
        study.print_commands(plan(sweep, settings), sweep.overrides)
    elif settings.action == "search":
        loop.search(study, sweep)
    else:
        loop.stage(study, sweep)


def first_sweep(
    study: Study, config: DictConfig, arguments: Sequence[str], loader: Any
) -> SweepFile:
    """The stage that the config asks for: a sweep file, or the space; checked."""
    settings = study.settings
    root = Path(config.paths.root)
    if settings.sweep is not None:
        path = Path(settings.sweep)
        sweep = sweep_with_overrides(path, study.overrides)
        checks.check_space(sweep.space, config, [], str(path))
        first = next(iter(settings.stage_names())) if settings.action == "search" else sweep.stage
        sweep = replace(sweep, study=study.name, stage=settings.stage or first)
        trials = settings.num_trials or sweep.num_trials or DEFAULT_TRIALS
        return replace(sweep, num_trials=trials)
    space = checks.parse_space(config, config_sources(loader, root, arguments))
    names = settings.stage_names()
    stage = settings.stage or next(iter(names))
    declared = names[stage].num_trials if stage in names else DEFAULT_TRIALS
    return coarse_sweep(study, space, stage, settings.num_trials or declared)
