"""What a module keeps besides parameters and buffers: tensors in its attributes.

A list of this epoch's losses, the states of a torchmetrics object, the last hidden state. A member
that runs alone just sets them. In a stack they go into every step and come out of it, with an axis
of members, as parameters do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from caviar.stacked.errors import NotStackable

# Of nn.Module, Lightning and torchmetrics themselves; not a model's own.
INTERNAL = {"_parameters", "_buffers", "_modules", "_trainer", "_fabric", "trainer"}
INTERNAL |= {"_hparams", "_hparams_initial", "_metric_attributes", "_log_hyperparams"}
INTERNAL |= {*vars(nn.Module()), *vars(LightningModule())}


CONTAINERS = (list, tuple, dict)
SIMPLE = (int, float, str, bool, type(None))


@dataclass
class Kept:
    """One attribute: its tensors, and what they hang in."""

    spec: TreeSpec
    plain: tuple[tuple[int, Any], ...]
    """Leaves that are no tensors, by their place."""
    tensors: list[Tensor]
    """In their order; each with an axis of members in front, between steps."""

    @classmethod
    def of(cls, value: Any) -> Kept | None:
        """Of an attribute's value; None if there is no tensor in it."""
        leaves, spec = tree_flatten(value)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if not tensors:
            return None
        plain = tuple((i, leaf) for i, leaf in enumerate(leaves) if not isinstance(leaf, Tensor))
        return cls(spec, plain, tensors)

    def value(self, tensors: Sequence[Tensor]) -> Any:
        """The attribute again, with these tensors in it."""
        leaves: list[Any] = [None] * (len(tensors) + len(self.plain))
        for i, leaf in self.plain:
            leaves[i] = leaf
        places = [i for i in range(len(leaves)) if i not in dict(self.plain)]
        for i, tensor in zip(places, tensors, strict=True):
            leaves[i] = tensor
        return tree_unflatten(leaves, self.spec)

    @property
    def grows(self) -> bool:
        """Whether it is a list of tensors, which a step may only append to."""
        return self.spec.type is list and self.spec.num_children == len(self.tensors)

    def grown(self, more: Kept) -> Kept:
        """The list with what a step has appended to it."""
        leaves = [*self.tensors, *more.tensors]
        return Kept(tree_flatten(leaves)[1], (), leaves)


class Appended:
    """Stands for a list, while a step runs that only appends to it: so that a list of an epoch's
    losses need not go through every step of the epoch.

    Whoever does more with it than to append is told so by an exception, and the step runs again
    with the list itself.
    """

    def __init__(self) -> None:
        self.new: list[Any] = []

    def append(self, value: Any) -> None:
        """As of a list."""
        self.new.append(value)

    def extend(self, values: Iterable[Any]) -> None:
        """As of a list."""
        self.new.extend(values)

    def __iadd__(self, values: Iterable[Any]) -> Appended:
        self.new.extend(values)
        return self


State = dict[str, Kept]  # by the attribute's path


KINDS = (Tensor, Appended, *CONTAINERS)
Parts = Sequence[tuple[str, nn.Module]]  # of a module, by path


def attributes(module: nn.Module) -> Iterator[tuple[nn.Module, str, str, Any]]:
    """Every attribute of every part of a module: its owner, name, path and value."""
    for prefix, part in module.named_modules():
        for name, value in list(vars(part).items()):
            if name not in INTERNAL and not isinstance(value, nn.Module):
                yield part, name, f"{prefix}.{name}" if prefix else name, value


def keepers(module: nn.Module) -> Parts:
    """The parts of a module that may keep tensors in attributes: not torch's own layers, of which
    there are many, and whose steps change parameters and buffers alone."""
    return [
        (prefix, part)
        for prefix, part in module.named_modules()
        if not type(part).__module__.startswith("torch.nn.modules.") or isinstance(part, nn.RNNBase)
    ]


def state_of(module: nn.Module, parts: Parts | None = None) -> State:
    """The tensors in a module's attributes.

    Arguments:
        module: whose.
        parts: its `keepers`, if somebody has them already.
    """
    found = {}
    for prefix, part in keepers(module) if parts is None else parts:
        for name, value in vars(part).items():
            # One look at the kind, which most attributes do not pass: this runs in every step.
            if isinstance(value, KINDS) and (isinstance(value, Tensor | Appended) or value):
                if name in INTERNAL:
                    continue
                kept = Kept.of(value.new if isinstance(value, Appended) else value)
                if kept is not None:
                    found[f"{prefix}.{name}" if prefix else name] = kept
    return found


def plain_of(module: nn.Module) -> dict[str, Any]:
    """Plain values in a module's attributes, by path."""
    return {path: value for _, _, path, value in attributes(module) if isinstance(value, SIMPLE)}


def put(module: nn.Module, values: Mapping[str, Any]) -> None:
    """Set attributes by their paths."""
    for path, value in values.items():
        owner, _, name = path.rpartition(".")
        vars(module.get_submodule(owner))[name] = value


def emptied(module: nn.Module, state: Iterable[str]) -> None:
    """Take the tensors out of attributes, so that none outlives its step."""
    for path in state:
        owner, _, name = path.rpartition(".")
        holder = vars(module.get_submodule(owner))
        if isinstance(holder[name], list | Appended):
            holder[name] = []  # what a step appends to, also where it had nothing yet
        elif isinstance(holder[name], dict):
            holder[name] = {}
        else:
            holder[name] = None


def stacked(states: Sequence[State]) -> State:
    """The states of all members as one.

    Raises:
        NotStackable: they are not of one shape.
    """
    first = states[0]
    together = {}
    for path, kept in first.items():
        others = [state.get(path) for state in states]
        if any(o is None or o.spec != kept.spec for o in others):
            raise NotStackable(f"{path} is not of one shape for all members")
        parts = [o.tensors for o in others if o is not None]
        try:
            tensors = [torch.stack(list(same)) for same in zip(*parts, strict=True)]
        except RuntimeError:
            raise NotStackable(f"{path} is not of one shape for all members") from None
        together[path] = Kept(kept.spec, kept.plain, tensors)
    if any(state.keys() != first.keys() for state in states):
        odd = sorted({path for state in states for path in state.keys() ^ first.keys()})
        raise NotStackable(f"{odd[0]} is set for some members only")
    return together
