"""How long a training is, where it validates, and that it does so at all.

Lightning counts optimizer steps (`global_step`), batches and epochs, and knows only when the data
is there how many of each a training will have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl

from caviar.base.errors import UserError
from caviar.base.result import EPOCH, STEP, Length


def steps_taken(trainer: pl.Trainer) -> int:
    """Optimizer steps so far; batches, where a module steps behind Lightning's back."""
    return trainer.global_step or trainer.fit_loop.epoch_loop.total_batch_idx + 1


def length_of(trainer: pl.Trainer) -> Length:
    """How long a training is that has begun, and what its curve counts."""
    batches, every = trainer.num_training_batches, trainer.val_check_batch
    epochs = trainer.max_epochs if trainer.max_epochs not in (None, -1) else math.inf
    assert epochs is not None
    seen = trainer.fit_loop.epoch_loop.total_batch_idx + 1
    each = steps_taken(trainer) / max(1, seen)  # of one batch: 1/4 where four are accumulated
    all_batches = epochs * batches
    if trainer.max_steps > 0:
        if not trainer.global_step:  # Lightning will not count up to them
            each = 1 / trainer.accumulate_grad_batches
        all_batches = min(all_batches, trainer.max_steps / each)
    by_epoch = trainer.check_val_every_n_epoch is not None
    if by_epoch and every is not None and every >= batches:
        whole = epochs if math.isinf(batches) else min(epochs, math.ceil(all_batches / batches))
        return Length(EPOCH, _finite(whole), _finite(whole))
    if every is None:  # by the clock: nobody knows how many
        return Length(STEP, _finite(all_batches * each), None)
    points = all_batches // every
    if by_epoch and math.isfinite(batches):
        rest = (all_batches % batches) // every
        points = all_batches // batches * (batches // every) + rest
        points //= trainer.check_val_every_n_epoch or 1
    return Length(STEP, _finite(all_batches * each), _finite(points))


def refuse_without_validation(trainer: pl.Trainer) -> None:
    """Refuse a training that would end before its metric was seen once.

    Raises:
        UserError: it says what the training lacks, and what to write instead.
    """
    loaders = trainer.val_dataloaders  # None where the first epoch does not validate
    if not trainer.enable_validation or (loaders is not None and not sum(trainer.num_val_batches)):
        raise UserError(
            "nothing validates, and the metric of a run is that of its validation; the model needs "
            "a validation_step, the data a val_dataloader, and trainer.limit_val_batches must "
            "not be 0"
        )
    settings: dict[str, Any] = {
        "val_check_interval": trainer.val_check_batch,
        "check_val_every_n_epoch": trainer.check_val_every_n_epoch,
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
        "max_steps": trainer.max_steps,
        "max_epochs": trainer.max_epochs,
    }
    refuse_late_validation(settings, trainer.num_training_batches)


def refuse_late_validation(settings: Mapping[str, Any], batches: float) -> None:
    """Refuse a training that would end before its first validation.

    Arguments:
        settings: of the trainer, or of its config.
        batches: of an epoch; infinity for a stream.

    Raises:
        UserError: it says after how many steps the validation would come.
    """
    every, epoch = (
        settings.get("val_check_interval", 1.0),
        settings.get("check_val_every_n_epoch", 1),
    )
    epochs, steps = settings.get("max_epochs"), settings.get("max_steps", -1)
    if epoch is not None and epochs not in (None, -1) and epoch > epochs:
        raise UserError(
            f"trainer.check_val_every_n_epoch={epoch} and trainer.max_epochs={epochs}: the "
            "training ends before its first validation; write "
            f"trainer.check_val_every_n_epoch={epochs}"
        )
    if isinstance(every, float) and every <= 1:
        every = max(1, int(batches * every)) if math.isfinite(batches) else math.inf
    if isinstance(every, float) and epoch is not None:
        every = batches  # at the end of an epoch
    if not isinstance(every, int | float) or math.isinf(every):
        return  # by the clock, or when a stream has ended: nobody knows
    first = every if epoch is None else (epoch - 1) * batches + every
    needed = math.ceil(first / settings.get("accumulate_grad_batches", 1))
    if 0 < steps < needed:
        raise UserError(
            f"trainer.max_steps={steps} ends before the first validation, after {needed} steps; "
            f"write trainer.max_steps={needed}, or let it validate earlier: "
            f"trainer.val_check_interval={steps}"
        )


def _finite(number: float) -> int | None:
    return int(number) if math.isfinite(number) else None
