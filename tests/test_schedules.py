"""Schedules: what Lightning steps them by, lengths that follow from the training, and going on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from torch.optim import lr_scheduler as schedulers

from caviar.base.errors import UserError
from caviar.training.data import SklearnData
from caviar.training.models import MLP
from caviar.training.quiet import quiet
from caviar.training.resume import ResumedSchedule
from conftest import FAST, ROOT, Main

pytestmark = pytest.mark.slow  # each trains a model, or several

Build = Callable[[torch.optim.Optimizer], Any]
TORCH = "torch.optim.lr_scheduler"


class Seen(pl.Callback):
    """The lr of every batch, what was logged by the end of each epoch, and the schedule's steps."""

    def __init__(self) -> None:
        self.lrs: list[float] = []
        self.logged: list[dict[str, float]] = []
        self.steps = 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.lrs.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch:
            self.logged.append({k: float(v) for k, v in trainer.callback_metrics.items()})

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for schedule in trainer.lr_scheduler_configs:
            scheduler: Any = schedule.scheduler
            if isinstance(scheduler, schedulers.ChainedScheduler):  # which leaves it to its parts
                scheduler = scheduler._schedulers[0]
            self.steps = scheduler.last_epoch


def watched(
    name: str, changed: dict[str, Any] | None = None, seen: Seen | None = None, **trainer: Any
) -> Seen:
    """A training by a file of `conf/scheduler/`: lr 0.1, two epochs of nine batches."""
    limits = {"max_epochs": 2, **trainer}
    given = OmegaConf.load(ROOT / f"conf/scheduler/{name}.yaml") if name else OmegaConf.create()
    root = {
        "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1},
        "metric": {"name": "val/loss", "mode": "min"},
        "trainer": limits,
        "scheduler": OmegaConf.merge(given, changed or {}),
    }
    config = OmegaConf.create(root)
    model = MLP(in_features=64, num_classes=10, width=8, depth=1, dropout=0.0)
    model.optimizer_config, model.scheduler_config = config.optimizer, config.scheduler
    data = SklearnData("digits", num_features=64, num_classes=10, batch_size=128)
    seen, quietly = seen or Seen(), {"enable_progress_bar": False, "enable_model_summary": False}
    quiet()
    torch.set_num_threads(1)
    pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, num_sanity_val_steps=0,
        callbacks=[ResumedSchedule(), seen], **quietly, **limits,
    ).fit(model, data)  # fmt: skip
    return seen


def by_hand(build: Build, steps: int) -> list[float]:
    """The lrs of a schedule that is stepped behind every step of an optimizer."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = build(optimizer)
    lrs = []
    for step in range(steps):
        if step:
            scheduler.step()
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
    return lrs


def halving(optimizer: torch.optim.Optimizer) -> Any:
    return schedulers.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))


def exponential(optimizer: torch.optim.Optimizer) -> Any:
    return schedulers.ExponentialLR(optimizer, 0.5)


def cosine(length: int) -> Build:
    return lambda optimizer: schedulers.CosineAnnealingLR(optimizer, length)


def warmup(begin: int, length: int) -> Build:
    def build(optimizer: torch.optim.Optimizer) -> Any:
        parts = [
            schedulers.LinearLR(optimizer, start_factor=0.01, total_iters=begin),
            schedulers.CosineAnnealingLR(optimizer, length - begin),
        ]
        return schedulers.SequentialLR(optimizer, parts, milestones=[begin])

    return build


def one_cycle(length: int) -> Build:
    return lambda optimizer: schedulers.OneCycleLR(optimizer, 0.1, length, cycle_momentum=False)


def staircase(optimizer: torch.optim.Optimizer) -> Any:
    return schedulers.MultiStepLR(optimizer, [9, 14])


SEQUENCE = {
    "_target_": f"{TORCH}.SequentialLR",
    "interval": "step",
    "schedulers": [
        {"_target_": f"{TORCH}.ConstantLR", "factor": 0.1, "total_iters": 3},
        {"_target_": f"{TORCH}.ExponentialLR", "gamma": 0.9},
    ],
    "milestones": [3],
}


def sequence(optimizer: torch.optim.Optimizer) -> Any:
    parts = [schedulers.ConstantLR(optimizer, 0.1, 3), schedulers.ExponentialLR(optimizer, 0.9)]
    return schedulers.SequentialLR(optimizer, parts, milestones=[3])


CHAIN = {
    "_target_": f"{TORCH}.ChainedScheduler",
    "schedulers": [
        {"_target_": f"{TORCH}.LinearLR", "start_factor": 0.5, "total_iters": "auto"},
        {"_target_": f"{TORCH}.ExponentialLR", "gamma": 0.9},
    ],
}


def chain(optimizer: torch.optim.Optimizer) -> Any:
    parts = [
        schedulers.LinearLR(optimizer, start_factor=0.5, total_iters=2),
        schedulers.ExponentialLR(optimizer, 0.9),
    ]
    return schedulers.ChainedScheduler(parts, optimizer)


@pytest.mark.parametrize(
    ("name", "changed", "trainer", "build", "batches", "steps"),
    [
        # Batches between two steps of the schedule, and how many steps there are.
        ("inverse_time", {"rate": 1.0}, {"max_epochs": 3}, halving, 9, 3),
        ("exponential", {"gamma": 0.5}, {}, exponential, 9, 2),
        ("step", {"step_size": 1, "gamma": 0.5}, {}, exponential, 9, 2),
        ("cosine", {}, {}, cosine(2), 9, 2),
        ("cosine", {"T_max": "${trainer.max_epochs}"}, {}, cosine(2), 9, 2),
        ("cosine", {"frequency": 2}, {"max_epochs": 4}, cosine(2), 18, 2),
        ("cosine", {}, {"max_epochs": 9, "max_steps": 13}, cosine(2), 9, 1),
        ("cosine", {"interval": "step"}, {}, cosine(18), 1, 18),
        ("cosine", {"interval": "step", "frequency": 3}, {}, cosine(6), 3, 6),
        # Nothing says how many epochs there are, but how many steps.
        ("cosine", {}, {"max_epochs": -1, "max_steps": 13}, cosine(13), 1, 13),
        ("cosine", {"T_max": -1}, {"max_epochs": -1, "max_steps": 13}, cosine(13), 1, 13),
        ("cosine", {"T_max": None}, {"max_epochs": None, "max_steps": 13}, cosine(13), 1, 13),
        ("one_cycle", {}, {}, one_cycle(18), 1, 18),
        ("one_cycle", {"interval": None}, {}, one_cycle(18), 1, 18),
        ("one_cycle", {}, {"limit_train_batches": 0.5}, one_cycle(8), 1, 8),
        ("one_cycle", {}, {"max_steps": 11}, one_cycle(11), 1, 11),
        (
            "one_cycle",
            {"total_steps": None, "epochs": 3, "steps_per_epoch": 9},
            {},
            one_cycle(27),
            1,
            18,
        ),
        ("warmup_cosine", {}, {}, warmup(1, 18), 1, 18),
        (
            "warmup_cosine",
            {"schedulers": {"warmup": {"total_iters": 0.5}}},
            {},
            warmup(9, 18),
            1,
            18,
        ),
        ("warmup_cosine", {"schedulers": {"warmup": {"total_iters": 4}}}, {}, warmup(4, 18), 1, 18),
        (
            "",
            {"_target_": f"{TORCH}.MultiStepLR", "milestones": [0.5, 14], "interval": "step"},
            {},
            staircase,
            1,
            18,
        ),
        ("", SEQUENCE, {}, sequence, 1, 18),
        ("", CHAIN, {}, chain, 9, 2),
    ],
)
def test_a_schedule_is_torchs_own_over_the_length_of_the_training(
    name: str,
    changed: dict[str, Any],
    trainer: dict[str, Any],
    build: Build,
    batches: int,
    steps: int,
) -> None:
    seen = watched(name, changed, **trainer)
    expected = [lr for lr in by_hand(build, steps + 1) for _ in range(batches)]
    assert seen.lrs == expected[: len(seen.lrs)]
    assert len(seen.lrs) >= batches * steps
    assert seen.steps == steps


def test_no_schedule_is_a_constant_rate() -> None:
    seen = watched("none")
    assert (seen.steps, set(seen.lrs)) == (0, {0.1})


def test_accumulated_batches_are_one_step_and_the_last_of_an_epoch_is_one_too() -> None:
    """Of nine batches the fourth, the eighth and the ninth."""
    seen = watched("one_cycle", accumulate_grad_batches=4)
    lrs = by_hand(one_cycle(6), 6)
    assert seen.lrs == [
        lr for lr, batches in zip(lrs, 2 * (4, 4, 1), strict=True) for _ in range(batches)
    ]
    # Lightning counts a frequency in batches: the fourth and the eighth.
    seen = watched("one_cycle", {"frequency": 2}, accumulate_grad_batches=4)
    lrs = by_hand(one_cycle(4), 4)
    assert seen.steps == 4
    assert seen.lrs[::4] == [lrs[0], lrs[1], lrs[2], lrs[2], lrs[3]]


@pytest.mark.parametrize(
    ("monitor", "mode"), [("val/loss", "min"), ("val/acc", "max"), ("train/loss", "min")]
)
def test_a_plateau_follows_any_metric(monitor: str, mode: Any) -> None:
    changed = {"monitor": monitor, "mode": mode, "patience": 0, "threshold": 0.5}
    seen = watched("plateau", changed, max_epochs=7)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = schedulers.ReduceLROnPlateau(optimizer, mode, 0.5, patience=0, threshold=0.5)
    lrs = [0.1]
    for logged in seen.logged:
        scheduler.step(logged[monitor])
        lrs.append(optimizer.param_groups[0]["lr"])
    assert seen.lrs[::9] == lrs
    assert len(set(lrs)) > 1


@pytest.mark.parametrize(
    ("name", "changed", "trainer", "message"),
    [
        ("cosine", {"interval": "batch"}, {}, "interval=batch should be step or epoch"),
        ("plateau", {"frequency": 0}, {}, "frequency=0 should be a whole number"),
        (
            "cosine",
            {"interval": "epoch"},
            {"max_epochs": -1, "max_steps": 9},
            "nothing says after how many epochs that is; write scheduler.interval=step",
        ),
        (
            "one_cycle",
            {},
            {"max_epochs": -1},
            "nothing says after how many steps that is; write trainer.max_steps=",
        ),
        (
            "one_cycle",
            {"total_steps": 17},
            {},
            "ends after 17 steps, and the training has 18; write scheduler.total_steps=auto",
        ),
        (
            "warmup_cosine",
            {"schedulers": {"warmup": {"start_factor": 2}}},
            {},
            "scheduler.schedulers.warmup (_target_ torch.optim.lr_scheduler.LinearLR): ValueError",
        ),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_before_the_first_step(
    name: str, changed: dict[str, Any], trainer: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        watched(name, changed, **trainer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["scheduler=plateau", "scheduler.monitor=val/f1"],
            "follows val/f1, but by then only val/loss, val/acc, train/loss was logged",
        ),
        (
            ["scheduler=one_cycle", "scheduler.cycle_momentum=true", "optimizer.momentum=0.8"],
            "OneCycleLR sets it; write scheduler.cycle_momentum=false",
        ),
    ],
)
def test_what_would_be_followed_or_set_in_vain_is_one_message(
    main: Main, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(*FAST, *arguments) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
