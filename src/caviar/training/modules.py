"""Lightning modules to derive from.

    class MyModel(Classifier):
        def __init__(self, num_classes: int, width: int) -> None:
            super().__init__()
            self.net = ...

        def forward(self, x):      # logits, (batch, num_classes)
            return self.net(x)

`conf/model/my_model.yaml` then names it as `_target_`, and its keys can be searched.
"""

from __future__ import annotations

import sys
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from caviar.training.optim import build_optimizer
from caviar.training.schedule import build_schedule, check_schedule


class Module(pl.LightningModule):
    """A LightningModule whose optimizer and schedule are the config's.

    Derive from it for a loss of your own and write `training_step`, `validation_step` and
    `test_step`; log the declared metric (`metric.name`, such as `val/loss`) in validation.
    """

    # Set by caviar.training.run before fitting; kept off __init__, so that subclasses need not pass
    # them on.
    scheduler_config: DictConfig | None = None
    metric: str = "val/loss"
    reads_optimizer_config = False
    has_declared_schedule = False

    @property
    def optimizer_config(self) -> DictConfig:
        """The config's `optimizer`. A subclass that never asks for it has an optimizer of its own,
        and then nobody may search over what the config says."""
        self.reads_optimizer_config = True
        return self._optimizer_config

    @optimizer_config.setter
    def optimizer_config(self, config: DictConfig) -> None:
        self._optimizer_config = config

    def set_live(self, name: str, value: float) -> bool:
        """Change a hyperparameter of the model while it trains, as `caviar panda set` asks for.

        Knows `dropout`, of all dropout layers. Override it for others.

        Arguments:
            name: the config's key below `model`.
            value: the new one.

        Returns:
            Whether there was something to change.
        """
        return _set_dropout(self, name, value)

    def configure_optimizers(self) -> Any:
        trainable = [p for p in self.parameters() if p.requires_grad]
        optimizer = build_optimizer(self.optimizer_config, trainable)
        schedule = build_schedule(self.scheduler_config, optimizer, self.trainer, self.metric)
        if schedule is None:
            return optimizer
        self.has_declared_schedule = True
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_train_start(self) -> None:
        if not self.has_declared_schedule:
            return
        # Not before: by now the checkpoint's schedule is in force, and a panda's nudges are in it.
        for line in check_schedule(self.scheduler_config, self.trainer):
            if self.trainer.is_global_zero:
                print(f"warning: {line}", file=sys.stderr)


def set_live(module: pl.LightningModule, name: str, value: float) -> bool:
    """`Module.set_live` of any LightningModule: its own method, if it has one of this name."""
    own = getattr(module, "set_live", None)
    return _set_dropout(module, name, value) if own is None else bool(own(name, value))


def _set_dropout(module: pl.LightningModule, name: str, value: float) -> bool:
    if name.rpartition(".")[2] != "dropout":  # `net.dropout` of a model that is built of parts
        return False
    layers = [m for m in module.modules() if isinstance(m, torch.nn.modules.dropout._DropoutNd)]
    for layer in layers:
        layer.p = value
    return bool(layers)


class Classifier(Module):
    """Cross-entropy over classes; logs loss and accuracy as `train/…`, `val/…` and `test/…`.

    A batch is (inputs, labels): labels are class numbers, shape (batch,) beside logits of shape
    (batch, classes), or (batch, length) beside (batch, classes, length).
    """

    def __init__(self) -> None:
        super().__init__()
        self._losses: list[Tensor] = []  # of this epoch's batches; on the model's device

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self._losses.append(loss.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        # Once an epoch: logging every step would cost a small model a quarter of its time.
        self.log("train/loss", torch.stack(self._losses).mean(), sync_dist=True)
        self._losses.clear()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["epoch_losses"] = self._losses  # not empty where a run is stopped in an epoch

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._losses = list(checkpoint.get("epoch_losses", []))

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, "test")

    def _evaluate(self, batch: tuple[Tensor, Tensor], split: str) -> None:
        x, y = batch
        logits = self(x)  # (batch, classes)
        accuracy = (logits.argmax(dim=1) == y).float().mean()
        values = {f"{split}/loss": F.cross_entropy(logits, y), f"{split}/acc": accuracy}
        self.log_dict(values, batch_size=len(y), sync_dist=True, prog_bar=True)
