"""What Lightning says of every run, and nobody needs to read."""

from __future__ import annotations

import logging
import warnings

# Keep Lightning's advertising and its harmless warnings off the screen; nothing else.
HARMLESS = (
    ".*does not have many workers.*",  # data in memory needs none
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*Checkpoint directory .* exists and is not empty.*",  # that is what resuming means
    ".*is an instance of `nn.Module` and is already saved during checkpointing.*",  # see safe.py
    ".*removed from hparams because it cannot be pickled.*",
    ".*isinstance\\(treespec, LeafSpec\\).*",  # inside torch
    ".*Be aware that when using `ckpt_path`, callbacks used to create.*",  # a test needs none
    ".*The dirpath has changed from.*",  # of `last`, whose score nobody asks for
    ".*You requested to overfit but enabled train dataloader shuffling.*",
    ".*You are using `weights_only=.*",
    ".*The `srun` command is available on your system but is not used.*",
    ".*Experiment logs directory .* exists and is not empty.*",
)


def quiet() -> None:
    """Silence what Lightning says of every run; to be called before a Trainer is built."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message)
