"""The optimizers and schedules of a training that runs: what they have, and how it is changed.

A learning rate is known by where its schedule begins, `initial_lr`, or by the top of a cycle,
`max_lr`. What the schedule has made of it so far is kept when it is changed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from caviar.base.errors import UserError
from caviar.panda.groups import RATE, Place, Values, is_number
from caviar.training.modules import Module
from caviar.training.resume import epoch_is_over
from caviar.training.schedule import build_schedule, needs_end, training_length

Group = dict[str, Any]  # torch's
BETAS = {"beta1": 0, "beta2": 1}  # config keys for what torch has as one pair
RATES = ("lr", "initial_lr", "max_lr", "min_lr")  # of a group, the last two by OneCycleLR


def is_declared(module: pl.LightningModule) -> bool:
    """Whether the optimizer and the schedule are those that the config declares, untouched."""
    builder = type(module).configure_optimizers
    return isinstance(module, Module) and builder is Module.configure_optimizers


def groups_of(trainer: pl.Trainer) -> dict[Place, Group]:
    """The parameter groups of all optimizers."""
    optimizers = enumerate(trainer.optimizers)
    return {(o, g): group for o, opt in optimizers for g, group in enumerate(opt.param_groups)}


def keep_initial(trainer: pl.Trainer) -> None:
    """Let every group know its first learning rate, though no schedule does it.

    `ReduceLROnPlateau` lowers the rate itself, and then nobody knew what it was.
    """
    for group in groups_of(trainer).values():
        if "lr" in group:
            group.setdefault("initial_lr", _copied(group["lr"]))


def values_of(group: Group) -> Values:
    """A group's hyperparameters, each as a nudge sets it."""
    values = {RATE: rate_of(group)} if "lr" in group else {}
    for name, value in group.items():
        if is_number(value) and name not in RATES:
            values[name] = float(value)
    if "betas" in group:
        values |= {name: float(group["betas"][i]) for name, i in BETAS.items()}
    if "base_momentum" in group:  # the schedule sets them anew with every step
        values = {k: v for k, v in values.items() if k not in ("momentum", "beta1")}
    return values


def rate_of(group: Group) -> float:
    """The learning rate that a group's schedule is of."""
    name = next(name for name in ("max_lr", "initial_lr", "lr") if name in group)
    return float(group[name])


def current_lrs(trainer: pl.Trainer) -> dict[Place, float]:
    """The learning rates of the next step, the schedules' factors included."""
    return {at: float(group["lr"]) for at, group in groups_of(trainer).items() if "lr" in group}


def lr_now(trainer: pl.Trainer) -> float | list[float]:
    """The learning rate of the next step; all that there are, if they differ."""
    rates = list(dict.fromkeys(current_lrs(trainer).values()))
    return rates[0] if len(rates) == 1 else rates


def set_value(trainer: pl.Trainer, group: Group, name: str, value: float) -> None:
    """Change one hyperparameter of one group, and what its schedules have of it.

    Raises:
        UserError: the group has no such hyperparameter.
    """
    if name in BETAS and "betas" in group:
        betas = list(group["betas"])
        betas[BETAS[name]] = value
        group["betas"] = tuple(betas)
    elif name == RATE and "lr" in group:
        _set_rate(trainer, group, value)
    elif name in group:
        group[name] = value
    else:
        raise UserError(f"optimizer.{name}: this optimizer has no {name}")


def _set_rate(trainer: pl.Trainer, group: Group, value: float) -> None:
    old = rate_of(group)

    def scaled(rate: Any) -> Any:
        new = value * (float(rate) / old) if old else value
        return rate.fill_(new) if isinstance(rate, torch.Tensor) else new

    for name in RATES:
        if name in group:
            group[name] = scaled(group[name])
    # A schedule computes the next lr from these, and would undo the change with its next step.
    for scheduler in schedulers(trainer):
        groups = scheduler.optimizer.param_groups
        for i in (i for i, other in enumerate(groups) if other is group):
            if hasattr(scheduler, "base_lrs"):
                scheduler.base_lrs[i] = _copied(group["initial_lr"])
            if hasattr(scheduler, "max_lrs"):  # of CyclicLR
                scheduler.max_lrs[i] = scaled(scheduler.max_lrs[i])
            if hasattr(scheduler, "_last_lr"):
                scheduler._last_lr[i] = _copied(group["lr"])


def schedulers(trainer: pl.Trainer) -> Iterator[Any]:
    """All schedulers, also those that another one is made of."""
    found: list[Any] = [schedule.scheduler for schedule in trainer.lr_scheduler_configs]
    while found:
        scheduler = found.pop()
        yield scheduler
        found += getattr(scheduler, "_schedulers", [])  # of SequentialLR and ChainedScheduler


def remembered(trainer: pl.Trainer) -> Callable[[], None]:
    """A function that puts everything back as it is now, to the last bit."""
    groups = [(group, _plain(group)) for group in groups_of(trainer).values()]
    schedules = [(config, config.scheduler) for config in trainer.lr_scheduler_configs]
    inner = [(s, _plain(vars(s))) for s in schedulers(trainer)]

    def put_back() -> None:
        for group, values in groups:
            group.update(_plain(values))
        for config, scheduler in schedules:
            config.scheduler = scheduler
        for scheduler, values in inner:
            vars(scheduler).update(values)

    return put_back


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """A copy of what may be changed: numbers, and lists of them."""
    kinds = (int, float, list, tuple, torch.Tensor)
    return {
        k: list(v) if isinstance(v, list) else _copied(v)
        for k, v in values.items()
        if k not in ("params", "_schedulers") and isinstance(v, kinds)
    }


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def rebuild_schedule(trainer: pl.Trainer, config: DictConfig) -> None:
    """The config's schedule with its new parameters, as far along as the old one; if it has one.

    Many schedules compute each lr from the one before, so the new one is walked from the start.
    """
    if not has_declared_schedule(trainer):
        return
    for schedule in trainer.lr_scheduler_configs:
        old: Any = schedule.scheduler
        if schedule.reduce_on_plateau:  # it has no past to walk, only what it has seen
            for name, value in config.items():
                if hasattr(old, str(name)):
                    setattr(old, str(name), value)
            continue
        steps = _steps_due(trainer, config, schedule)
        for group in old.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        built = build_schedule(config, old.optimizer, trainer, str(schedule.monitor))
        assert built is not None  # there is an old one
        new = built["scheduler"]
        with warnings.catch_warnings():
            # torch takes this for a training loop in the wrong order.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            for _ in range(steps):
                new.step()
        schedule.scheduler = new


def has_declared_schedule(trainer: pl.Trainer) -> bool:
    """Whether the schedule is the config's."""
    return bool(getattr(trainer.lightning_module, "has_declared_schedule", False))


def is_displaced(trainer: pl.Trainer, config: DictConfig) -> bool:
    """Whether the schedule is elsewhere than epochs of the present number of steps bring it."""
    return has_declared_schedule(trainer) and any(
        _steps_due(trainer, config, schedule) != _steps_of(schedule.scheduler)
        for schedule in trainer.lr_scheduler_configs
    )


def _steps_due(trainer: pl.Trainer, config: DictConfig, schedule: Any) -> int:
    """How far along a schedule is; in an epoch that was cut into batches anew, of the new ones."""
    plain: Any = OmegaConf.to_container(config, resolve=True)
    counted = schedule.interval == "step" and trainer.max_steps == -1 and needs_end(plain)
    if not counted or not epoch_is_over(trainer):
        return _steps_of(schedule.scheduler)
    length = training_length(trainer, schedule.interval, schedule.frequency)
    assert length is not None  # or it could not have been built
    return length * trainer.current_epoch // (trainer.max_epochs or 1)


def _steps_of(scheduler: Any) -> int:
    """How often a schedule was stepped; a ChainedScheduler leaves the counting to its parts."""
    while not hasattr(scheduler, "last_epoch"):
        scheduler = scheduler._schedulers[0]
    return int(scheduler.last_epoch)
