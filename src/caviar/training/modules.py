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

from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from caviar.base.errors import UserError
from caviar.base.terminal import complain
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
                complain(f"warning: {line}")


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


class Supervised(Module):
    """Learns to tell from inputs what comes with them; a batch is (inputs, targets).

    Derive from it for a loss of your own between the two: write `loss`, and `measures` for what
    else is to be known of a validation.
    """

    def __init__(self) -> None:
        super().__init__()
        self._losses: list[Tensor] = []  # of this epoch's batches; on the model's device

    def loss(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch."""
        raise NotImplementedError(f"{type(self).__name__} needs a loss() of its own")

    def measures(self, predicted: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """More means over a batch of validation or test, by name."""
        return {}

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = self.loss(self(x), y)
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

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        predicted: Tensor = self(batch[0])
        return predicted

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, "test")

    def _evaluate(self, batch: tuple[Tensor, Tensor], split: str) -> None:
        x, y = batch
        predicted = self(x)
        values = {"loss": self.loss(predicted, y), **self.measures(predicted, y)}
        named = {f"{split}/{name}": value for name, value in values.items()}
        self.log_dict(named, batch_size=len(y), sync_dist=True, prog_bar=True)


class Classifier(Supervised):
    """Cross-entropy over classes; logs loss and accuracy as `train/…`, `val/…` and `test/…`.

    Targets are class numbers, shape (batch,) beside logits of shape (batch, classes), or
    (batch, length) beside (batch, classes, length).
    """

    def loss(self, predicted: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(predicted, targets)

    def measures(self, predicted: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"acc": (predicted.argmax(dim=1) == targets).float().mean()}


class Regressor(Supervised):
    """Mean squared error; logs it as `train/loss`, `val/loss` and `test/loss`, and of the last two
    the mean absolute error, `…/mae`, and R² over the whole part, `…/r2`.

    Targets have the shape of what the module predicts, (batch, outputs), or (batch,) beside
    (batch, 1).
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: list[tuple[Tensor, Tensor]] = []  # of a validation or test: predicted, targets

    def loss(self, predicted: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(_alike(predicted, targets), targets)

    def measures(self, predicted: Tensor, targets: Tensor) -> dict[str, Tensor]:
        self._seen.append((_alike(predicted, targets), targets))
        return {"mae": F.l1_loss(*self._seen[-1])}

    def on_validation_epoch_end(self) -> None:
        self._log_r2("val")

    def on_test_epoch_end(self) -> None:
        self._log_r2("test")

    def _log_r2(self, split: str) -> None:
        # From all of it: a mean over batches would be the R² of none, and sums of squares lose
        # their digits where targets are far from 0.
        predicted, targets = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        missed = (targets - predicted).square().sum(0)
        spread = (targets - targets.mean(0)).square().sum(0)
        self.log(f"{split}/r2", (1 - missed / spread).mean(), sync_dist=True)


def _alike(predicted: Tensor, targets: Tensor) -> Tensor:
    """The prediction in the targets' shape: else a column beside a row would be all pairs.

    Raises:
        UserError: the shapes are of different things.
    """
    if predicted.shape == (*targets.shape, 1):
        return predicted.squeeze(-1)
    if predicted.shape != targets.shape:
        raise UserError(
            f"the model predicts {tuple(predicted.shape)} for targets of shape "
            f"{tuple(targets.shape)}; its number of outputs should be that of the data"
        )
    return predicted
