"""The members of a stack: each built as a run alone builds itself, and held against the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from caviar.base.result import Result
from caviar.config.compose import build
from caviar.stacked.errors import NotStackable
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
        common: what its config must have in common with those of its stack, as text.
    """

    seed: int
    output: Path
    model: pl.LightningModule
    best: BestMetric
    clip: float | None
    random: dict[str, Any]
    common: str
    data: Any = None
    begun: Any = None
    """What it goes on from (`caviar.stacked.begun`); None for its beginning."""
    number: int = 0
    """Of its trial."""
    optimizer: Any = None
    schedules: list[Any] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of metrics.csv."""
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the name of a checkpoint: what is to be written, but for its tensors."""
    stoppers: list[Any] = field(default_factory=list)
    """Its own EarlyStopping callbacks."""
    should_stop: bool = False
    result: Result | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    """Known at its end."""
    epochs: int = 0
    steps: int = 0
    checkpoint: Path | None = None
    """Of its best epoch, once it is written."""

    def shape(self) -> tuple[Any, ...]:
        """What members of a stack have in common in which nothing is filled up."""
        return self.common, self._trained, shape_of(self.model)

    def build(self) -> tuple[Any, ...]:
        """What members of any stack have in common: all but the sizes of their tensors."""
        return self.common, self._trained, build_of(self.model)

    @property
    def _trained(self) -> int:
        """Steps that it has been trained before."""
        return 0 if self.begun is None else self.begun.steps

    @property
    def size(self) -> int:
        """Numbers in its parameters."""
        return sum(p.numel() for p in self.model.parameters())


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
    return Member(config.seed, output, model, best, clip, random_states(), _common(config), data)


def _common(config: DictConfig) -> str:
    """Of data, all but the seed; of the trainer, all but what members may differ in."""
    data: Any = OmegaConf.to_container(config.data, resolve=True) if config.get("data") else {}
    trainer: Any = OmegaConf.to_container(config.trainer, resolve=True)
    data.pop("seed", None)
    for key in ("gradient_clip_val", "default_root_dir"):
        trainer.pop(key, None)
    return repr((data, trainer, config.metric.name, config.metric.mode))


def _own(node: Any) -> Any:
    return None if node is None else OmegaConf.create(OmegaConf.to_container(node, resolve=True))


def shape_of(model: nn.Module) -> tuple[Any, ...]:
    """What models must have in common to be stacked: classes, and the shapes of their tensors."""
    parts = tuple((name, type(part)) for name, part in model.named_modules())
    tensors = (*model.named_parameters(), *model.named_buffers())
    shapes = tuple((n, tuple(t.shape), t.dtype, t.requires_grad) for n, t in tensors)
    return parts, shapes


def build_of(model: nn.Module) -> tuple[Any, ...]:
    """As `shape_of`, but for the sizes."""
    parts, shapes = shape_of(model)
    return parts, tuple((name, len(shape), *others) for name, shape, *others in shapes)


# Layers whose work follows from the numbers in them, of which each example takes all once.
COUNTED = (nn.Linear, nn.LayerNorm, nn.Bilinear, nn.modules.batchnorm._NormBase)


def work_of(member: Member) -> float | None:
    """Multiplications of a forward pass of a batch; None if a layer takes its numbers otherwise,
    as a convolution does, or if the batch is of no known size."""
    size = getattr(member.data, "batch_size", None)
    parts = [p for p in member.model.modules() if any(True for _ in p.parameters(recurse=False))]
    if not isinstance(size, int) or not all(isinstance(part, COUNTED) for part in parts):
        return None
    return float(size * member.size)


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
