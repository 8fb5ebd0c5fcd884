"""What Caviar reads of a project's config: its own node, and the keys that this one names.

    keys = Keys.of(config)
    keys.kind                  # TASK: the project's own @hydra.main trains
    metric_of(config).name     # val/acc_best

Everything else of a config is the project's. What the template's own training reads beside, its
`model`, `data` and `trainer`, is `caviar.training`'s affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from caviar.base import project
from caviar.base.errors import UserError

MODES = ("min", "max")
OURS = "caviar.training.train"  # the seam as the template fills it
LIGHTNING, FUNCTION, TASK = "lightning", "function", "task"
"""Who trains: the template's config, a function that `caviar.train` names, or the project's own
`@hydra.main`."""
USUAL = {"seed": "seed", "test": "test", "resume": "ckpt_path"}
"""What the keys are called in most projects."""
OWN_SEED = "trial.seed"  # for a project whose config has no seed


class Metric(NamedTuple):
    """What settings are compared by."""

    name: str
    mode: str


@dataclass(frozen=True)
class Keys:
    """Who trains, and by which keys of the config."""

    kind: str
    seed: str
    test: str | None
    resume: str | None

    @classmethod
    def of(cls, config: DictConfig) -> Keys:
        """Those of a composed config.

        Raises:
            UserError: it has no `caviar` node, or names a key that the config does not have.
        """
        node = _node(config)
        target = node.get("train")
        kind = TASK if target is None else LIGHTNING if target == OURS else FUNCTION
        said = node.get("keys") or {}
        named = {key: said.get(key, usual) for key, usual in USUAL.items()}
        if kind == FUNCTION and "test" not in said:  # nobody knows whether it has a test set
            named["test"] = None
        for key, usual in USUAL.items():
            name = named[key]
            if name is not None and not has(config, name):
                if name != usual:
                    raise UserError(
                        f"caviar.keys.{key}={name}: the config has no such key; name one that it "
                        "has, or write null"
                    )
                named[key] = None
        return cls(kind, named["seed"] or OWN_SEED, named["test"], named["resume"])

    def names(self) -> list[str]:
        """Keys that a search sets by itself, so that their values shape no setting."""
        return [name for name in (self.seed, self.test, self.resume) if name is not None]


TEMPLATE = Keys(LIGHTNING, **USUAL)


def has(config: DictConfig, key: str) -> bool:
    """Whether a config has a key, whatever its value."""
    node: Any = config
    for part in key.split("."):
        if not OmegaConf.is_dict(node) or part not in node:
            return False
        node = node._get_node(part)
    return True


def metric_of(config: DictConfig) -> Metric:
    """The metric that a search compares by, with its `name` and its `mode`.

    Raises:
        UserError: it is not declared, or its mode is unknown.
    """
    metric = _node(config).get("metric") or {}
    name, mode = metric.get("name"), metric.get("mode", "min")
    if not name:
        raise UserError(
            "caviar.metric is not declared; write into the root config what the task returns, or "
            "its Trainer logs: caviar: {metric: {name: val/loss, mode: min}}"
        )
    if mode not in MODES:
        raise UserError(f"caviar.metric.mode={mode} should be one of {', '.join(MODES)}")
    return Metric(str(name), str(mode))


def runs_of(config: DictConfig) -> Path:
    """Where the studies of a project are."""
    return Path(_node(config).get("runs") or project.runs())


def _node(config: DictConfig) -> Any:
    node = config.get("caviar")
    if node is None and "search" not in config:
        raise UserError(
            "the config has no caviar node: write `- caviar: default` into the defaults of the "
            "root config, behind `- hydra: …`, if there is one"
        )
    return node or {}


def epochs_of(config: DictConfig) -> int | None:
    """How many epochs a training has, where the config says so."""
    epochs = OmegaConf.select(config, "trainer.max_epochs", default=None)
    return epochs if isinstance(epochs, int) and epochs > 0 else None


def trusts(config: DictConfig) -> bool:
    """Whether checkpoints may be loaded whatever they hold."""
    key = "trust_checkpoints"
    return bool(config.get(key) or _node(config).get(key))


def is_task(config: DictConfig) -> bool:
    """Whether it is the project's own `@hydra.main` that trains."""
    node = config.get("caviar")
    return node is not None and node.get("train") is None


def is_function(config: DictConfig) -> bool:
    """Whether a function trains in the place of a Lightning module of the config."""
    return Keys.of(config).kind == FUNCTION
