"""Packages that only some configs need: which one is missing, before anything is trained."""

from __future__ import annotations

from importlib.util import find_spec

from omegaconf import DictConfig, OmegaConf

from caviar.base.errors import UserError

# The class that a logger's `_target_` names → the packages of which one must be there.
NEEDED = {
    "TensorBoardLogger": ("tensorboard", "tensorboardX"),
    "MLFlow": ("mlflow",),
    "MLFlowLogger": ("mlflow",),
}


def refuse_absent(config: DictConfig) -> None:
    """Refuse a logger whose package is not installed.

    Raises:
        UserError: with the command that installs it.
    """
    for name, node in (config.get("logger") or {}).items():
        target = str(node.get("_target_")) if OmegaConf.is_config(node) else ""
        needed = NEEDED.get(target.rpartition(".")[2], ())
        if needed and not any(find_spec(package) for package in needed):
            raise UserError(
                f"logger.{name} needs the package {needed[0]}, which is not installed; write "
                f"pip install {needed[0]}, or choose another logger, such as logger=csv"
            )
