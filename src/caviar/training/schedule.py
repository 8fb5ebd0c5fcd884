"""The schedule that the config declares: a torch scheduler, and how Lightning is to step it.

    python train.py scheduler=cosine scheduler.interval=step
    python train.py scheduler=warmup_cosine scheduler.schedulers.warmup.total_iters=0.1
    python train.py scheduler=plateau scheduler.monitor=val/acc scheduler.mode=max

A node of `conf/scheduler/` holds the arguments of the torch scheduler, and beside them Lightning's
own keys (`OF_LIGHTNING`). A length (`LENGTHS`) may be left to the training: it is a number of the
schedule's steps, or `auto` for as many as the training has, or below 1 for a share of these.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from torch.optim import Optimizer

from caviar.base.errors import UserError, check_rules
from caviar.config.compose import build
from caviar.training.checkpoints import not_applied

Arguments = dict[str, Any]

OF_LIGHTNING = ("interval", "frequency", "monitor", "strict", "name", "reduce_on_plateau")
# Arguments that count steps of the schedule: torch's, and those of the transformers library.
LENGTHS = (
    "total_steps",
    "T_max",
    "total_iters",
    "milestones",
    "num_training_steps",
    "num_warmup_steps",
)
BY_STEP = ("OneCycleLR", "CyclicLR")  # which torch's documentation says to step after every batch


def build_schedule(
    config: DictConfig | None, optimizer: Optimizer, trainer: pl.Trainer, metric: str
) -> dict[str, Any] | None:
    """`conf/scheduler/*.yaml` on `optimizer`, as `configure_optimizers` returns it.

    Arguments:
        config: the node; None, or one without a `_target_`, is a constant lr.
        optimizer: whose lr it sets.
        trainer: that knows how long the training is.
        metric: what a ReduceLROnPlateau follows, unless `monitor` says otherwise.

    Raises:
        UserError: it cannot be, or ends with a training that has no end.
    """
    if config is None or config.get("_target_") is None:
        return None
    arguments, keys = laid_out(config, trainer)
    return {"monitor": metric, **keys, "scheduler": _built("scheduler", arguments, optimizer)}


def laid_out(config: DictConfig, trainer: pl.Trainer) -> tuple[Arguments, dict[str, Any]]:
    """The scheduler's own arguments, with every length in its steps; and Lightning's keys.

    Raises:
        UserError: a key of Lightning's is none, or the training has no end.
    """
    arguments: Any = OmegaConf.to_container(config, resolve=True)
    keys = {k: arguments.pop(k) for k in OF_LIGHTNING if k in arguments}
    keys = {k: v for k, v in keys.items() if v is not None}
    frequency, interval, ends = keys.get("frequency", 1), keys.get("interval"), needs_end(arguments)
    if interval is None:
        target = str(arguments["_target_"]).rpartition(".")[2]
        by_step = target in BY_STEP or (ends and trainer.max_epochs == -1)
        interval = keys["interval"] = "step" if by_step else "epoch"
    whole = isinstance(frequency, int) and frequency >= 1
    rules = [
        ("interval", interval, interval in ("step", "epoch"), "step or epoch"),
        ("frequency", frequency, whole, "a whole number from 1 on"),
    ]
    check_rules("scheduler.", rules)
    if ends:
        total = training_length(trainer, interval, frequency)
        if total is None:
            raise UserError(_endless(interval))
        arguments = _counted(arguments, total, total)
    return arguments, keys


def training_length(trainer: pl.Trainer, interval: str, frequency: int) -> int | None:
    """How often a training steps a schedule; None where nothing says when it ends.

    Steps are those of the optimizer, so that accumulated gradients, several devices, the batch size
    and all limits of the trainer count.

    Arguments:
        trainer: which makes its loader now, if it has none and the length depends on it.
        interval: `step` or `epoch`.
        frequency: the schedule is stepped at every so many batches, or epochs.
    """
    epochs, accumulated = trainer.max_epochs, trainer.accumulate_grad_batches
    assert epochs is not None  # the trainer sets it before it asks for the optimizers
    if interval == "epoch" and epochs == -1:
        return None
    if interval == "epoch" and trainer.max_steps == -1:
        return max(1, epochs // frequency)
    steps = trainer.estimated_stepping_batches
    if steps in (-1, math.inf):
        return None
    batches = trainer.num_training_batches
    if math.isinf(batches):  # never asked for, or data without a length: one epoch that has no end
        rare = frequency // math.gcd(frequency, accumulated)
        return max(1, epochs // frequency if interval == "epoch" else int(steps) // rare)
    # Lightning counts a frequency in batches of an epoch, of those that the optimizer steps behind.
    stepping = [b for b in range(1, int(batches) + 1) if b % accumulated == 0 or b == batches]
    whole, rest = divmod(int(steps), max(1, len(stepping)))
    if interval == "epoch":
        return max(1, (whole + (rest > 0)) // frequency)
    due = [b % frequency == 0 for b in stepping]
    return max(1, whole * sum(due) + sum(due[:rest]))


def refuse_endless(config: DictConfig, limits: DictConfig) -> None:
    """Refuse a schedule that ends with a training which has no end, without that training.

    Arguments:
        config: the config's `scheduler`.
        limits: its `trainer`.

    Raises:
        UserError: it says what to write instead.
    """
    epochs, steps = limits.get("max_epochs"), limits.get("max_steps", -1)
    if epochs == -1 or (epochs is None and steps != -1):  # else the loader's length says it
        whole = math.inf if steps == -1 else steps
        endless: Any = SimpleNamespace(
            max_epochs=-1,
            max_steps=steps,
            accumulate_grad_batches=1,
            estimated_stepping_batches=whole,
            num_training_batches=math.inf,
        )
        laid_out(config, endless)


def needs_end(arguments: Mapping[str, Any]) -> bool:
    """Whether a length of the schedule, or of one in it, is left to the training."""
    own = any(_is_open(arguments[key]) for key in _lengths(arguments))
    return own or any(needs_end(part) for _, part in _parts(arguments))


def check_schedule(config: DictConfig | None, trainer: pl.Trainer) -> list[str]:
    """Look at the schedule when training starts, after a checkpoint's state was put in force.

    Returns:
        A line for each value that the checkpoint has otherwise than the config.

    Raises:
        UserError: a OneCycleLR that ends before the training, which torch would only say then.
    """
    if config is None or not trainer.lr_scheduler_configs:
        return []
    (schedule,) = trainer.lr_scheduler_configs
    scheduler: Any = schedule.scheduler
    if (total := getattr(scheduler, "total_steps", None)) is not None:
        length = training_length(trainer, schedule.interval, schedule.frequency)
        if length is None or length > total:
            steps = "has no end" if length is None else f"has {length}"
            raise UserError(
                f"the schedule ends after {total} steps, and the training {steps}; write scheduler."
                "total_steps=auto, and begin anew where a checkpoint brought its own length"
            )
    if trainer.ckpt_path is None:
        return []
    return list(_kept("scheduler", scheduler, laid_out(config, trainer)[0]))


def _kept(node: str, scheduler: Any, asked: Arguments) -> Iterator[str]:
    """What the schedule and those in it have otherwise than was asked for."""
    group = scheduler.optimizer.param_groups[0]  # where OneCycleLR has its max_lr
    kept = {key: getattr(scheduler, key, group.get(key)) for key in asked if key != "schedulers"}
    if isinstance(kept.get("milestones"), Counter):  # of MultiStepLR
        kept["milestones"] = sorted(kept["milestones"].elements())
    yield from not_applied(node, kept, asked)
    for (name, part), one in zip(
        _parts(asked), getattr(scheduler, "_schedulers", []), strict=False
    ):
        yield from _kept(f"{node}.schedulers.{name}", one, part)


def _built(node: str, arguments: Arguments, optimizer: Optimizer) -> Any:
    """The torch scheduler; those that it consists of are built on the same optimizer first."""
    parts = [_built(f"{node}.schedulers.{n}", part, optimizer) for n, part in _parts(arguments)]
    within = {"schedulers": parts} if parts else {}
    alone = {k: v for k, v in arguments.items() if k not in within}
    return build(node, alone, optimizer=optimizer, **within, _convert_="all")


def _parts(arguments: Mapping[str, Any]) -> list[tuple[Any, Arguments]]:
    """Of a SequentialLR or ChainedScheduler: its schedules in order, by name or else by number."""
    parts = arguments.get("schedulers") or []
    return list(parts.items()) if isinstance(parts, Mapping) else list(enumerate(parts))


def _lengths(arguments: Mapping[str, Any]) -> list[str]:
    """Which of the arguments are lengths."""
    keys = [key for key in LENGTHS if key in arguments]
    # OneCycleLR works its length out of these two, if it is given them.
    given = arguments.get("epochs") is not None and arguments.get("steps_per_epoch") is not None
    return [k for k in keys if not (given and k == "total_steps" and arguments[k] is None)]


def _is_open(value: Any) -> bool:
    """Whether a length is left to the training."""
    if isinstance(value, list):
        return any(_is_open(v) for v in value)
    # -1 and null are what `T_max: ${trainer.max_epochs}` becomes where steps end the training.
    return value in (None, -1, "auto") or (isinstance(value, float) and 0 < value < 1)


def _counted(arguments: Arguments, total: int, span: int) -> Arguments:
    """The arguments with every length as a number of steps.

    Arguments:
        arguments: of one schedule.
        total: steps of the training.
        span: steps that this schedule is in force.
    """

    def count(value: Any) -> Any:
        if isinstance(value, list):
            return [count(v) for v in value]
        if not _is_open(value):
            return value
        return max(1, round(value * total)) if isinstance(value, float) else span

    counted = {**arguments, **{key: count(arguments[key]) for key in _lengths(arguments)}}
    if parts := _parts(arguments):
        # SequentialLR has each in force from one milestone to the next, a chain has all of them.
        bounds = [0, *counted.get("milestones", []), span]
        spans = [max(1, end - begin) for begin, end in pairwise(bounds)]
        spans = spans if len(spans) == len(parts) else [span] * len(parts)
        counted["schedulers"] = {
            name: _counted(part, total, own) for (name, part), own in zip(parts, spans, strict=True)
        }
    return counted


def _endless(interval: str) -> str:
    """Why a schedule that ends with the training cannot be."""
    if interval == "epoch":
        return (
            "scheduler.interval=epoch with trainer.max_epochs=-1: the schedule ends with the "
            "training, and nothing says after how many epochs that is; write "
            "scheduler.interval=step"
        )
    return (
        "the schedule ends with the training, and nothing says after how many steps that is; write "
        "trainer.max_steps=…, or trainer.max_epochs=… where the data has a length"
    )
