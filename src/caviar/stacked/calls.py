"""A step of one member, run for all of them at once by `torch.func.vmap`.

Everything that the step reads goes in with an axis of members, and everything that it changes comes
out with one: parameters, buffers, tensors in attributes (`caviar.stacked.state`), what it logs, and
random numbers (`caviar.stacked.draws`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

from caviar.base.errors import fault_of
from caviar.base.result import OUT_OF_MEMORY
from caviar.stacked.draws import Draws, PerMember
from caviar.stacked.errors import Differs, NotStackable, OutOfMemory
from caviar.stacked.logged import Call, Log
from caviar.stacked.state import (
    Appended,
    Kept,
    State,
    emptied,
    keepers,
    plain_of,
    put,
    state_of,
)

NO_BATCH: Any = object()
LOOKED_AT = 2  # first steps, behind which `settle` looks at once; then at the end


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


@dataclass
class _Way:
    """How a hook's steps are run; what costs time is left out until one turns out to need it."""

    draws: bool = False
    """With `Draws` in force."""
    aside: bool = True
    """With lists that are only appended to left outside."""
    counts: bool | None = None
    """Whether it changes plain attributes; None before the first step."""


@dataclass
class _Watched:
    """Steps since which nobody else should have drawn."""

    hook: str
    states: tuple[Any, ...]
    steps: int = 0


class Stack:
    """The module that stands for all members while a step runs.

    Arguments:
        template: one of them, whose own tensors are never used.
        draws: random numbers of the members.
    """

    def __init__(self, template: nn.Module, draws: Draws) -> None:
        self.template, self.draws = template, draws
        self._method = _Method(template)
        self._keepers = keepers(template)
        self._ways: dict[str, _Way] = {}  # by hook
        self.watched: _Watched | None = None

    def step(
        self,
        hook: str,
        parameters: dict[str, Tensor],
        buffers: dict[str, Tensor],
        state: State,
        batch: Any = NO_BATCH,
        batch_axis: int | None = None,
        *args: Any,
    ) -> Done:
        """Run `training_step` or another hook; buffers are changed in place.

        Arguments:
            hook: the method's name.
            parameters: by name; shape (members, …) each.
            buffers: likewise.
            state: likewise, by the attribute's path.
            batch: of all members, with an axis of them in front; or one batch for all. Left out for
                a hook between steps.
            batch_axis: 0, or None for the same batch.
            args: what follows the batch.

        Raises:
            NotStackable: the step does what cannot be done for all members at once.
            Differs: it reads an attribute that not all of them share.
        """
        watched = self.watched = self.watched or _Watched(hook, _global_states())
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
            parts = list(inputs)
            for i, leaf in fixed:
                parts.insert(i, leaf)
            batch = tree_unflatten(parts, spec)
            put(self.template, {path: state[path].value(t) for path, t in tensors.items()})
            put(self.template, {path: Appended() for path in state.keys() - tensors.keys()})
            given = () if batch is NO_BATCH else (batch, *args)
            log = Log(self.template, hook, given[0] if given else None)
            vars(self.template)["log"] = log
            self.draws.member = member
            after: State = {}
            try:
                all_of = {f"of.{k}": v for k, v in (parameters | buffers).items()}
                loss = functional_call(self._method, all_of, (hook, *given))
            finally:
                self.draws.member = None
                del vars(self.template)["log"]
                after = state_of(self.template, self._keepers)
                emptied(self.template, {**state, **after})
            told["calls"], told["kept"] = log.calls, after
            told["loss"] = loss is not None
            values = [c.value for c in log.calls if c.metric is None]
            changed = {k: all_of[f"of.{k}"] for k in buffers}
            kept = {path: kept.tensors for path, kept in after.items()}
            return loss_of(loss), values, changed, kept

        first = next(iter(parameters.values()))
        self.draws.count = len(first)
        members = torch.arange(len(first), device=first.device)
        axes = (0, 0, 0, None if batch_axis is None else 0, 0)

        def run(way: _Way) -> Any:
            told["set_aside"] = aside = {p for p, k in state.items() if way.aside and k.grows}
            tensors = {path: kept.tensors for path, kept in state.items() if path not in aside}
            # "same" lets a function that is not known here draw once, which `settle` notices.
            every = vmap(one, in_dims=axes, randomness="same" if way.draws else "error")
            with self.draws if way.draws else nullcontext():
                return every(parameters, buffers, tensors, inputs, members)

        try:
            loss, values, changed, kept = self._tried(hook, run)
        except (NotStackable, Differs):
            raise
        except Exception as error:
            if fault_of(error) == OUT_OF_MEMORY:
                raise OutOfMemory from error
            raise NotStackable(f"{hook} {_why(error)}") from error
        watched.steps += 1
        if watched.steps <= LOOKED_AT:
            self.settle()
            self.watched = watched
        with torch.no_grad():
            for name, new in changed.items():
                if new is not buffers[name]:
                    buffers[name].copy_(new)
        left = iter(values)
        by_call = [None if call.metric is not None else next(left) for call in told["calls"]]
        after: State = {path: Kept(k.spec, k.plain, kept[path]) for path, k in told["kept"].items()}
        for path in told["set_aside"]:
            after[path] = state[path].grown(after[path]) if path in after else state[path]
        return Done(loss if told["loss"] else None, told["calls"], by_call, after)

    def _tried(self, hook: str, run: Callable[[_Way], Any]) -> Any:
        """Run a step the cheapest way that it allows, which the first ones find out."""
        way = self._ways.setdefault(hook, _Way())
        while True:
            # What a step has counted before it turned out to need another way.
            plain = plain_of(self.template) if way.counts is not False else None
            try:
                done = run(way)
            except Exception as error:
                if isinstance(error, Differs) or fault_of(error) == OUT_OF_MEMORY:
                    raise
                drew = "randomness" in str(error) or PerMember.__name__ in str(error)
                if not way.draws and drew:
                    way.draws = True
                elif way.aside:
                    way.aside = False
                else:
                    raise
                if plain is not None:
                    put(self.template, plain)
                continue
            if way.counts is None:
                way.counts = plain != plain_of(self.template)
            return done

    def settle(self) -> None:
        """The steps of an epoch, or of a validation, are over: refuse them if they have drawn, from
        the generators of the process, what would be the same for all members.

        Raises:
            NotStackable: they have.
        """
        watched, self.watched = self.watched, None
        if watched is not None and _global_states() != watched.states:
            raise NotStackable(
                f"{watched.hook} draws random numbers in a way that is not known here, and they "
                "would be the same for all"
            )


def loss_of(returned: Any) -> Tensor:
    """What Lightning takes for the loss of a step; zero for a step without one."""
    if isinstance(returned, dict):
        returned = returned.get("loss")
    if returned is None:
        return torch.zeros(())
    if not isinstance(returned, Tensor):
        return torch.zeros(())
    return returned.reshape(()) if returned.numel() == 1 else returned.mean()


def _global_states() -> tuple[Any, ...]:
    """Where the generators are that a step should not draw from."""
    numpy: Any = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), numpy[2], random.getstate()[1][-1]


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
