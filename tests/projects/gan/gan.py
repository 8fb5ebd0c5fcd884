"""A generator and its critic on points of the plane, each with an optimizer of its own.

    python train.py experiment=gan

Lightning steps neither of them: `automatic_optimization` is off.
"""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset


def perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, outputs),
    )


def energy_distance(first: Tensor, second: Tensor) -> Tensor:
    """How far two clouds of points are apart; 0 if they have one distribution."""
    within = torch.cdist(first, first).mean() + torch.cdist(second, second).mean()
    return 2 * torch.cdist(first, second).mean() - within


class GAN(pl.LightningModule):
    """Arguments: the size of the noise, the networks' width, and the two Adams'."""

    def __init__(
        self,
        latent: int = 4,
        width: int = 32,
        lr_generator: float = 1e-3,
        lr_critic: float = 4e-3,
        beta1: float = 0.5,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.generator = perceptron(latent, width, 2)
        self.critic = perceptron(2, width, 1)
        fixed = torch.Generator().manual_seed(0)
        self.register_buffer("noise", torch.randn(256, latent, generator=fixed))

    def forward(self, noise: Tensor) -> Tensor:
        return self.generator(noise)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        (real,) = batch  # (batch, 2)
        generator_steps, critic_steps = self.optimizers()
        made = self(torch.randn(len(real), self.hparams.latent, device=self.device))

        self.toggle_optimizer(critic_steps)
        on_real, on_made = self.critic(real), self.critic(made.detach())
        critic_loss = (
            binary_cross_entropy_with_logits(on_real, torch.ones_like(on_real))
            + binary_cross_entropy_with_logits(on_made, torch.zeros_like(on_made))
        ) / 2
        critic_steps.zero_grad()
        self.manual_backward(critic_loss)
        critic_steps.step()
        self.untoggle_optimizer(critic_steps)

        self.toggle_optimizer(generator_steps)
        fooled = self.critic(made)
        generator_loss = binary_cross_entropy_with_logits(fooled, torch.ones_like(fooled))
        generator_steps.zero_grad()
        self.manual_backward(generator_loss)
        generator_steps.step()
        self.untoggle_optimizer(generator_steps)

        losses = {"train/critic_loss": critic_loss, "train/generator_loss": generator_loss}
        self.log_dict(losses, on_step=False, on_epoch=True, prog_bar=True)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/distance", energy_distance(self(self.noise), batch[0]), prog_bar=True)

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("test/distance", energy_distance(self(self.noise), batch[0]))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        betas = (self.hparams.beta1, 0.999)
        return [
            torch.optim.Adam(self.generator.parameters(), self.hparams.lr_generator, betas),
            torch.optim.Adam(self.critic.parameters(), self.hparams.lr_critic, betas),
        ]


class Ring(pl.LightningDataModule):
    """Points around a circle."""

    def __init__(self, batch_size: int = 32, width: float = 0.1) -> None:
        super().__init__()
        self.batch_size, self.width = batch_size, width

    def setup(self, stage: str) -> None:
        generator = torch.Generator().manual_seed(7)
        angle = 2 * torch.pi * torch.rand(1536, generator=generator)
        points = torch.stack([angle.cos(), angle.sin()], dim=1)
        points += self.width * torch.randn(points.shape, generator=generator)
        self.points = dict(zip(("fit", "validate", "test"), points.split(512), strict=True))

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(self.points["fit"]), self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(self.points["validate"]), batch_size=512)

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(self.points["test"]), batch_size=512)
