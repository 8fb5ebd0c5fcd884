"""Which stage `caviar sweep` is about, checked as `python train.py -m` checks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from caviar import project
from caviar.overrides import rewrite_one_minus
from caviar.search import checks, compose_trials, first_sweep
from caviar.search.study import Study
from caviar.space.sweep_file import SweepFile
from caviar.sweeps.register import next_stage


def asked_sweep(study: Study, overrides: Sequence[str]) -> tuple[DictConfig, SweepFile]:
    """The config, and the stage that it asks for: `search.sweep=FILE`, else `search.stage`, else
    the first one that is not registered, drawn from the space or refined before.

    Raises:
        UserError: as `python train.py -m` would.
    """
    if study.settings.sweep is None and study.settings.stage is None:
        study.settings = replace(study.settings, stage=next_stage(study))
    checks.no_seed(overrides)
    with initialize_config_dir(str(project.root() / "conf"), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        loader = hydra.config_loader
        config = compose_trials(loader, overrides)
        checks.no_grid(config, rewrite_one_minus(overrides))
        sweep, _ = first_sweep(study, config, rewrite_one_minus(overrides), loader)
    checks.no_fixed_axis(sweep)
    return config, sweep
