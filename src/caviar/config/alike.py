"""Configs that differ in values alone, from one composition.

Hydra takes two tenths of a second to compose a config. What tells one trial's from another's is
values, which Hydra itself writes into the config last of all; so they can be written into a copy.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, open_dict


def key_of(word: str) -> str:
    """The key of an override, such as `optimizer.lr` of `+optimizer.lr=0.1`."""
    return word.lstrip("+~").partition("=")[0]


def is_value(word: str) -> bool:
    """Whether an override sets a value, and chooses no file of a group."""
    key = key_of(word)
    return not word.startswith("~") and ("." in key or key == "seed")


def differ_in_values(one: Sequence[str], other: Sequence[str]) -> list[str] | None:
    """The overrides of `other` that `one` does not have; None if it must be composed by itself."""
    if [key_of(word) for word in one] != [key_of(word) for word in other]:
        return None
    words = [theirs for ours, theirs in zip(one, other, strict=True) if ours != theirs]
    return words if all(map(is_value, words)) else None


def write_values(config: DictConfig, words: Sequence[str]) -> None:
    """Apply overrides to a composed config, as Hydra does."""
    parsed = OverridesParser.create().parse_overrides(list(words))
    with open_dict(config):
        ConfigLoaderImpl._apply_overrides_to_config(parsed, config)


class Example:
    """One job's whole config, Hydra's own node included, from which others are made.

    Arguments:
        config: as Hydra composes it for a job.
        overrides: of the job.
    """

    def __init__(self, config: DictConfig, overrides: Sequence[str]) -> None:
        self.overrides = list(overrides)
        self._pickled = pickle.dumps(config)  # a copy of which is quicker than a deepcopy

    def like(self, overrides: Sequence[str]) -> DictConfig | None:
        """The config of another job; None if only Hydra can compose it."""
        words = differ_in_values(self.overrides, overrides)
        if words is None:
            return None
        config: DictConfig = pickle.loads(self._pickled)
        write_values(config, words)
        hydra = config.hydra
        hydra.overrides.task = list(overrides)
        names = hydra.job.config.override_dirname
        hydra.job.override_dirname = get_overrides_dirname(
            overrides=OverridesParser.create().parse_overrides(list(overrides)),
            kv_sep=names.kv_sep,
            item_sep=names.item_sep,
            exclude_keys=names.exclude_keys,
        )
        return config
