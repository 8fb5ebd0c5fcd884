"""The module that Lightning trains: all members as one.

To Lightning it is a model like any other, so that loops, epochs, precision, accumulation and the
lengths of a training are Lightning's own. What it does in a step, it does for every member.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import (
    _configure_optimizers,
    _configure_schedulers_automatic_opt,
)
from torch import Tensor
from torch.utils._pytree import tree_map

from caviar.stacked.errors import Differs, NotStackable
from caviar.stacked.logged import Collected, Log
from caviar.stacked.members import Member
from caviar.stacked.optimizers import StackedOptimizer, StackedSchedule
from caviar.stacked.together import Together
from caviar.stacked.widths import alone, check_gradients, check_values


class StackedModule(Together):
    """Trains and validates its members together."""

    # -- steps

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if self.widths.uneven and self.probes is None:
            self.probes = self._alone("training_step", batch, batch_idx)
        done = self._step("training_step", batch, batch_idx)
        if done.loss is None:
            raise NotStackable("training_step returns no loss")
        if self.probes:
            check_values([done.loss.detach()], [torch.stack([loss for loss, _, _ in self.probes])])
        self.training_logs.add(done.calls, done.values)
        self._note_steps()
        return done.loss.sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if not self.one_by_one:
            try:
                theirs = None
                if self.widths.uneven and not self.validated:
                    theirs = self._alone("validation_step", batch, batch_idx)
                done = self._step("validation_step", batch, batch_idx)
            except (NotStackable, Differs):
                self.one_by_one, self.stack.watched = True, None
            else:
                if theirs is not None:
                    values = [value for value in done.values if value is not None]
                    columns = zip(*(logged for _, logged, _ in theirs), strict=True)
                    check_values(values, [torch.stack(list(column)) for column in columns])
                self.validated = True
                self.validation_logs.add(done.calls, done.values)
                return
        axis = self._axis(batch)

        def one(place: int, member: Member) -> None:
            own = batch if axis is None else _part(batch, place)
            log.batch = own
            arguments = _accepted(member.model.validation_step, own, batch_idx)
            member.model.validation_step(*arguments)

        log = Log(self.members[0].model, "validation_step")
        self._each(one, log, self.validation_logs)

    def _step(self, hook: str, batch: Any, batch_idx: int) -> Any:
        arguments = _accepted(getattr(self.template, hook), batch, batch_idx)[1:]
        axis = self._axis(batch)
        done = self.stack.step(
            hook,
            self.parameters_of_all(),
            self.buffers_of_all(),
            self.state,
            batch.of_all if axis is None else batch,
            axis,
            *arguments,
        )
        self.state = done.state
        return done

    def _alone(self, hook: str, batch: Any, batch_idx: int) -> list[Any]:
        """A step of each member by itself, for what nothing but a comparison can tell."""
        arguments = _accepted(getattr(self.template, hook), batch, batch_idx)[1:]
        axis, models = self._axis(batch), [member.model for member in self.members]
        batches = [batch.of_all if axis is None else _part(batch, i) for i in range(len(models))]
        return [alone(m, hook, own, *arguments) for m, own in zip(models, batches, strict=True)]

    def on_after_backward(self) -> None:
        if not self.widths.uneven:
            return
        if self.masks is None:
            pairs = zip(self.names, self.stacked, strict=True)
            self.masks = [self.widths.mask(name, p.data) for name, p in pairs]
        for p, mask in zip(self.stacked, self.masks, strict=True):
            if mask is not None and p.grad is not None:
                p.grad.mul_(mask)
        if self.probes:
            probes = [probe for _, _, probe in self.probes]
            check_gradients(self.names, list(self.stacked), self.widths, probes)
            self.probes = []  # it was compared; no more

    def keep(self, alive: Sequence[int]) -> None:
        super().keep(alive)
        self.masks = None

    def _axis(self, batch: Any) -> int | None:
        return None if isinstance(batch, Shared) else 0

    def _note_steps(self) -> None:
        """What is logged by the step: the latest values, and now and then a row."""
        values = self.training_logs.of_steps()
        if not values:
            return
        self.known.update(values)
        done = self.trainer.fit_loop.epoch_loop._batches_that_stepped
        every: int = getattr(self.trainer, "log_every_n_steps")  # noqa: B009  not declared
        if (done + 1) % every == 0:
            self.write_rows(values, done)

    # -- Lightning's hooks

    def configure_optimizers(self) -> Any:
        # By now Lightning has moved the stacked tensors to their device and precision.
        for kept in self.state.values():
            kept.tensors = [self._placed(tensor) for tensor in kept.tensors]
        self.point_members()
        own, schedules = [], []
        for member in self.members:
            made: Any = member.model.configure_optimizers()
            optimizers, found, monitor = _configure_optimizers(made)
            if len(optimizers) != 1:
                raise NotStackable(f"the model has {len(optimizers)} optimizers")
            member.optimizer = optimizers[0]
            member.schedules = _configure_schedulers_automatic_opt(found, monitor)
            own.append(member.optimizer)
            schedules.append(member.schedules)
        named = dict(self.members[0].model.named_parameters())
        together = self.parameters_of_all()
        optimizer = StackedOptimizer(own, {id(p): together[n] for n, p in named.items()})
        names = {id(p): name for name, p in together.items()}
        self.widths.numbered = [
            names[id(p)] for group in optimizer.param_groups for p in group["params"]
        ]
        if self.widths.uneven and any(g.get("eps") == 0 for o in own for g in o.param_groups):
            raise NotStackable("their widths differ, and with eps=0 zeros do not stay zeros")
        if any(len(found) != len(schedules[0]) for found in schedules):
            raise NotStackable("not all members have a schedule")
        configs = []
        for same in zip(*schedules, strict=True):
            ways = {(c.interval, c.frequency, c.reduce_on_plateau, c.monitor) for c in same}
            if len(ways) > 1:
                raise NotStackable("the members' schedules are not stepped alike")
            first = same[0]
            followed = None
            if first.reduce_on_plateau:
                if first.interval == "step":
                    raise NotStackable("a schedule that follows a metric by the step")
                followed = self._followed(str(first.monitor))
            schedule = StackedSchedule([c.scheduler for c in same], optimizer, followed)
            way = {"interval": first.interval, "frequency": first.frequency}
            follows = {"reduce_on_plateau": first.reduce_on_plateau, "monitor": first.monitor}
            configs.append({"scheduler": schedule, **way, **follows})
        return [optimizer], configs

    def _placed(self, tensor: Tensor) -> Tensor:
        like = self.stacked[0]
        return tensor.to(like.device, like.dtype if tensor.is_floating_point() else None)

    def _followed(self, monitor: str) -> Callable[[], list[float]]:
        self.monitors.add(monitor)
        return lambda: self.known[monitor].tolist()

    def _announce(self) -> None:
        """Let Lightning know that there is a value of what schedules follow, by member."""
        for monitor in self.monitors & self.known.keys():
            self.log(monitor, 0.0)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        scheduler.step()

    @torch.no_grad()
    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: Any = None,
        gradient_clip_algorithm: Any = None,
    ) -> None:
        clips = [member.clip or math.inf for member in self.members]
        gradients = [p.grad for p in self.stacked if p.grad is not None]
        if all(map(math.isinf, clips)) or not gradients:
            return
        limit = torch.tensor(clips, dtype=gradients[0].dtype, device=gradients[0].device)
        if str(gradient_clip_algorithm or "norm").rpartition(".")[2].lower() == "value":
            for g in gradients:
                bound = limit.view(-1, *[1] * (g.dim() - 1))
                g.copy_(torch.maximum(torch.minimum(g, bound), -bound))
            return
        # As torch's clip_grad_norm_: the norm of the norms.
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients])
        share = (limit / (norms.norm(dim=0) + 1e-6)).clamp(max=1.0)
        share = torch.where(limit.isinf(), torch.ones_like(share), share)
        for g in gradients:
            g.mul_(share.view(-1, *[1] * (g.dim() - 1)))

    def on_fit_start(self) -> None:
        self.between("on_fit_start", Collected())

    def on_train_start(self) -> None:
        self.restore_settings()
        # Caviar's own says what a resumed run does not apply; nothing here was resumed.
        self.hooks.discard("on_train_start") if _is_ours(self.members[0].model) else None
        self.between("on_train_start", self.training_logs)

    def on_train_epoch_start(self) -> None:
        self.draws.begin_epoch()
        self.between("on_train_epoch_start", self.training_logs)

    def on_validation_model_zero_grad(self) -> None:
        self.stack.settle()  # before the validation's loader is made, which draws
        super().on_validation_model_zero_grad()

    def on_validation_model_eval(self) -> None:
        modes = [(part, part.training) for part in self.template.modules()]
        vars(self)["modes"] = modes
        for model in (self.template, *(member.model for member in self.members)):
            model.eval()

    def on_validation_model_train(self) -> None:
        self.stack.settle()
        for part, training in vars(self)["modes"]:
            part.training = training
        by_name = {name: part.training for name, part in self.template.named_modules()}
        for member in self.members:
            for name, part in member.model.named_modules():
                part.training = by_name[name]

    def on_validation_start(self) -> None:
        self.between("on_validation_start", self.validation_logs)

    def on_validation_epoch_start(self) -> None:
        self.between("on_validation_epoch_start", self.validation_logs)

    def on_validation_epoch_end(self) -> None:
        self.between("on_validation_epoch_end", self.validation_logs)
        if self.trainer.sanity_checking:
            self.validation_logs.entries.clear()
            return
        told = self.close(self.validation_logs)
        self._announce()
        self.write_rows(told, self.trainer.fit_loop.epoch_loop._batches_that_stepped)

    def on_validation_end(self) -> None:
        self.between("on_validation_end", Collected())

    def on_train_epoch_end(self) -> None:
        self.stack.settle()
        self.between("on_train_epoch_end", self.training_logs)
        told = self.close(self.training_logs)
        self._announce()
        self.write_rows(told, self.trainer.fit_loop.epoch_loop._batches_that_stepped - 1)

    def on_train_end(self) -> None:
        self.between("on_train_end", Collected())


def stacked_module(members: Sequence[Member], trainer: pl.Trainer, package: str) -> StackedModule:
    """A `StackedModule` of the Lightning that its members come from.

    Not by `adopted`: Lightning asks which hooks a module has of its own, and those of the other
    package would all be.
    """
    base = import_module(package).LightningModule
    kind = type(StackedModule.__name__, (StackedModule, base), {})
    module: StackedModule = kind(members, trainer)
    return module


class Shared(NamedTuple):
    """A batch that is the same for all members."""

    of_all: Any


def _is_ours(model: Any) -> bool:
    return type(model).on_train_start.__module__.startswith("caviar.")


def _accepted(method: Any, *arguments: Any) -> list[Any]:
    """As many of the arguments as a step takes."""
    parameters = inspect.signature(method).parameters.values()
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return list(arguments)
    return list(arguments[: len(parameters)])


def _part(batch: Any, place: int) -> Any:
    return tree_map(lambda leaf: leaf[place] if isinstance(leaf, Tensor) else leaf, batch)
