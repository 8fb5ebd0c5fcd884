"""Change a value in the training that runs: optimizer, schedule, dropout, batch size, clipping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from caviar.errors import UserError
from caviar.training.modules import Module
from caviar.training.optim import build_scheduler

BETAS = {"beta1": 0, "beta2": 1}


def apply_values(trainer: pl.Trainer, config: DictConfig, values: Mapping[str, Any]) -> None:
    """Put values in force, each by its config key; the config has them from then on as well.

    Arguments:
        trainer: in the middle of fitting.
        config: of the run.
        values: checked by `caviar.panda.levers`.

    Raises:
        UserError: this model, optimizer or loader does not have it.
    """
    before = _schedule(config)
    for key, value in values.items():
        node, _, name = key.partition(".")
        if node == "optimizer":
            _set_optimizer(trainer, config, name, value)
        elif node == "model":
            _set_model(trainer, key, value)
        elif node == "data":
            _set_batch_size(trainer, key, value)
        elif key == "trainer.gradient_clip_val":
            trainer.gradient_clip_val = value
        elif key == "trainer.max_epochs":
            _set_max_epochs(trainer, value)
        if OmegaConf.select(config, key) != value:  # not over an interpolation that says the same
            OmegaConf.update(config, key, value)
    # A cosine's length follows trainer.max_epochs.
    if _schedule(config) != before or any(key.startswith("scheduler.") for key in values):
        _rebuild_schedule(trainer, config)


def _schedule(config: DictConfig) -> Any:
    """The schedule's parameters, resolved."""
    return OmegaConf.to_container(config.scheduler, resolve=True) if config.scheduler else None


def current_lr(trainer: pl.Trainer) -> float:
    """The learning rate of the next step, the schedule's factor included."""
    return float(trainer.optimizers[0].param_groups[0]["lr"])


def _set_optimizer(trainer: pl.Trainer, config: DictConfig, name: str, value: Any) -> None:
    for optimizer in trainer.optimizers:
        for group in optimizer.param_groups:
            if name in BETAS and "betas" in group:
                betas = list(group["betas"])
                betas[BETAS[name]] = value
                group["betas"] = tuple(betas)
            elif name == "lr":
                # The config's lr is where the schedule begins; what it has made of it is kept.
                base = group.get("initial_lr", group["lr"])
                factor = group["lr"] / base if base else 1.0
                group["lr"] = value * factor
                if "initial_lr" in group:
                    group["initial_lr"] = value
            elif name in group:
                group[name] = value
            else:
                raise UserError(f"optimizer.{name}: this optimizer has no {name}")
    if name == "lr":
        for schedule in trainer.lr_scheduler_configs:
            scheduler: Any = schedule.scheduler
            if hasattr(scheduler, "base_lrs"):
                scheduler.base_lrs = [value] * len(scheduler.base_lrs)
                scheduler._last_lr = [g["lr"] for g in scheduler.optimizer.param_groups]


def _set_model(trainer: pl.Trainer, key: str, value: Any) -> None:
    module = trainer.lightning_module
    assert isinstance(module, Module)
    if not module.set_live(key.partition(".")[2], value):
        raise UserError(f"{key}: this model has nothing that it could change; see Module.set_live")


def _set_batch_size(trainer: pl.Trainer, key: str, value: int) -> None:
    data = datamodule_of(trainer)
    if not hasattr(data, "batch_size"):
        raise UserError(f"{key}: {type(data).__name__} keeps no batch_size")
    data.batch_size = value
    renew_loader(trainer)


def renew_loader(trainer: pl.Trainer) -> None:
    """Let the next epoch have a loader of its own, if the batch size was changed; once."""
    running: Any = trainer  # Lightning sets what it does not declare
    wanted = getattr(datamodule_of(trainer), "batch_size", None)
    has = getattr(trainer.train_dataloader, "batch_size", wanted)
    running.reload_dataloaders_every_n_epochs = int(wanted != has)


def datamodule_of(trainer: pl.Trainer) -> Any:
    """The run's data module, which Lightning attaches without declaring it."""
    running: Any = trainer
    return running.datamodule


def _set_max_epochs(trainer: pl.Trainer, value: int) -> None:
    if value <= trainer.current_epoch:
        raise UserError(f"trainer.max_epochs={value}: epoch {trainer.current_epoch} runs already")
    trainer.fit_loop.max_epochs = value


def _rebuild_schedule(trainer: pl.Trainer, config: DictConfig) -> None:
    """The schedule with its new parameters, as far along as the old one."""
    for schedule in trainer.lr_scheduler_configs:
        old: Any = schedule.scheduler
        if schedule.reduce_on_plateau:
            for name, value in config.scheduler.items():
                if hasattr(old, name):
                    setattr(old, name, value)
            continue
        for group in old.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        new = build_scheduler(config.scheduler, old.optimizer)
        for _ in range(old.last_epoch):
            new.step()
        schedule.scheduler = new
