"""The GAN of the other Lightning, which takes a second to import: lightning_gan.Gan"""

from lightning import LightningModule

from own_optimizers import Generates


class Gan(Generates, LightningModule):
    """That of `lightning`."""
