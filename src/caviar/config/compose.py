"""The config as train.py would compose it, without running anything."""

# MERGED rules """Rules of the root config that no single part owns, checked once before anything runs."""
#
# MERGED search.sources """Which file, or the command line, declared what: so that an error can name it."""
#
# MERGED training.build """Instantiate what the config names, so that a wrong argument is the user's clear message."""
#

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from caviar.base import project
from caviar.base.environment import ROOT
from caviar.base.errors import UserError
from caviar.config import resolvers
from caviar.config.overrides import rewrite_one_minus


def composed(overrides: Sequence[str]) -> tuple[DictConfig, list[tuple[str, DictConfig]]]:
    """The config, and the files and overrides that it came from, to name in errors.

    Raises:
        UserError, and what Hydra raises of a slip.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    root = project.root()
    os.environ[ROOT] = str(root)
    resolvers.register()
    given = rewrite_one_minus(overrides)
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        config = compose("train", given)
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        return config, config_sources(hydra.config_loader, root, given)


MODES = ("min", "max")


def check_root(config: DictConfig) -> None:
    """Refuse root values that would fail late, or far from where they were written.

    Raises:
        UserError: names the key and the rule.
    """
    mode, seed, threads = config.metric.mode, config.seed, config.threads
    rules: list[tuple[str, Any, bool, str]] = [
        ("metric.mode", mode, mode in MODES, f"one of {', '.join(MODES)}"),
        ("metric.name", config.metric.name, bool(config.metric.name), "the name of a logged value"),
        ("seed", seed, seed is None or _whole(seed, 0), "a whole number from 0 on, or null"),
        ("threads", threads, _whole(threads, 1), "a whole number from 1 on"),
        ("fit", config.fit, isinstance(config.fit, bool), "true or false"),
        ("test", config.test, isinstance(config.test, bool), "true or false"),
    ]
    for name, value, holds, rule in rules:
        if not holds:
            raise UserError(f"{name}={value} should be {rule}")


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


Source = tuple[str, DictConfig]


def config_sources(loader: Any, root: Path, overrides: Sequence[str]) -> list[Source]:
    """Every config file that was composed, each rooted at the config's root, in merge order.

    Arguments:
        loader: Hydra's config loader.
        root: paths are shown relative to it.
        overrides: of the command line.
    """
    defaults = loader.compute_defaults_list("train", list(overrides), RunMode.MULTIRUN)
    sources: list[Source] = []
    for default in defaults.defaults:
        if default.config_path is None or str(default.config_path).startswith("hydra/"):
            continue
        loaded = loader.repository.load_config(default.config_path)
        if loaded is None or not loaded.path.startswith("file://"):
            continue
        path = Path(loaded.path.removeprefix("file://")) / f"{default.config_path}.yaml"
        sources.append((_shown(path, root), _rooted(default.package or "", loaded.config)))
    typed = OmegaConf.create({})
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        if "." in key and not override.is_delete():
            OmegaConf.update(typed, key, override.value(), force_add=True)
    return [*sources, ("command line", typed)]


def _rooted(package: str, content: DictConfig) -> DictConfig:
    if package in ("", "_global_"):
        return content
    root = OmegaConf.create({})
    OmegaConf.update(root, package, content, force_add=True)
    return root


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def build(node: str, config: Any, **arguments: Any) -> Any:
    """`instantiate(config, **arguments)`; `node` is the config key that an error names.

    Raises:
        UserError: the target is unknown, or refuses its arguments.
    """
    try:
        return instantiate(config, **arguments)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from None
        what = f"{type(cause).__name__}: {cause}" if cause is not error else str(error)
        given = " ".join(f"{k}={v!r}" for k, v in config.items() if not k.startswith("_"))
        raise UserError(
            f"{node} (_target_ {config.get('_target_')}): {what}\n{node} is {given}\n"
            "HYDRA_FULL_ERROR=1 in the environment shows the traceback"
        ) from error
