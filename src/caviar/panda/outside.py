"""A panda of somebody else's project: what its own script is given, and what has to be refused.

    caviar panda start panda.day="2 epochs"   # python -m caviar.run src/train.py …

No torch, and nothing of the script is run.
"""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from caviar.base.environment import devices_of
from caviar.base.errors import UserError
from caviar.config.keys import FUNCTION, Keys, metric_of
from caviar.config.overrides import override_key


def adding(overrides: Sequence[str]) -> list[str]:
    """Overrides of `panda` as a config takes them that has not, or not all, of this node."""
    return [f"++{o}" if o.startswith("panda.") else o for o in overrides]


def own_overrides(config: DictConfig, typed: Sequence[str]) -> list[str]:
    """What a start needs beside what was typed.

    Arguments:
        config: composed of it.
        typed: now, and when the run was begun.

    Raises:
        UserError: its config cannot be looked after: a function trains, nothing leads to a
            checkpoint, there are several devices, or the test set is to be opened.
    """
    metric_of(config)
    keys = Keys.of(config)
    if keys.kind == FUNCTION:
        raise UserError("caviar.train: a panda looks after a Lightning Trainer alone")
    if keys.resume is None:
        raise UserError(
            "the config has no key for a checkpoint to go on from, and a panda stops, goes back "
            "and goes on: let your script call Trainer.fit(…, ckpt_path=cfg.ckpt_path), and write "
            "ckpt_path: null into the root config; one of another name is caviar.keys.resume"
        )
    if devices_of(config, available=1) > 1:
        raise UserError(
            f"trainer.devices={config.trainer.devices}: outside of Caviar's own template a panda "
            "looks after one device; write trainer.devices=1"
        )
    if any(override_key(o) == keys.test for o in typed):
        raise UserError(
            f"{keys.test}: the test set stays shut while a panda looks; leave it out, and test the "
            "checkpoint that you decide for"
        )
    shut = [] if keys.test is None else [f"{keys.test}=false"]
    return ["hydra.mode=RUN", *shut]
