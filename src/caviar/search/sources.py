"""Which file, or the command line, declared what: so that an error can name it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

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
