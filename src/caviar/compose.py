"""The config as train.py would compose it, without running anything."""

from __future__ import annotations

import os
from collections.abc import Sequence

from omegaconf import DictConfig

from caviar import project, resolvers
from caviar.overrides import rewrite_one_minus
from caviar.search.sources import config_sources


def composed(overrides: Sequence[str]) -> tuple[DictConfig, list[tuple[str, DictConfig]]]:
    """The config, and the files and overrides that it came from, to name in errors.

    Raises:
        UserError, and what Hydra raises of a slip.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    root = project.root()
    os.environ["CAVIAR_ROOT"] = str(root)
    resolvers.register()
    given = rewrite_one_minus(overrides)
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        config = compose("train", given)
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        return config, config_sources(hydra.config_loader, root, given)
