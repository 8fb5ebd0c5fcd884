"""What members log, by `self.log` as they are used to: means over an epoch, last values, metrics.

Lightning's own collection takes one number at a time. This one has a value of each member in every
entry, and the same meaning of `on_step`, `on_epoch`, `reduce_fx` and `batch_size`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning.trainer.connectors.logger_connector.fx_validator import _FxValidator
from pytorch_lightning.utilities.data import extract_batch_size
from torch import Tensor, nn
from torchmetrics import Metric

from caviar.stacked.errors import NotStackable

REDUCED: dict[Any, str] = {"mean": "mean", "sum": "sum", "min": "min", "max": "max", "avg": "mean"}
REDUCED |= {torch.mean: "mean", torch.sum: "sum", torch.min: "min", torch.max: "max"}


@dataclass
class Call:
    """One call of `self.log`."""

    name: str
    value: Any
    on_step: bool
    on_epoch: bool
    reduced: str
    batch_size: int | None
    logger: bool
    metric: str | None = None
    """The path of a torchmetrics object in the module, if that is what was logged."""


class Log:
    """Stands in the place of a module's `log` while one of its hooks runs.

    Arguments:
        module: whose it is.
        hook: by which Lightning decides whether a value is one of a step or of an epoch.
        batch: of the step; None in a hook between steps.
    """

    def __init__(self, module: nn.Module, hook: str, batch: Any = None) -> None:
        self.module, self.hook, self.batch = module, hook, batch
        self.calls: list[Call] = []

    def __call__(
        self,
        name: str,
        value: Any,
        prog_bar: bool = False,
        logger: bool | None = None,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: Any = "mean",
        enable_graph: bool = False,
        sync_dist: bool = False,
        sync_dist_group: Any = None,
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        metric_attribute: str | None = None,
        rank_zero_only: bool = False,
    ) -> None:
        _FxValidator.check_logging(self.hook)
        on_step, on_epoch = _FxValidator.get_default_logging_levels(self.hook, on_step, on_epoch)
        reduced = REDUCED.get(reduce_fx)
        if reduced is None:
            raise NotStackable(f"log({name!r}, reduce_fx={reduce_fx!r}) is not stacked")
        path = None
        if isinstance(value, Metric):
            path = next((n for n, part in self.module.named_modules() if part is value), None)
            if path is None:
                raise NotStackable(f"the metric logged as {name} is no part of the module")
        elif not isinstance(value, Tensor):
            value = torch.tensor(float(value))
        if batch_size is None and on_epoch and reduced == "mean" and self.batch is not None:
            batch_size = extract_batch_size(self.batch)
        told = logger is None or logger
        call = Call(name, value, on_step, on_epoch, reduced, batch_size, told, path)
        if path is None:
            call.value = value.detach().reshape(())
        self.calls.append(call)


class Entry:
    """Values of one name, with an axis of members.

    Arguments:
        call: the first that logged it.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        self.total: Tensor | None = None
        self.weight = 0
        self.last: Tensor | None = None

    def add(self, call: Call, value: Tensor | None) -> None:
        """Take in a value of every member; None for a metric, which keeps its own."""
        if value is None:
            return
        value = value if value.is_floating_point() else value.float()
        self.last = value
        if not call.on_epoch:
            return
        if call.reduced == "mean":
            size = call.batch_size or 1
            value, self.weight = value * size, self.weight + size
        if self.total is None:
            self.total = value.clone()
        elif call.reduced == "min":
            self.total = torch.minimum(self.total, value)
        elif call.reduced == "max":
            self.total = torch.maximum(self.total, value)
        else:
            self.total = self.total + value

    def keep(self, alive: Tensor) -> None:
        """Forget all members but these."""
        for name in ("total", "last"):
            if getattr(self, name) is not None:
                setattr(self, name, getattr(self, name)[alive])

    @property
    def of_epoch(self) -> Tensor | None:
        """The value of the epoch, by member."""
        if self.total is None:
            return None
        return self.total / self.weight if self.call.reduced == "mean" else self.total


class Collected:
    """Everything that was logged in a stage: of a training epoch, or of a validation."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def add(self, calls: Sequence[Call], values: Sequence[Tensor | None]) -> None:
        """What one step, or one hook, has logged.

        Arguments:
            calls: of one member, which all have made.
            values: of all of them, shape (members,) each; None for a metric.
        """
        for call, value in zip(calls, values, strict=True):
            entry = self.entries.setdefault(call.name, Entry(call))
            entry.add(call, value)

    def of_steps(self) -> dict[str, Tensor]:
        """Last values of what is logged by the step, by name."""
        return {
            f"{name}_step" if e.call.on_epoch else name: e.last
            for name, e in self.entries.items()
            if e.call.on_step and e.call.metric is None and e.last is not None
        }

    def of_epoch(self) -> dict[str, Tensor]:
        """Values of the epoch, by name; without those of metrics."""
        return {n: v for n, e in self.entries.items() if (v := e.of_epoch) is not None}

    def metrics(self) -> dict[str, Call]:
        """What was logged as an object of torchmetrics, by name."""
        return {n: e.call for n, e in self.entries.items() if e.call.metric is not None}

    def keep(self, alive: Tensor) -> None:
        """Forget all members but these."""
        for entry in self.entries.values():
            entry.keep(alive)
