"""What a module has gathered so far: values that it logged in this epoch, its torchmetrics, and the
latest value of everything that was ever logged.

Lightning keeps none of it in a checkpoint. A run that goes on inside of an epoch would log the mean
of the rest of it; an object that follows the best value, such as `torchmetrics.MaxMetric`, would
begin anew also at an epoch's start; and until the next validation its metrics would be missed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection


def gathered(trainer: pl.Trainer, module: nn.Module, inside: bool) -> dict[str, Any]:
    """All of it as plain containers and tensors, for a checkpoint.

    Arguments:
        trainer: that trains the module.
        module: with metrics among its submodules.
        inside: of an epoch; else what was logged in it has been told, and is reset next.
    """
    loop = trainer.fit_loop.epoch_loop
    of_epoch = loop._results if inside else {}
    logged = {
        key: item.metric_state
        for key, item in of_epoch.items()
        if item.is_tensor and item.meta.on_epoch and not item.has_reset
    }
    # Lightning resets metrics that were logged as objects, at the end of what they were logged in.
    ends = [*loop.val_loop._results.values(), *(() if inside else loop._results.values())]
    reset_next = {id(item.value) for item in ends if not item.is_tensor}
    metrics = {
        name: {"updates": metric._update_count, "states": metric.metric_state}
        for name, metric in _metrics(module)
        if metric._update_count and id(metric) not in reset_next
    }
    known = {name: value.detach().cpu() for name, value in trainer.callback_metrics.items()}
    return {"logged": logged, "metrics": metrics, "known": known}


def put_back_metrics(module: nn.Module, saved: Mapping[str, Any]) -> None:
    """Give the module's torchmetrics the states that `gathered` found; of those that it still has.

    To be called behind the module's `on_train_start`, where many reset theirs.
    """
    metrics = dict(_metrics(module))
    for name in saved.keys() & metrics.keys():
        metric = metrics[name]
        metric._update_count, metric._computed = saved[name]["updates"], None
        for key, state in saved[name]["states"].items():
            setattr(metric, key, _moved(state, metric.device))


def put_back_logged(trainer: pl.Trainer, saved: dict[str, Any]) -> None:
    """Add what was logged before the checkpoint to what has been logged once since; forget it then.

    To be called behind every step, until nothing is left: Lightning knows of a value when it is
    logged for the first time.
    """
    results = trainer.fit_loop.epoch_loop._results
    for key in [*saved.keys() & results.keys()]:
        item, before = results[key], saved.pop(key)
        for name, value in before.items():
            value, since = value.to(item.value.device), getattr(item, name)
            reduced = item.meta.is_max_reduction or item.meta.is_min_reduction
            setattr(item, name, item.meta.reduce_fx(value, since) if reduced else value + since)


def lengths(module: nn.Module) -> dict[str, int]:
    """How long the lists and the like are that a module keeps as attributes."""
    kinds = (list, dict, set, deque)
    return {name: len(value) for name, value in vars(module).items() if isinstance(value, kinds)}


def _metrics(module: nn.Module) -> Iterator[tuple[str, Metric]]:
    """The torchmetrics of a module, by name."""
    for part in module.modules():
        if isinstance(part, MetricCollection):
            part.values()  # brings those up to date that share a state with another one
    return ((name, part) for name, part in module.named_modules() if isinstance(part, Metric))


def _moved(state: Any, device: Any) -> Any:
    if isinstance(state, Tensor):
        return state.to(device)
    return [part.to(device) for part in state]
