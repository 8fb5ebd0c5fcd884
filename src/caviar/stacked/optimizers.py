"""SGD, Adam and AdamW over stacked parameters, each member with settings of its own.

The arithmetic is torch's, in its order, so that a member comes to the numbers that its own
optimizer gives it. Settings are read from the members' own optimizers, which their own schedules
write into; so any schedule works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from caviar.stacked.errors import NotStackable

# Settings that each member may have its own of; all others must agree.
NUMBERS = ("lr", "momentum", "dampening", "weight_decay", "betas", "eps")
SKIPPED = {"params", "param_names", "foreach", "fused"}
# What schedules leave in a group as their mark.
SKIPPED |= {"initial_lr", "max_lr", "min_lr", "max_momentum", "min_momentum", "base_momentum"}


class StackedOptimizer(Optimizer):
    """One torch optimizer for the stacked parameters of all members.

    Arguments:
        own: the members' optimizers, over their own parameters.
        stacked: by the identity of a parameter of the first member: its stacked one.
    """

    def __init__(self, own: Sequence[Optimizer], stacked: dict[int, Tensor]) -> None:
        self.own = list(own)
        first = self.own[0]
        self.kind = type(first)
        if self.kind not in STEPS:
            raise NotStackable(f"{self.kind.__name__} is not among SGD, Adam and AdamW")
        groups = []
        for number, group in enumerate(first.param_groups):
            fixed = _fixed(group)
            for other in self.own[1:]:
                if len(other.param_groups) != len(first.param_groups) or (
                    _fixed(other.param_groups[number]) != fixed
                ):
                    raise NotStackable("the members' optimizers are not of one kind")
            if group.get("amsgrad") or group.get("differentiable") or group.get("capturable"):
                raise NotStackable("amsgrad and capturable optimizers are not stacked")
            groups.append({"params": [stacked[id(p)] for p in group["params"]], **fixed})
        super().__init__(groups, {})
        self.taken = 0  # steps
        self._values: list[_Columns] = []
        for optimizer in self.own:
            vars(optimizer)["_opt_called"] = True  # a schedule asks for it

    def changed(self) -> None:
        """A schedule has written other settings into the members' optimizers."""
        self._values = []

    def keep(self, alive: Sequence[int], index: Tensor) -> None:
        """Forget all members but these; the stacked parameters have been cut already."""
        self.own = [self.own[i] for i in alive]
        for p, state in self.state.items():
            for name, value in state.items():
                state[name] = value[index][(slice(None), *map(slice, p.shape[1:]))].contiguous()
        self.changed()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every member."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        step = STEPS[self.kind]
        if not self._values:
            groups = range(len(self.param_groups))
            self._values = [_Columns(step.fixed(self._settings(i))) for i in groups]
        self.taken += 1
        for group, settings in zip(self.param_groups, self._values, strict=True):
            settings.put(step.moving(settings, self.taken))
            for p in group["params"]:
                if p.grad is not None:
                    grad = p.grad.neg_() if group.get("maximize") else p.grad
                    step.take(p, grad, self.state[p], settings, group)
        return loss

    def _settings(self, number: int) -> dict[str, Any]:
        """The numbers of a group, as columns of float64 over the members."""
        groups = [optimizer.param_groups[number] for optimizer in self.own]
        device = self.param_groups[number]["params"][0].device
        columns: dict[str, Any] = {}
        for name in NUMBERS:
            if name not in groups[0]:
                continue
            values = [group[name] for group in groups]
            if name == "betas":
                for i in (0, 1):
                    columns[f"beta{i + 1}"] = _column([v[i] for v in values], device)
            else:
                columns[name] = _column(values, device)
        return columns

    def state_dict(self) -> dict[str, Any]:
        """Of the stack, for its own checkpoint."""
        return {**super().state_dict(), "taken": self.taken}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.taken = state_dict["taken"]
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "taken"})

    def tensors(self) -> dict[str, Tensor]:
        """What the optimizer keeps of the parameters, by name; with an axis of members."""
        numbered = enumerate(p for group in self.param_groups for p in group["params"])
        return {
            f"optimizer.{i}.{name}": value
            for i, p in numbered
            for name, value in self.state.get(p, {}).items()
        }

    def state_of(
        self,
        tensors: Mapping[str, Tensor],
        groups: Sequence[dict[str, Any]],
        taken: int,
    ) -> dict[str, Any]:
        """A member's `state_dict()`, as its own optimizer would give it.

        Arguments:
            tensors: as `tensors` gives them, the member's own part of each.
            groups: its settings, without parameters.
            taken: steps.
        """
        state: dict[int, dict[str, Any]] = {}
        numbered, count = [], 0
        for group, own in zip(self.param_groups, groups, strict=True):
            numbers = [*range(count, count := count + len(group["params"]))]
            numbered.append({**own, "params": numbers})
            for i in numbers:
                parts = ((n, f"optimizer.{i}.{n}") for n in KEPT[self.kind])
                found: dict[str, Any] = {n: tensors[key] for n, key in parts if key in tensors}
                if self.kind is SGD and not own["momentum"]:
                    found = {"momentum_buffer": None}  # as torch has it
                elif self.kind is not SGD and found:
                    found = {"step": torch.tensor(float(taken)), **found}
                if found:
                    state[i] = found
        return {"state": state, "param_groups": numbered}


def _fixed(group: dict[str, Any]) -> dict[str, Any]:
    fixed = {k: v for k, v in group.items() if k not in NUMBERS and k not in SKIPPED}
    return {**fixed, "dimensions": [p.dim() for p in group["params"]]}


def _column(values: Sequence[Any], device: Any) -> Tensor:
    return torch.tensor([float(v) for v in values], dtype=torch.float64, device=device)


class _Columns(dict[str, Any]):
    """Numbers by member, each a column of float64, as they are multiplied with parameters."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self._made: dict[Any, Tensor] = {}

    def put(self, values: Mapping[str, Any]) -> None:
        """Set other values under their names."""
        self.update(values)
        self._made = {key: made for key, made in self._made.items() if key[0] not in values}

    def like(self, name: str, p: Tensor) -> Tensor:
        """A column of the precision and dimensions of a stacked parameter."""
        key = name, p.dtype, p.dim()
        if key not in self._made:
            self._made[key] = self[name].to(p.dtype).view(-1, *[1] * (p.dim() - 1))
        return self._made[key]


# `fixed` follows from the settings until a schedule changes them, and `moving` follows from
# the number of the step. `take` changes what it is given in place, the gradient too: a temporary of
# all members' parameters is megabytes, and to get the memory takes longer than to compute.


class _SGD:
    @staticmethod
    def fixed(values: dict[str, Any]) -> dict[str, Any]:
        some = {n: bool(values[n].any()) for n in ("momentum", "weight_decay", "dampening")}
        return {**values, "undamped": 1 - values["dampening"], "some": some}

    @staticmethod
    def moving(values: Mapping[str, Any], taken: int) -> dict[str, Any]:
        return {}

    @staticmethod
    def take(
        p: Tensor, grad: Tensor, state: dict[str, Any], values: _Columns, group: dict[str, Any]
    ) -> None:
        some = values["some"]
        if some["weight_decay"]:
            grad.addcmul_(p, values.like("weight_decay", p))
        if some["momentum"]:
            momentum = values.like("momentum", p)
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = state["momentum_buffer"] = grad.clone()
            elif some["dampening"]:
                buffer.mul_(momentum).addcmul_(grad, values.like("undamped", p))
            else:
                buffer.mul_(momentum).add_(grad)
            grad = grad.addcmul_(buffer, momentum) if group["nesterov"] else buffer
        p.addcmul_(grad, values.like("lr", p), value=-1)


class _Adam:
    decoupled = False

    @staticmethod
    def fixed(values: dict[str, Any]) -> dict[str, Any]:
        decay = values["weight_decay"]
        return {
            **values,
            "left": 1 - values["lr"] * decay,
            "mixed": 1 - values["beta1"],
            "squared": 1 - values["beta2"],
            "decays": bool(decay.any()),
        }

    @staticmethod
    def moving(values: Mapping[str, Any], taken: int) -> dict[str, Any]:
        one, two = 1 - values["beta1"] ** taken, 1 - values["beta2"] ** taken
        return {"size": values["lr"] / one, "root": two.sqrt()}

    @classmethod
    def take(
        cls, p: Tensor, grad: Tensor, state: dict[str, Any], values: _Columns, group: dict[str, Any]
    ) -> None:
        if not state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        if values["decays"]:
            if cls.decoupled or group.get("decoupled_weight_decay"):
                p.mul_(values.like("left", p))
            else:
                grad.addcmul_(p, values.like("weight_decay", p))
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(grad, values.like("mixed", p).expand_as(p))
        square.mul_(values.like("beta2", p))
        square.addcmul_(grad.mul_(grad), values.like("squared", p))
        denominator = torch.sqrt(square, out=grad)
        denominator.div_(values.like("root", p)).add_(values.like("eps", p))
        p.addcmul_(torch.div(mean, denominator, out=grad), values.like("size", p), value=-1)


class _AdamW(_Adam):
    decoupled = True


KEPT: dict[type[Optimizer], tuple[str, ...]] = {
    SGD: ("momentum_buffer",),
    Adam: ("exp_avg", "exp_avg_sq"),
    AdamW: ("exp_avg", "exp_avg_sq"),
}
STEPS: dict[type[Optimizer], Any] = {SGD: _SGD, Adam: _Adam, AdamW: _AdamW}


class StackedSchedule:
    """The members' own schedules, stepped together; each writes into its member's optimizer.

    Arguments:
        own: by member.
        optimizer: the stacked one, which reads what they write.
        followed: gives the metric of each member that a ReduceLROnPlateau follows; None for others.
    """

    def __init__(
        self,
        own: Sequence[Any],
        optimizer: StackedOptimizer,
        followed: Callable[[], Sequence[float]] | None,
    ) -> None:
        self.own, self.optimizer, self.followed = list(own), optimizer, followed

    def step(self, *_: Any) -> None:
        """What Lightning calls when a step, or an epoch, has ended."""
        if self.followed is None:
            for schedule in self.own:
                schedule.step()
        else:
            for schedule, value in zip(self.own, self.followed(), strict=True):
                schedule.step(value)
        self.optimizer.changed()

    def keep(self, alive: Sequence[int]) -> None:
        """Forget all members but these."""
        self.own = [self.own[i] for i in alive]

    def state_dict(self) -> dict[str, Any]:
        """Of all members, for a checkpoint of the stack."""
        return {"own": [schedule.state_dict() for schedule in self.own]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        for schedule, own in zip(self.own, state["own"], strict=True):
            schedule.load_state_dict(own)
        self.optimizer.changed()
