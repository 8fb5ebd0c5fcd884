"""Which keys of a config anything reads: a search over one that nobody does teaches nothing.

Whoever builds a node of the config reads all of it, so `model.width` is read, whatever the model
does with it. `optimizer` and `scheduler` are read only by models that leave their optimizer to the
config, and a key of the user's own only where something interpolates it. A schedule that cycles
sets the lr by itself, and mostly the momentum too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from caviar.base.errors import UserError
from caviar.config.keys import OURS
from caviar.space.lint import flatten

DECLARED = ("optimizer", "scheduler")  # nodes for models whose optimizer the config declares
# What is read in any case, by train.py or by Hydra.
ALWAYS = (
    "data", "model", "trainer", "callbacks", "logger", "metric", "caviar", "name", "seed", "fit",
    "test", "ckpt_path", "threads", "trust_checkpoints", "trial", "paths", "check", "hydra",
    "search", "space", "panda", "experiment", "debug",
)  # fmt: skip


def unread(config: DictConfig, keys: Iterable[str], reads_declared: bool) -> list[str]:
    """Those of `keys` that nothing reads.

    Arguments:
        config: composed.
        keys: such as `optimizer.lr`, without `one_minus.`; a group such as `optimizer` as well.
        reads_declared: whether the model takes its optimizer and schedule from the config.
    """
    plain: Any = OmegaConf.to_container(config, resolve=False)
    if (plain.get("caviar") or {}).get(
        "train"
    ) != OURS:  # whoever it is, it is handed the whole config
        return []
    roots = (*ALWAYS, *DECLARED) if reads_declared else ALWAYS
    cycled = _cycled(plain)
    return [
        key
        for key in keys
        if ((root := re.split(r"[.@]", key)[0]) not in roots or key in cycled)
        and not any(_names(token, key) for token in _interpolated(plain, skip=root))
    ]


def refuse_unread(config: DictConfig, keys: Iterable[str], reads_declared: bool) -> None:
    """Refuse keys that nothing reads.

    Raises:
        UserError: it names the first of them, and keys of the model that may be meant.
    """
    for key in unread(config, keys, reads_declared):
        if reads_declared and (instead := _cycled(config).get(key)) is not None:
            kind = str(config.scheduler._target_).rpartition(".")[2]
            raise UserError(f"{key}: nothing reads it, since {kind} sets it; write {instead}")
        target, name = config.model.get("_target_"), key.rpartition(".")[2]
        model: Any = OmegaConf.to_container(config.model, resolve=False)
        last = {path: path.rpartition(".")[2] for path in dict(flatten(model, "model."))}
        own = [path for path in last if last[path] == name]
        own = own or [path for path in last if name in last[path].split("_")]  # lr_generator
        if key.partition(".")[0] in DECLARED:
            why = f"{target} builds its optimizer itself"
        else:
            why = "no part of the run interpolates it"
        there = (
            f"write {' or '.join(own)} instead"
            if own
            else (f"give {target} an argument for it, such as model.{name}, and write that")
        )
        raise UserError(f"{key}: nothing reads it, since {why}; {there}")


def _cycled(config: Any) -> dict[str, str]:
    """Keys that torch's cyclic schedules overwrite, each with what to write so that it counts."""
    schedule = config.get("scheduler") or {}
    if str(schedule.get("_target_")).rpartition(".")[2] not in ("OneCycleLR", "CyclicLR"):
        return {}
    keys = {"optimizer.lr": "scheduler.max_lr=… instead"}
    if schedule.get("cycle_momentum", True):
        names = ("momentum", "beta1", "betas")
        keys |= {f"optimizer.{name}": "scheduler.cycle_momentum=false" for name in names}
    return keys


def _names(token: str, key: str) -> bool:
    """Whether an interpolation of `token` reads `key`: the key itself, or a node above it."""
    return token == key or key.startswith(f"{token}.") or token.startswith(f"{key}.")


def _interpolated(tree: Any, skip: str = "") -> Iterator[str]:
    """Every key that is named in an interpolation outside of the root `skip`."""
    if isinstance(tree, dict):
        for name, node in tree.items():
            if name not in (skip, "hydra"):
                yield from _interpolated(node)
    elif isinstance(tree, list):
        for node in tree:
            yield from _interpolated(node)
    elif isinstance(tree, str) and "${" in tree:
        yield from (token.strip(".") for token in re.findall(r"[\w.]+", tree))
