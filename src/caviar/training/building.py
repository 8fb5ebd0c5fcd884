"""The parts of a run, from its config, each from the Lightning that the model derives from."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from caviar.base.errors import UserError
from caviar.config.compose import build
from caviar.training.package import adopted, is_a, of_package, package_of
from caviar.training.safe import checkpoint_plugin


def model_package(config: DictConfig, model: Any) -> str:
    """The Lightning that the model derives from.

    Raises:
        UserError: it derives from none.
    """
    package = package_of(model)
    if package is None or not is_a(model, "LightningModule"):
        raise UserError(
            f"model._target_={config.model._target_} is a {type(model).__name__} and no "
            "LightningModule; derive it from that of pytorch_lightning or lightning, or from "
            "caviar.training.Classifier"
        )
    return package


def declared(node: str, configs: Any, package: str) -> dict[str, Any]:
    """Callbacks or loggers, by their keys in the config, each from the model's package."""
    built = {}
    for name, config in configs:
        if config is None:  # taken out by callbacks.early_stopping=null
            continue
        key = f"{node}.{name}"
        built[key] = own(build(key, of_package(config, package)), package)
    return built


def plugins(config: DictConfig, package: str) -> list[Any]:
    """The config's own, and ours for checkpoints where none of them is for these."""
    own = of_package(config.trainer.get("plugins") or [], package)
    built = [build("trainer.plugins", c) if isinstance(c, dict) else c for c in own]
    # Sharded strategies write folders, each in its own way.
    sharded = str(config.trainer.get("strategy")).startswith(("fsdp", "deepspeed", "modelparallel"))
    if sharded or any(hasattr(plugin, "save_checkpoint") for plugin in built):
        return built
    return [*built, checkpoint_plugin(package, config.trust_checkpoints)]


def own(thing: Any, package: str) -> Any:
    """The same, of the model's package if it is Caviar's or derives from something of Caviar's."""
    ours = any(base.__module__.startswith("caviar.") for base in type(thing).__mro__)
    return adopted(thing, package) if ours else thing
