"""How a random sweep draws: the inverse of each distribution's cumulative law at a uniform number,
as in W&B's own sampler (github.com/wandb/sweeps, src/sweeps/params.py)."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any


def draw(parameters: Mapping[str, Mapping[str, Any]], rng: random.Random) -> dict[str, Any]:
    """One point, its names in alphabetical order as the service sends them."""
    return {name: _value(parameters[name], rng) for name in sorted(parameters)}


def _value(parameter: Mapping[str, Any], rng: random.Random) -> Any:
    if "value" in parameter:
        return parameter["value"]
    if "values" in parameter:
        return rng.choice(parameter["values"])
    low, high, u = parameter["min"], parameter["max"], rng.random()
    match parameter["distribution"]:
        case "uniform":
            return low + u * (high - low)
        case "int_uniform":
            return low + math.floor(u * (high - low + 1))
        case "log_uniform_values":
            return math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
        case "q_log_uniform_values":
            step = parameter.get("q", 1)
            straight = math.log(low) + u * (math.log(high) - math.log(low))
            return round(math.exp(straight) / step) * step
        case unknown:
            raise ValueError(f"the stand-in does not draw from {unknown}")
