"""Values of a composed config that would fail late, or train for hours what cannot learn.

check_root(config)         # of the template's config: metric, seed, threads, references, …
check_training(config)     # of anybody's: lengths of the trainer, optimizers of torch
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from caviar.base.errors import UserError, check_rules
from caviar.config.keys import MODES

LENGTHS = ("max_epochs", "min_epochs", "max_steps", "min_steps")  # of Lightning's Trainer
RATES = ("lr", "weight_decay", "eps")
BETAS = ("momentum", "beta1", "beta2")


def check_root(config: DictConfig) -> None:
    """Refuse root values that would fail late, or far from where they were written.

    Raises:
        UserError: names the key and the rule.
    """
    for node in ("data", "model"):
        _check_references(node, config.get(node))
    metric, seed, threads = config.metric, config.seed, config.threads
    check_rules(
        "",
        [
            ("metric.mode", metric.mode, metric.mode in MODES, f"one of {', '.join(MODES)}"),
            ("metric.name", metric.name, bool(metric.name), "the name of a logged value"),
            ("seed", seed, seed is None or _whole(seed, 0), "a whole number from 0 on, or null"),
            ("threads", threads, _whole(threads, 1), "a whole number from 1 on"),
            ("fit", config.fit, isinstance(config.fit, bool), "true or false"),
            ("test", config.test, isinstance(config.test, bool), "true or false"),
        ],
    )
    check_training(config)


def check_training(config: DictConfig) -> None:
    """Refuse lengths and optimizers that nothing can be trained with.

    Raises:
        UserError: names the key and the rule.
    """
    trainer = config.get("trainer")
    lengths = [(f"trainer.{n}", v) for n, v in _values(trainer, LENGTHS)]
    check_rules(
        "",
        [(key, v, v is None or _whole(v, -1), "a whole number, or null") for key, v in lengths],
    )
    for place, node in _optimizers(config):
        for name, value in _values(node, (*RATES, *BETAS, "betas")):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if name in RATES:
                rule = (name, value, number and value >= 0, "a number, 0 or more")
            elif name in BETAS:
                rule = (name, value, number and 0 <= value < 1, "a number inside [0, 1)")
            else:
                inside = isinstance(value, Sequence) and all(
                    isinstance(beta, int | float) and 0 <= beta < 1 for beta in value
                )
                rule = (name, value, inside, "two numbers inside [0, 1)")
            check_rules(f"{place}.", [rule])


def _optimizers(config: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every node that is an optimizer of torch, with its key."""
    for name in config:
        if place == "" and name in ("hydra", "space", "search", "panda"):
            continue
        node, key = config._get_node(name), f"{place}{name}"
        if not OmegaConf.is_dict(node) or node._is_none() or node._is_interpolation():
            continue
        target = str(node._get_node("_target_")) if "_target_" in node else ""
        if target.startswith("torch.optim.") and "lr_scheduler" not in target:
            yield key, node
        yield from _optimizers(node, f"{key}.")


def _values(node: Any, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """What a node has of these keys, as far as it can be resolved here."""
    for name in node if OmegaConf.is_dict(node) else ():
        if name not in names:
            continue
        try:
            yield str(name), node[name]
        except OmegaConfBaseException:  # what can be had only inside of a run, or is refused there
            continue


def _check_references(node: str, config: Any) -> None:
    """Refuse a key that follows one which the config does not have: `${data.num_features}`, say."""
    for key in config or ():
        try:
            config[key]
        except InterpolationKeyError as error:
            followed = re.search(r"'(.+?)'", str(error))
            name = followed[1] if followed else str(error)
            raise UserError(
                f"{node}.{key} follows {name}, which the config does not have; write "
                f"{node}.{key}=…, or add {name} to it"
            ) from None
        except OmegaConfBaseException:  # what can be had only inside of a run, or is refused there
            continue


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
