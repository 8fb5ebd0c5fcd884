"""The model that stands for all members of a stack, and notices what they do not share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torchmetrics import Metric
from torchmetrics.aggregation import BaseAggregator

from caviar.stacked.draws import PerMember
from caviar.stacked.errors import Differs, NotStackable
from caviar.stacked.state import SIMPLE, attributes

OF_TORCH = {*vars(nn.Module()), *vars(pl.LightningModule())}


def differing(models: Sequence[nn.Module]) -> dict[str, list[Any]]:
    """Attributes in which models of one shape are not alike: path → value of each."""
    columns = zip(*(_attributes(model) for model in models), strict=False)
    found = {}
    for same in columns:
        path, first = same[0]
        if any(other_path != path for other_path, _ in same):
            raise NotStackable("the members' models do not have the same attributes")
        if any(not _alike(first, value) for _, value in same[1:]):
            found[path] = [value for _, value in same]
    return found


def _attributes(model: nn.Module) -> Iterator[tuple[str, Any]]:
    for _, name, path, value in attributes(model):
        if name not in OF_TORCH and not isinstance(value, Tensor):
            yield path, value


def _alike(one: Any, other: Any, depth: int = 0) -> bool:
    if one is other:
        return True
    if type(one) is not type(other) or depth > 4:
        return False
    if isinstance(one, SIMPLE) or OmegaConf.is_config(one):
        return bool(one == other)
    if isinstance(one, Tensor):  # state, which goes into every step
        return True
    if isinstance(one, list | tuple):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(_alike(*pair, depth + 1) for pair in pairs)
    if isinstance(one, dict):
        same = one.keys() == other.keys()
        return same and all(_alike(one[k], other[k], depth + 1) for k in one)
    # Objects of the same class that hold the same, such as a loss function.
    return hasattr(one, "__dict__") and _alike(vars(one), vars(other), depth + 1)


class _Guarded:
    """Mixed into the class of a part that stands for all: what members do not share is not read."""

    unshared: dict[str, str]  # name → path

    def __getattr__(self, name: str) -> Any:
        if name in type(self).unshared:
            raise Differs(type(self).unshared[name])
        return super().__getattr__(name)  # type: ignore[misc]


class _Hyperparameters(dict[str, Any]):
    """`hparams` of the model that stands for all."""

    unshared: frozenset[str] = frozenset()

    def __getitem__(self, key: str) -> Any:
        if key in self.unshared:
            raise Differs(f"hparams.{key}")
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401  it is what `get` is

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(key) from None


def stand_in(model: pl.LightningModule, members: Sequence[pl.LightningModule]) -> None:
    """Make a copy of a member stand for all: what they do not share, nobody reads unnoticed.

    Dropout is the exception: a layer's share becomes one of each member.

    Arguments:
        model: the copy.
        members: of one shape.
    """
    unshared: dict[str, dict[str, str]] = {}
    for path, values in differing(members).items():
        owner, _, name = path.rpartition(".")
        part = model.get_submodule(owner)
        if name == "p" and isinstance(part, _DropoutNd):
            part.p = PerMember(values)  # type: ignore[assignment]
            continue
        del vars(part)[name]
        unshared.setdefault(owner, {})[name] = path
    for owner, names in unshared.items():
        part = model.get_submodule(owner)
        kind = type(part)
        part.__class__ = type(kind.__name__, (_Guarded, kind), {"unshared": names})
    for part in model.modules():
        if isinstance(part, _DropoutNd) and part.p == 0:
            vars(part)["forward"] = partial(_dropped, part)
        # They look at values to warn of, which is control flow by data; a run alone still does.
        if isinstance(part, Metric) and hasattr(part, "validate_args"):
            part.validate_args = False
        if isinstance(part, BaseAggregator):  # NaN counts, and the member will have diverged
            part.nan_strategy = "disable"
    hyperparameters = [dict(m.hparams) for m in members]
    first = hyperparameters[0]
    keys = {k for h in hyperparameters for k in h if not _alike(h[k], first.get(k))}
    kept = _Hyperparameters(first)
    kept.unshared = frozenset(keys)
    vars(model)["_hparams"] = kept


def _dropped(part: _DropoutNd, x: Tensor) -> Tensor:
    """What a layer gives that drops nothing: torch would ask vmap for random numbers all the same,
    and each step would have to be watched for them."""
    return x if part.p == 0 else type(part).forward(part, x)


def value_at(model: pl.LightningModule, where: str) -> str:
    """What a model has at the path of a `Differs`, as text to group members by."""
    owner, _, name = where.rpartition(".")
    if owner == "hparams":
        return repr(model.hparams[name])
    return repr(vars(model.get_submodule(owner))[name])
