"""A LightningModule with an optimizer that its config builds partially."""

from collections.abc import Callable
from typing import Any

import torch
from lightning import LightningModule
from torch import nn


class Net(nn.Module):
    """A perceptron with one hidden layer."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class DigitsModule(LightningModule):
    """Classifies; keeps the best accuracy that it has seen, as its metric."""

    def __init__(self, net: nn.Module, optimizer: Callable[..., torch.optim.Optimizer]) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False, ignore=["net", "optimizer"])
        self.net, self.optimizer = net, optimizer
        self.best = 0.0
        self.right: list[torch.Tensor] = []

    def _step(self, batch: Any, name: str) -> torch.Tensor:
        inputs, labels = batch
        logits = self.net(inputs)
        loss = nn.functional.cross_entropy(logits, labels)
        self.log(f"{name}/loss", loss, on_step=False, on_epoch=True)
        if name != "train":
            right = (logits.argmax(dim=1) == labels).float()
            self.right.append(right)
            self.log(f"{name}/acc", right.mean(), on_step=False, on_epoch=True)
        return loss

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: Any, index: int) -> None:
        self._step(batch, "val")

    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.best = max(self.best, float(torch.cat(self.right).mean()))
            self.log("val/acc_best", self.best)
        self.right.clear()

    def test_step(self, batch: Any, index: int) -> None:
        self._step(batch, "test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer(params=self.parameters())
