"""A step of one member, run for all of them at once by `torch.func.vmap`.

Everything that the step reads goes in with an axis of members, and everything that it changes comes
out with one: parameters, buffers, tensors in attributes (`caviar.stacked.state`), what it logs, and
random numbers (`caviar.stacked.draws`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

from caviar.base.errors import fault_of
from caviar.base.result import OUT_OF_MEMORY
from caviar.stacked.draws import Draws
from caviar.stacked.errors import Differs, NotStackable, OutOfMemory
from caviar.stacked.logged import Call, Log
from caviar.stacked.state import Kept, State, emptied, put, state_of


@dataclass
class Done:
    """What a step of all members gave."""

    loss: Tensor | None
    """Shape (members,); None where the step returned none."""
    calls: list[Call]
    values: list[Tensor | None]
    state: State


class _Method(nn.Module):
    """A method of a module as `forward`, which is what `functional_call` calls."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.of = module

    def forward(self, name: str, *args: Any) -> Any:
        return getattr(self.of, name)(*args)


class Stack:
    """The module that stands for all members while a step runs.

    Arguments:
        template: one of them, whose own tensors are never used.
        draws: random numbers of the members.
    """

    def __init__(self, template: nn.Module, draws: Draws) -> None:
        self.template, self.draws = template, draws
        self._method = _Method(template)

    def step(
        self,
        hook: str,
        parameters: dict[str, Tensor],
        buffers: dict[str, Tensor],
        state: State,
        batch: Any,
        batch_axis: int | None,
        *args: Any,
    ) -> Done:
        """Run `training_step` or `validation_step`; buffers are changed in place.

        Arguments:
            hook: the method's name.
            parameters: by name; shape (members, …) each.
            buffers: likewise.
            state: likewise, by the attribute's path.
            batch: of all members, with an axis of them in front; or one batch for all.
            batch_axis: 0, or None for the same batch.
            args: what follows the batch.

        Raises:
            NotStackable: the step does what cannot be done for all members at once.
            Differs: it reads an attribute that not all of them share.
        """
        leaves, spec = tree_flatten(batch)
        fixed = [(i, leaf) for i, leaf in enumerate(leaves) if not isinstance(leaf, Tensor)]
        inputs = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        told: dict[str, Any] = {}

        def one(
            parameters: dict[str, Tensor],
            buffers: dict[str, Tensor],
            tensors: dict[str, list[Tensor]],
            inputs: list[Tensor],
            member: Tensor,
        ) -> Any:
            given = list(inputs)
            for i, leaf in fixed:
                given.insert(i, leaf)
            batch = tree_unflatten(given, spec)
            put(self.template, {path: state[path].value(t) for path, t in tensors.items()})
            log = Log(self.template, hook, batch)
            vars(self.template)["log"] = log
            self.draws.member = member
            try:
                all_of = {f"of.{k}": v for k, v in (parameters | buffers).items()}
                loss = functional_call(self._method, all_of, (hook, batch, *args))
                after = state_of(self.template)
            finally:
                self.draws.member = None
                del vars(self.template)["log"]
                emptied(self.template, {**tensors, **state_of(self.template)})
            told["calls"], told["kept"] = log.calls, after
            told["loss"] = loss is not None
            values = [c.value for c in log.calls if c.metric is None]
            changed = {k: all_of[f"of.{k}"] for k in buffers}
            kept = {path: kept.tensors for path, kept in after.items()}
            return _loss(loss), values, changed, kept

        first = next(iter(parameters.values()))
        self.draws.count = len(first)
        members = torch.arange(len(first), device=first.device)
        before = _global_states()
        axes = (0, 0, 0, None if batch_axis is None else 0, 0)
        tensors = {path: kept.tensors for path, kept in state.items()}
        try:
            with self.draws:
                # "same" lets a function that is not known here draw once, which is noticed below.
                loss, values, changed, kept = vmap(one, in_dims=axes, randomness="same")(
                    parameters, buffers, tensors, inputs, members
                )
        except (NotStackable, Differs):
            raise
        except Exception as error:
            if fault_of(error) == OUT_OF_MEMORY:
                raise OutOfMemory from error
            raise NotStackable(f"{hook} {_why(error)}") from error
        if _global_states() != before:
            raise NotStackable(
                f"{hook} draws random numbers in a way that is not known here, and they would be "
                "the same for all"
            )
        with torch.no_grad():
            for name, new in changed.items():
                if new is not buffers[name]:
                    buffers[name].copy_(new)
        left = iter(values)
        by_call = [None if call.metric is not None else next(left) for call in told["calls"]]
        after: State = {path: Kept(k.spec, k.plain, kept[path]) for path, k in told["kept"].items()}
        return Done(loss if told["loss"] else None, told["calls"], by_call, after)


def _loss(returned: Any) -> Tensor:
    """What Lightning takes for the loss of a step; zero for a step without one."""
    if isinstance(returned, dict):
        returned = returned.get("loss")
    if returned is None:
        return torch.zeros(())
    if not isinstance(returned, Tensor):
        return torch.zeros(())
    return returned.reshape(()) if returned.numel() == 1 else returned.mean()


def _global_states() -> tuple[Any, ...]:
    """Of the generators that a step should not draw from."""
    numpy: Any = np.random.get_state()
    torchs = hash(torch.get_rng_state().numpy().tobytes())
    return torchs, hash(numpy[1].tobytes()), numpy[2], hash(random.getstate()[1])


def _why(error: Exception) -> str:
    """The reason as the end of a sentence."""
    words = " ".join(str(error).split())
    if "data-dependent" in words or ".item()" in words:
        return "decides in Python by the value of a tensor"
    if "randomness" in words or "random operation" in words:
        return "draws random numbers by a function that is not known here"
    if "No vmap" in words or "Batching rule" in words or "batching rule" in words:
        return f"uses an operation without a rule for stacking: {words[:120]}"
    return f"fails for all members at once: {type(error).__name__}: {words[:160]}"


def parts(names: Sequence[str], tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    """Tensors by their names."""
    return dict(zip(names, tensors, strict=True))
