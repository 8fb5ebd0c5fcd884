"""Two batches of everything, before anything expensive: fit, validation, checkpoint, test.

A search rehearses once, in front of its first stage. So a bug in `test_step`, a metric whose name
is misspelt, or an axis that the model never reads costs seconds and not a study.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, open_dict
from torch.utils._pytree import tree_flatten

from caviar.base.result import Rehearsal
from caviar.training.callbacks import BestMetric
from caviar.training.length import refuse_late_validation
from caviar.training.package import is_inherited, refuse_untestable
from caviar.training.reading import reads_declared
from caviar.training.run import train
from caviar.training.schedule import refuse_endless

BATCHES = 2


def rehearse(config: DictConfig, output: Path) -> Rehearsal:
    """Train, validate and test two batches; the test's are of the validation set, as the test set
    stays locked.

    Arguments:
        config: of the run that is to come.
        output: a folder of its own; what was learned is written into it.

    Raises:
        UserError: the model, the data or the config cannot do what a search needs.
        Exception: of the model's or the data's own.
    """
    seen: list[pl.LightningModule] = []

    def built(trainer: pl.Trainer, model: pl.LightningModule, data: Any) -> None:
        seen.append(model)
        refuse_untestable(model, config.model._target_)
        for owner in (data, model):
            if owner is not None and not is_inherited(owner, "val_dataloader"):
                setattr(owner, "test_dataloader", owner.val_dataloader)  # noqa: B010  a method

    def extend(best: BestMetric) -> tuple[list[pl.Callback], list[Any]]:
        return [RefuseLate(config)], []

    result = train(shortened(config, output), output, extend=extend, built=built)
    found = Rehearsal(reads_declared(seen[0]), result.checkpoint is not None)
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    (output / "result.json").unlink(missing_ok=True)  # of two batches: nobody's result
    found.write(output)
    return found


def shortened(config: DictConfig, output: Path, epochs: int = 1) -> DictConfig:
    """The config of a run of two batches an epoch, which tells no tracker of itself."""
    short = deepcopy(config)
    with open_dict(short):
        for limit in ("limit_train_batches", "limit_val_batches", "limit_test_batches"):
            if short.trainer.get(limit) != 0:  # which is refused, and must not be hidden
                short.trainer[limit] = BATCHES
        short.trainer.update(
            {"max_epochs": epochs, "max_steps": -1, "val_check_interval": 1.0}
            | {"check_val_every_n_epoch": 1, "num_sanity_val_steps": 0}
        )
        for name in ("min_epochs", "min_steps", "max_time"):
            short.trainer.pop(name, None)
        short.logger, short.test, short.fit, short.ckpt_path = {}, True, True, None
        short.paths.output = str(output)
    return short


class RefuseLate(pl.Callback):
    """Refuses a training whose first validation would come too late, by the loaders' own lengths,
    and one whose schedule waits for an end that never comes.

    Arguments:
        config: of the run that is to come, not of the rehearsal.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loaders = tree_flatten(trainer.train_dataloader)[0]
        with suppress(TypeError):  # of a stream, which has no length
            lengths = [len(loader) for loader in loaders]
            refuse_late_validation(self.config.trainer, max(lengths))
        if getattr(pl_module, "has_declared_schedule", False):
            refuse_endless(self.config.scheduler, self.config.trainer)
