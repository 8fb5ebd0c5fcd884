"""Random numbers inside of a stacked step: each member's own, those that it draws alone.

`torch.func.vmap` would draw one set for all members, or one for each from a shared generator.
Here every function that draws is called once a member, in the random state of that member. What is
drawn by a function that is not known here ends in vmap's own refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from caviar.stacked.errors import NotStackable

# Functions of a size, or of a tensor whose shape alone counts.
OF_SIZE = {torch.rand, torch.randn, torch.randint, torch.randperm}
LIKE = {
    torch.rand_like: torch.rand,
    torch.randn_like: torch.randn,
    torch.randint_like: torch.randint,
}
IN_PLACE = {
    getattr(Tensor, name)
    for name in ("uniform_", "normal_", "exponential_", "random_", "geometric_", "log_normal_")
}
# How many dimensions, from the first on, a mask tells apart: of (batch, channel, …) the first two.
BY_CHANNEL = {F.dropout1d, F.dropout2d, F.dropout3d}


class PerMember:
    """A number that each member has its own of, such as the share that a layer drops."""

    def __init__(self, values: Sequence[float]) -> None:
        self.values = tuple(float(value) for value in values)

    def __repr__(self) -> str:
        return f"one of {len(self.values)}"

    def kept(self, alive: Sequence[int]) -> PerMember:
        """Of the members that are left."""
        return PerMember([self.values[i] for i in alive])


class Draws(TorchFunctionMode):
    """In force while a step of all members runs.

    Arguments:
        seeded: gives the random state with which a member begins this epoch; asked only if one of
            them draws.
    """

    def __init__(self, seeded: Callable[[int], Tensor]) -> None:
        super().__init__()
        self.seeded = seeded
        self.states: list[Tensor] | None = None  # by member; None: nothing drawn in this epoch
        self.member: Tensor | None = None  # inside of vmap: the number of the member, batched
        self.count = 0  # members
        self.uneven = False  # whether their tensors are of several widths

    def begin_epoch(self) -> None:
        """From now on every member draws from the state that its epoch begins with."""
        self.states = None

    def keep(self, alive: Sequence[int]) -> None:
        """Forget all members but these."""
        if self.states is not None:
            self.states = [self.states[i] for i in alive]

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.member is None:
            return func(*args, **kwargs)
        if func is F.dropout:
            return self._dropout(*args, **kwargs)
        if func in BY_CHANNEL:
            return self._dropout(*args, **{**kwargs, "dims": 2})
        if func in OF_SIZE and kwargs.get("generator") is None:
            return self._each(lambda _: func(*args, **kwargs))
        if func in LIKE:
            return self._like(LIKE[func], *args, **kwargs)
        if func is torch.bernoulli or func is Tensor.bernoulli_:
            return self._bernoulli(func, *args, **kwargs)
        if func in IN_PLACE and kwargs.get("generator") is None:
            target, *rest = args
            shape = target.shape
            kind: Any = {"dtype": target.dtype, "device": target.device}
            drawn = self._each(lambda _: func(torch.empty(shape, **kind), *rest, **kwargs))
            return target.copy_(drawn)
        return func(*args, **kwargs)

    def _each(self, draw: Callable[[int], Tensor]) -> Tensor:
        """What every member draws in its own random state, batched."""
        assert self.member is not None
        if self.uneven:  # each would draw for its own width
            raise NotStackable("the model draws random numbers in a step, and their widths differ")
        with torch._C.DisableTorchFunction():
            if self.states is None:
                self.states = [self.seeded(i) for i in range(self.count)]
            before = torch.get_rng_state()
            drawn = []
            for i in range(self.count):
                torch.set_rng_state(self.states[i])
                drawn.append(draw(i))
                self.states[i] = torch.get_rng_state()
            torch.set_rng_state(before)
            # A gather by a batched index is how a stacked tensor becomes each member's own.
            return torch.stack(drawn).index_select(0, self.member.view(1)).squeeze(0)

    def _dropout(
        self,
        input: Tensor,
        p: Any = 0.5,
        training: bool = True,
        inplace: bool = False,
        dims: int = 0,
    ) -> Tensor:
        shares = p.values if isinstance(p, PerMember) else (float(p),) * self.count
        if not training or not any(shares):
            return input
        shape = list(input.shape)
        if dims:  # one decision a channel, as torch's own
            if input.dim() < 3:
                raise NotStackable("dropout by channel of inputs without a batch is not stacked")
            shape[dims:] = [1] * (input.dim() - dims)
        kind: Any = {"dtype": input.dtype, "device": input.device}

        def mask(i: int) -> Tensor:
            if shares[i] == 0:  # torch draws nothing then
                return torch.ones(shape, **kind)
            if shares[i] == 1:
                return torch.zeros(shape, **kind)
            return torch.empty(shape, **kind).bernoulli_(1 - shares[i]).div_(1 - shares[i])

        mask_of_member = self._each(mask)
        return input.mul_(mask_of_member) if inplace else input * mask_of_member

    def _like(self, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        kwargs.pop("memory_format", None)
        kind: Any = {"dtype": input.dtype, "device": input.device, **kwargs}
        shape = input.shape
        return self._each(lambda _: func(*args, tuple(shape), **kind))

    def _bernoulli(self, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        share = args[0] if args else kwargs.get("p", 0.5 if func is Tensor.bernoulli_ else None)
        if kwargs.get("generator") is not None or not isinstance(share, float | int):
            raise NotStackable("bernoulli() with a share of every element is not stacked")
        shape = input.shape
        kind: Any = {"dtype": input.dtype, "device": input.device}
        drawn = self._each(lambda _: torch.empty(shape, **kind).bernoulli_(float(share)))
        return input.copy_(drawn) if func is Tensor.bernoulli_ else drawn
