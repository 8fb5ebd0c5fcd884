"""Checkpoints that can be read back, known to be so when the first one is written.

A checkpoint is loaded as plain containers, since a pickle may run anything. What a module puts into
one may be more than that: `save_hyperparameters()` keeps a network, or a Hydra partial, and then
the file cannot be loaded safely. Found out when the winner is to be tested, that costs a study.

So every checkpoint goes through `SafeCheckpoints`, which tries the first one. Hyperparameters that
would not load are left out of all files, since the config has them; anything else that would not is
an error that names its key. NumPy's numbers and arrays are allowed by name, as torch offers.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from omegaconf import OmegaConf

from caviar.base.environment import is_first_rank
from caviar.base.errors import UserError
from caviar.base.terminal import complain

if TYPE_CHECKING:
    from lightning_fabric.plugins import TorchCheckpointIO
else:
    TorchCheckpointIO = object  # of whichever package the model comes from

# Lightning's keys for the arguments of a module and of a data module, and what goes with them.
HYPERPARAMETERS = ("hyper_parameters", "datamodule_hyper_parameters")
TYPES = ("hparams_type", "datamodule_hparams_type")


def _numpy_globals() -> list[Any]:
    """What NumPy's numbers and arrays are made of; none of it can run anything."""
    scalar, array = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    kinds = [kind for kind in vars(np.dtypes).values() if isinstance(kind, type)]
    return [scalar, array, np.ndarray, np.dtype, *kinds]


torch.serialization.add_safe_globals(_numpy_globals())


class SafeCheckpoints(TorchCheckpointIO):
    """Lightning's plugin for checkpoint files, which keeps them loadable.

    Arguments:
        trusted: whether files may hold anything (`trust_checkpoints=true`).
    """

    def __init__(self, trusted: bool) -> None:
        self.trusted = trusted
        self._left_out: dict[str, list[str]] = {}  # hyperparameters, by the key they are under
        self._read_back = trusted

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        if not self._read_back:
            self._check(checkpoint)
        super().save_checkpoint(self._without(checkpoint), path, storage_options)

    def _check(self, checkpoint: dict[str, Any]) -> None:
        """Find out what would not load, once.

        Raises:
            UserError: it is more than a hyperparameter.
        """
        self._read_back = True
        plain = _plain_hyperparameters(checkpoint)
        for key in HYPERPARAMETERS:
            bad = [name for name, value in (plain.get(key) or {}).items() if not loads(value)]
            if bad:
                self._left_out[key] = bad
                if is_first_rank():
                    complain(
                        f"note: checkpoints leave out the hyperparameters {', '.join(bad)} that "
                        "save_hyperparameters() kept: they would not load safely, and the config "
                        "has them",
                    )
        for path, value in unloadable(_without_tensors(self._without(checkpoint))):
            kind = type(value)
            raise UserError(
                f"a checkpoint of this model would not load safely: {path} is a "
                f"{kind.__module__}.{kind.__qualname__}; keep numbers, texts, lists, dicts and "
                "tensors in it, or write trust_checkpoints=true if nobody else can write to runs/"
            )

    def _without(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        if self.trusted:
            return checkpoint
        plain = _plain_hyperparameters(checkpoint)
        for key, names in self._left_out.items():
            if key in plain:
                plain[key] = {k: v for k, v in plain[key].items() if k not in names}
        return plain


def checkpoint_plugin(package: str, trusted: bool) -> SafeCheckpoints:
    """A `SafeCheckpoints` of the Lightning that the model comes from.

    Arguments:
        package: one of `caviar.training.package.PACKAGES`.
        trusted: as the config says.
    """
    theirs = import_module(f"{package}.plugins.io").TorchCheckpointIO
    kind: type[SafeCheckpoints] = type("SafeCheckpoints", (SafeCheckpoints, theirs), {})
    return kind(trusted)


def loads(value: Any) -> bool:
    """Whether a value, saved alone, could be loaded as plain containers."""
    file = io.BytesIO()
    try:
        torch.save(value, file)
        file.seek(0)
        torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # a pickle may refuse in many ways, and so may torch
        return False
    return True


def unloadable(value: Any, path: str = "checkpoint") -> Iterator[tuple[str, Any]]:
    """The innermost parts that do not load, each with its place: `checkpoint["threshold"]`."""
    if loads(value):
        return
    parts: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        parts = list(value.items())
    elif isinstance(value, list | tuple):
        parts = list(enumerate(value))
    found = [inner for key, part in parts for inner in unloadable(part, f"{path}[{key!r}]")]
    yield from found or [(path, value)]


def _without_tensors(value: Any) -> Any:
    """The same without what is large and loads in any case."""
    if isinstance(value, torch.Tensor):
        return None
    if type(value) in (dict, OrderedDict):
        return {key: _without_tensors(part) for key, part in value.items()}
    if type(value) in (list, tuple):
        return [_without_tensors(part) for part in value]
    return value


def _plain_hyperparameters(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """OmegaConf's containers as plain ones, and no name of a class to build from them."""
    plain = {key: value for key, value in checkpoint.items() if key not in TYPES}
    for key in HYPERPARAMETERS:
        if key in plain and OmegaConf.is_config(plain[key]):
            plain[key] = OmegaConf.to_container(plain[key], resolve=True)
    return plain
