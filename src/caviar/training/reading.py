"""Refuses a run with an override that its model never reads, before the first step."""

from __future__ import annotations

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from caviar.config.overrides import override_key
from caviar.config.reading import DECLARED, refuse_unread
from caviar.training.modules import Module


def reads_declared(module: pl.LightningModule) -> bool:
    """Whether a module took its optimizer from the config, once it has built it."""
    return isinstance(module, Module) and module.reads_optimizer_config


class RefuseUnread(pl.Callback):
    """Asks the model, when it has built its optimizers, whether it has read the config's.

    Arguments:
        config: of the run; the overrides are Hydra's, where Hydra runs.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not HydraConfig.initialized():
            return
        keys = [override_key(o) for o in HydraConfig.get().overrides.task]
        declared = [key for key in keys if key.partition(".")[0].partition("@")[0] in DECLARED]
        refuse_unread(self.config, declared, reads_declared(pl_module))
