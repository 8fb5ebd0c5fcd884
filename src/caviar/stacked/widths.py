"""Models of one build and of several widths in one stack: the narrower ones filled up with zeros.

A hidden unit whose weights are zero, those that lead to it and those that lead away from it, gives
nothing and learns nothing, if the gradients of what was filled up are set to zero too. In most
networks, that is: not where a layer takes a mean over its units (LayerNorm), say. Nobody guesses
which is which. The first batch of a training, and that of a validation, is computed for each member
alone as well, and a stack whose answers are others is given up (`caviar.stacked.run`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from caviar.stacked.calls import loss_of
from caviar.stacked.errors import NotStackable
from caviar.stacked.logged import Log

CLOSE = 1e-4  # relative, of what a member computes alone and in a stack
NOT_FILLED = "their widths differ, and filled up to one width they come to other results"


class Widths:
    """The shapes of the members' own tensors, inside of the stacked ones.

    Arguments:
        models: of one build: the same parts and names.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.shapes: dict[str, list[tuple[int, ...]]] = {}
        for model in models:
            for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                self.shapes.setdefault(name, []).append(tuple(tensor.shape))
        self.numbered: list[str] = []  # names of the optimizer's parameters, in its order

    @property
    def uneven(self) -> bool:
        """Whether something is filled up."""
        return any(len(set(shapes)) > 1 for shapes in self.shapes.values())

    def keep(self, alive: Sequence[int]) -> None:
        """Forget all members but these."""
        self.shapes = {name: [own[i] for i in alive] for name, own in self.shapes.items()}

    def _of(self, name: str) -> list[tuple[int, ...]]:
        # An optimizer's tensor is of its parameter's shape: `optimizer.3.exp_avg`.
        if name not in self.shapes and name.startswith("optimizer."):
            name = self.numbered[int(name.split(".")[1])]
        return self.shapes[name]

    def _largest(self, name: str) -> tuple[int, ...]:
        return tuple(map(max, *own)) if len(own := self._of(name)) > 1 else own[0]

    def own(self, name: str, place: int, whole: Tensor) -> Tensor:
        """A member's part of a stacked tensor: a view."""
        part = whole[place]
        shape = self._of(name)[place]
        return part if part.shape == shape else part[tuple(map(slice, shape))]

    def fitted(self, name: str, whole: Tensor) -> Tensor:
        """A stacked tensor without what no member that is left needs."""
        largest = self._largest(name)
        if whole.shape[1:] == largest:
            return whole
        return whole[(slice(None), *map(slice, largest))].contiguous()

    def mask(self, name: str, whole: Tensor) -> Tensor | None:
        """One where a member has a number, and zero where it was filled up; None if it has all."""
        if len(set(self._of(name))) == 1:
            return None
        mask = torch.zeros_like(whole)
        for place in range(len(whole)):
            self.own(name, place, mask).fill_(1)
        return mask


def filled(tensors: Sequence[Tensor]) -> Tensor:
    """The members' tensors as one, shape (members, …), the smaller ones filled up with zeros.

    One without dimensions, among others that have some, stands for nothing but zeros.
    """
    if len({tensor.shape for tensor in tensors}) == 1:
        return torch.stack(list(tensors))
    largest = max(tensors, key=lambda tensor: tensor.dim())
    shape = [max(t.shape[i] for t in tensors if t.dim()) for i in range(largest.dim())]
    whole = largest.new_zeros(len(tensors), *shape)
    for place, tensor in enumerate(tensors):
        if tensor.dim():
            whole[place][tuple(map(slice, tensor.shape))] = tensor
    return whole


def alone(model: Any, hook: str, batch: Any, *args: Any) -> tuple[Tensor, list[Any], nn.Module]:
    """What a step of a member by itself gives, in a copy of it: loss, logged values, and the copy,
    with its gradients after a training step."""
    trainer = model._trainer
    vars(model)["_trainer"] = None  # which is not to be copied
    try:
        probe = copy.deepcopy(model)
    finally:
        vars(model)["_trainer"] = trainer
    vars(probe)["_trainer"] = trainer
    log = Log(probe, hook, batch)
    vars(probe)["log"] = log
    try:
        loss = loss_of(getattr(probe, hook)(batch, *args))
        if hook == "training_step":
            loss.backward()
    except Exception as error:  # it will be told by the run alone
        raise NotStackable(NOT_FILLED) from error
    return loss.detach(), [c.value for c in log.calls if c.metric is None], probe


def check_values(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    """Refuse numbers that are not those of the members alone.

    Arguments:
        ours: of the stack.
        theirs: alone. The largest of all says what is close: gradients of a bias in front of a
            BatchNorm are nothing but rounding.

    Raises:
        NotStackable: they are others.
    """
    # What overflows alone may be undefined where it was multiplied with zeros: both diverge.
    finite = [
        (torch.where(one.isfinite(), one, torch.nan), torch.where(two.isfinite(), two, torch.nan))
        for one, two in zip(ours, theirs, strict=True)
    ]
    largest = max((float(t.nan_to_num().abs().max()) for _, t in finite if t.numel()), default=0.0)
    near = CLOSE * largest + 1e-12
    for one, two in finite:
        if not torch.allclose(one, two, rtol=CLOSE, atol=near, equal_nan=True):
            raise NotStackable(NOT_FILLED)


def check_gradients(
    names: Sequence[str], stacked: Sequence[Tensor], widths: Widths, probes: Sequence[nn.Module]
) -> None:
    """Refuse gradients that are not those of the members alone.

    Raises:
        NotStackable: they are others.
    """
    for place, probe in enumerate(probes):
        own = dict(probe.named_parameters())
        ours, theirs = [], []
        for name, p in zip(names, stacked, strict=True):
            gradient = own[name].grad
            if p.grad is not None and gradient is not None:
                ours.append(widths.own(name, place, p.grad))
                theirs.append(gradient)
        check_values(ours, theirs)
