"""The optimizer and the schedule that the config declares, as plain torch objects; and the one
schedule of the lecture that torch does not have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from caviar.config.compose import build

# Keys that only feed an interpolation: `betas: [${optimizer.beta1}, ${optimizer.beta2}]`. An axis
# of a space is one number, and torch's Adam takes a pair.
FEEDERS = ("beta1", "beta2")


def build_optimizer(config: DictConfig, parameters: Iterable[Parameter]) -> Optimizer:
    """`conf/optimizer/*.yaml` over `parameters`."""
    return build("optimizer", optimizer_arguments(config), params=list(parameters), _convert_="all")


def optimizer_arguments(config: DictConfig) -> dict[str, Any]:
    """The optimizer's own arguments: the config without what only feeds an interpolation."""
    arguments: Any = OmegaConf.to_container(config, resolve=True)
    return {k: v for k, v in arguments.items() if k not in FEEDERS or "betas" not in arguments}


def build_scheduler(config: DictConfig | None, optimizer: Optimizer) -> Any:
    """`conf/scheduler/*.yaml` on `optimizer`, or None where it has no `_target_`."""
    if config is None or config.get("_target_") is None:
        return None
    return build("scheduler", config, optimizer=optimizer)


def inverse_time(optimizer: Optimizer, rate: float) -> LambdaLR:
    """lr / (1 + rate · epoch), the learning-rate decay of the lecture.

    Arguments:
        optimizer: whose lr it scales.
        rate: per epoch; 0 keeps the lr constant, 1 halves it in the first epoch.
    """
    return LambdaLR(optimizer, lambda epoch: 1.0 / (1.0 + rate * epoch))
