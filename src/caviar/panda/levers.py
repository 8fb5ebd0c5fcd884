"""What can be changed while a model trains: which keys, and why not the others.

Where the optimizer is the one that the config declares, these are keys below `optimizer` and
`scheduler`. A module that builds its own has `Groups`, which know whose values they are.

No torch: a terminal's answer takes no import of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from caviar.base.errors import UserError
from caviar.config.keys import is_task
from caviar.panda.groups import RATE, Groups, hyperparameter, hyperparameters, is_number

NODES = ("optimizer", "scheduler", "model", "data", "trainer", "space")
# Of a project of another shape everything may have levers but what is Hydra's, ours, or watches.
ASIDE = ("hydra", "caviar", "search", "trial", "panda", "paths", "callbacks", "logger")
CONFIG = "config.yaml"  # in the study's folder, written by `caviar.panda.run`
BATCH_SIZE = "data.batch_size"
DECLARED_RATE, TOP_RATE = "optimizer.lr", "scheduler.max_lr"
MAX_EPOCHS, MAX_STEPS = "trainer.max_epochs", "trainer.max_steps"
# By the config's node. Each reason says what to do instead.
WHY_NOT = {
    "model": "it shapes the weights, which are there already; begin another run with it",
    "data": "the data is read and split once; begin another run with it",
    "trainer": "the trainer is built with it; stop the run, and begin another",
    "seed": "the weights and the order of the data come from it; begin another run with it",
}


def plain_nodes(config: DictConfig, resolve: bool = True) -> dict[str, Any]:
    """The parts of a config that may have levers, as plain containers.

    Arguments:
        config: of the run.
        resolve: its interpolations.
    """
    parts: dict[str, Any] = {name: {} for name in NODES}
    theirs = is_task(config)
    for name in (str(n) for n in config if n in NODES or (theirs and n not in ASIDE)):
        try:
            part = config[name]
            plain = (
                OmegaConf.to_container(part, resolve=resolve) if OmegaConf.is_dict(part) else part
            )
        except OmegaConfBaseException:
            if not theirs:
                raise
            continue  # only their script can resolve it
        if isinstance(plain, dict) or (is_number(plain) and name not in NODES):
            parts[name] = plain
    return parts


def read_config(folder: Path) -> dict[str, Any]:
    """The run's config, as far as the verbs need it.

    Raises:
        UserError: it cannot be read.
    """
    try:
        config = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{folder / CONFIG} cannot be read: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{folder / CONFIG} is damaged; caviar panda start writes it again")
    return config


def settable(config: Mapping[str, Any], groups: Groups | None = None) -> list[str]:
    """The keys of a run that can be changed while it trains.

    Arguments:
        config: of the run, plain.
        groups: of a module that builds its own optimizers.
    """
    if groups is not None:
        keys = list(groups.keys)
    else:
        keys = [
            f"{node}.{name}"
            for node in ("optimizer", "scheduler")
            for name, value in (config.get(node) or {}).items()
            if is_number(value) and name != "frequency"  # which Lightning has read by then
        ]
    keys += _dropout(config)
    for key in (BATCH_SIZE, "trainer.gradient_clip_val", MAX_EPOCHS, MAX_STEPS):
        node, _, name = key.partition(".")
        if name in (config.get(node) or {}):  # null as well: gradients that are not clipped yet
            keys.append(key)
    return keys


def _dropout(config: Mapping[str, Any]) -> list[str]:
    """The key of the dropout of all layers, if there is one: the model's, or the only one in it."""
    if "dropout" in (config.get("model") or {}):
        return ["model.dropout"]
    below = [key for key, _ in hyperparameters({"model": config.get("model")})]
    named = [key for key in below if key.endswith(".dropout")]
    return named if len(named) == 1 else []


def value_in_force(config: Mapping[str, Any], values: Mapping[str, Any], key: str) -> Any:
    """A key's value: what a nudge has set, else the config's."""
    if key in values:
        return values[key]
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def rate_key(config: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """The key of the learning rate, where the config declares the optimizer."""
    # OneCycleLR and CyclicLR go up to a rate of their own, if it is not the optimizer's.
    lr, top = (value_in_force(config, values, key) for key in (DECLARED_RATE, TOP_RATE))
    return TOP_RATE if is_number(top) and top != lr else DECLARED_RATE


def refuse_fixed(
    key: str,
    config: Mapping[str, Any],
    values: Mapping[str, Any],
    groups: Groups | None,
    unbuilt: bool,
) -> None:
    """Refuse what cannot be changed while it trains; the arguments are those of `read_changes`.

    Raises:
        UserError: it says why, and what can be.
    """
    keys = settable(config, groups)
    if key in keys:
        return
    root, _, rest = key.partition(".")
    node: Any = config
    for part in key.split("."):
        node = node.get(part, ...) if isinstance(node, Mapping) else ...
    if node is ...:
        raise UserError(f"the run has no {key}; it can be nudged in {', '.join(keys)}")
    if unbuilt and root == "model" and is_number(node) and hyperparameter(key) is not None:
        return
    if groups is not None and is_number(node):
        old = value_in_force(config, values, key)
        same = [k for k in groups.keys if value_in_force(config, values, k) == old]
        if why := groups.why_not(key, old, same):
            raise UserError(f"{why}; it can be nudged in {', '.join([f'{RATE}=*0.5', *keys])}")
    reason = WHY_NOT.get(root, "the run was begun with it")
    if groups is not None and root == "scheduler":
        reason = "the schedule is the module's own"
    if isinstance(node, Mapping) or rest.endswith("_target_"):
        reason = "it is no number"
    raise UserError(f"{key} cannot be changed while it trains: {reason}")
