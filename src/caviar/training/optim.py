"""The optimizer that the config declares, as a plain torch object; and the one schedule of the
lecture that torch does not have."""

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


def inverse_time(optimizer: Optimizer, rate: float) -> LambdaLR:
    """lr / (1 + rate · epoch), the learning-rate decay of the lecture.

    Arguments:
        optimizer: whose lr it scales.
        rate: per epoch; 0 keeps the lr constant, 1 halves it in the first epoch.
    """
    return LambdaLR(optimizer, lambda epoch: 1.0 / (1.0 + rate * epoch))
