"""The members of a stack: each built as a run alone builds itself, and held against the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from caviar.base.result import Result
from caviar.config.compose import build
from caviar.stacked.draws import PerMember
from caviar.stacked.errors import Differs, NotStackable
from caviar.stacked.state import attributes
from caviar.training.callbacks import BestMetric
from caviar.training.modules import Module
from caviar.training.package import is_inherited
from caviar.training.streams import random_states

# Hooks that run between steps, for one member after the other.
BETWEEN = (
    "on_fit_start",
    "on_train_start",
    "on_train_epoch_start",
    "on_train_epoch_end",
    "on_validation_start",
    "on_validation_epoch_start",
    "on_validation_epoch_end",
    "on_validation_end",
    "on_train_end",
    "on_fit_end",
)
# What a module may write itself, and what a stack would have to do in its place.
REFUSED = (
    "backward",
    "configure_gradient_clipping",
    "lr_scheduler_step",
    "on_after_backward",
    "on_after_batch_transfer",
    "on_before_backward",
    "on_before_batch_transfer",
    "on_before_optimizer_step",
    "on_before_zero_grad",
    "on_train_batch_end",
    "on_train_batch_start",
    "on_validation_batch_end",
    "on_validation_batch_start",
    "optimizer_step",
    "optimizer_zero_grad",
    "train_dataloader",
    "transfer_batch_to_device",
    "val_dataloader",
    "clip_gradients",
    "manual_backward",
    "toggle_optimizer",
)
OF_TORCH = {*vars(nn.Module()), *vars(pl.LightningModule())}
SIMPLE = (int, float, str, bool, type(None))


@dataclass(eq=False)
class Member:
    """One training among others.

    Arguments:
        seed: of the run.
        output: its folder.
        model: built from its config, in the random state of its seed.
        best: follows its metric.
        clip: its `trainer.gradient_clip_val`.
        random: the states of the generators behind the building.
    """

    seed: int
    output: Path
    model: pl.LightningModule
    best: BestMetric
    clip: float | None
    random: dict[str, Any]
    data: Any = None
    number: int = 0
    """Of its trial."""
    optimizer: Any = None
    schedules: list[Any] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of metrics.csv."""
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the name of a checkpoint: what is to be written, but for its tensors."""
    should_stop: bool = False
    result: Result | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    """Known at its end."""
    epochs: int = 0
    steps: int = 0
    checkpoint: Path | None = None
    """Of its best epoch, once it is written."""


def built(config: DictConfig, output: Path) -> Member:
    """A member from its config, as `caviar.training.run.train` builds a run.

    Arguments:
        config: of the run; nothing of it is kept.
        output: its folder.
    """
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data = build("data", config.data, _convert_="all") if config.get("data") else None
    model = build("model", config.model, _convert_="all")
    if isinstance(model, Module):
        model.optimizer_config = _own(config.optimizer)
        model.scheduler_config = _own(config.scheduler)
        model.metric = config.metric.name
    best = BestMetric(config.metric.name, config.metric.mode)
    clip = config.trainer.get("gradient_clip_val")
    return Member(config.seed, output, model, best, clip, random_states(), data)


def _own(node: Any) -> Any:
    return None if node is None else OmegaConf.create(OmegaConf.to_container(node, resolve=True))


def shape_of(model: nn.Module) -> tuple[Any, ...]:
    """What models must have in common to be stacked: classes, and the shapes of their tensors."""
    parts = tuple((name, type(part)) for name, part in model.named_modules())
    tensors = (*model.named_parameters(), *model.named_buffers())
    shapes = tuple((n, tuple(t.shape), t.dtype, t.requires_grad) for n, t in tensors)
    return parts, shapes


def refuse_unstackable(model: pl.LightningModule) -> None:
    """Refuse a model by what its class does itself.

    Raises:
        NotStackable: it names the method.
    """
    if not model.automatic_optimization:
        raise NotStackable("the model steps its optimizers itself (automatic_optimization=False)")
    for name in REFUSED:
        if not is_inherited(model, name):
            raise NotStackable(f"the model has a {name} of its own")


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
    hyperparameters = [dict(m.hparams) for m in members]
    first = hyperparameters[0]
    keys = {k for h in hyperparameters for k in h if not _alike(h[k], first.get(k))}
    kept = _Hyperparameters(first)
    kept.unshared = frozenset(keys)
    vars(model)["_hparams"] = kept


def value_at(model: pl.LightningModule, where: str) -> str:
    """What a model has at the path of a `Differs`, as text to group members by."""
    owner, _, name = where.rpartition(".")
    if owner == "hparams":
        return repr(model.hparams[name])
    return repr(vars(model.get_submodule(owner))[name])


class MemberTrainer:
    """What a member, and who watches it, sees of the trainer of the whole stack."""

    def __init__(self, trainer: Any, member: Member, known: Mapping[str, Tensor]) -> None:
        self._trainer, self._member, self._known = trainer, member, known
        self.place = 0  # in the stack

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)

    @property
    def callback_metrics(self) -> dict[str, Tensor]:
        return {name: values[self.place] for name, values in self._known.items()}

    @property
    def lightning_module(self) -> pl.LightningModule:
        return self._member.model

    model = lightning_module

    @property
    def should_stop(self) -> bool:
        return self._member.should_stop

    @should_stop.setter
    def should_stop(self, stop: bool) -> None:
        self._member.should_stop = self._member.should_stop or stop

    @property
    def optimizers(self) -> list[Any]:
        return [self._member.optimizer]

    @property
    def lr_scheduler_configs(self) -> list[Any]:
        return self._member.schedules

    @property
    def loggers(self) -> list[Any]:
        return [Rows(self._member)]


class Rows:
    """A logger that keeps rows until its member has ended."""

    def __init__(self, member: Member) -> None:
        self.member = member

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add a row of metrics.csv."""
        values = {k: v.item() if isinstance(v, Tensor) else v for k, v in metrics.items()}
        self.member.rows.append({**values, "step": step})

    def save(self) -> None:
        """Nothing: the file is written once."""
