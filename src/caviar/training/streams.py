"""Random states: the global ones, and those that objects keep for themselves.

    with stream([seed, epoch], (1, 0)):     # numbers of its own, and no trace in the global states
        order = torch.randperm(100)

A state is given as plain containers and tensors, which a checkpoint can hold and load safely.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

Generator = torch.Generator | np.random.Generator | np.random.RandomState | random.Random
KINDS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
PLAIN = (int, float, str, bytes, type, ModuleType, Tensor, np.ndarray)  # which keep no state
DEPTH, WIDTH, MANY = 6, 64, 10_000  # how deep, how far along a list, and into how many objects


def seed_generators(entropy: Sequence[int], place: Sequence[int] = ()) -> None:
    """Seed torch, NumPy and Python by a pure function of the arguments.

    Arguments:
        entropy: whole numbers from 0 on, such as (seed, epoch, rank).
        place: tells uses of the same entropy apart.
    """
    torch.manual_seed(_seed_cpu(entropy, place))  # which GPUs follow


def _seed_cpu(entropy: Sequence[int], place: Sequence[int]) -> int:
    words = np.random.SeedSequence(entropy, spawn_key=tuple(place)).generate_state(3).tolist()
    torch.default_generator.manual_seed(words[0])
    np.random.seed(words[1])
    random.seed(words[2])
    return int(words[0])


@contextmanager
def stream(entropy: Sequence[int], place: Sequence[int] = ()) -> Iterator[Callable[[], bool]]:
    """Seeded so inside, and behind it all states are as they were in front of it; on the CPU.

    Gives a function that tells whether a random number has been drawn inside.
    """
    before = _cpu_states()
    _seed_cpu(entropy, place)
    begun = _cpu_states()
    try:
        yield lambda: not _same(begun, _cpu_states())
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])


def _cpu_states() -> tuple[Tensor, Any, Any]:
    return torch.get_rng_state(), np.random.get_state(), random.getstate()


def _same(first: tuple[Tensor, Any, Any], second: tuple[Tensor, Any, Any]) -> bool:
    words = np.array_equal(first[1][1], second[1][1]) and first[1][2:] == second[1][2:]
    return words and first[2] == second[2] and torch.equal(first[0], second[0])


def random_states() -> dict[str, Any]:
    """The states of all global generators."""
    # Asking a GPU that is not in use for its state would put it to use.
    in_use = torch.cuda.is_available() and torch.cuda.is_initialized()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if in_use else [],
        "numpy": _legacy_state(np.random.get_state()),
        "python": _python_state(random.getstate()),
    }


def restore(states: Mapping[str, Any]) -> None:
    """Put back what `random_states` gave."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    np.random.set_state(_legacy_words(states["numpy"]))
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))


def inside(roots: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Objects, what they hold as attributes or in lists, and so on, each once, with its path.

    Not into arrays, nor for ever: a data set may hold anything.

    Arguments:
        roots: objects by name, which their paths begin with.
    """
    seen: set[int] = set()
    waiting = [(name, root, 0) for name, root in roots.items()]
    while waiting and len(seen) < MANY:
        path, thing, depth = waiting.pop()
        if thing is None or isinstance(thing, PLAIN) or id(thing) in seen:
            continue
        seen.add(id(thing))
        yield path, thing
        if depth < DEPTH and not isinstance(thing, KINDS):
            waiting += [(f"{path}.{name}", part, depth + 1) for name, part in _parts(thing)]


def own_generators(roots: Mapping[str, Any]) -> dict[str, Generator]:
    """The generators that objects keep for themselves, by path; the global ones are left out."""
    globally = (torch.default_generator, np.random.mtrand._rand, random._inst)
    return {
        path: thing
        for path, thing in inside(roots)
        if isinstance(thing, KINDS) and not any(thing is other for other in globally)
    }


def own_numbers(roots: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values that objects keep, and how long their lists are: what a counter is among.

    Not of what is told its epoch, by `set_epoch`.
    """
    found: dict[str, Any] = {}
    for path, thing in inside(roots):
        if isinstance(thing, KINDS) or hasattr(type(thing), "set_epoch"):
            continue
        if isinstance(thing, list | dict | set | deque):
            found[path] = len(thing)
        for name, value in _attributes(thing).items():
            if isinstance(value, int | float | str | None):
                found[f"{path}.{name}"] = value
    return found


def _parts(thing: Any) -> list[tuple[Any, Any]]:
    """What an object holds, by name or place."""
    if type(thing) in (list, tuple):  # others may compute what they are asked for
        return list(enumerate(thing[:WIDTH]))
    if type(thing) is dict:
        return list(thing.items()) if len(thing) <= WIDTH else []
    return list(_attributes(thing).items())


def _attributes(thing: Any) -> dict[str, Any]:
    """What an object has in itself, without asking it."""
    try:
        return dict(object.__getattribute__(thing, "__dict__"))
    except AttributeError:
        return {}


def state_of(generator: Generator) -> Any:
    """The state of one generator."""
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, np.random.Generator):
        return _plain(generator.bit_generator.state)
    if isinstance(generator, np.random.RandomState):
        return _legacy_state(generator.get_state())
    return _python_state(generator.getstate())


def put_back(generator: Generator, state: Any) -> None:
    """Put back what `state_of` gave of a generator of the same kind."""
    if isinstance(generator, torch.Generator):
        generator.set_state(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(_legacy_words(state))
    else:
        generator.setstate((state[0], tuple(state[1]), state[2]))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def _legacy_state(state: Any) -> list[Any]:
    return [state[0], state[1].tolist(), *state[2:]]


def _legacy_words(state: Sequence[Any]) -> Any:
    return (state[0], np.array(state[1], dtype=np.uint32), *state[2:])


def _python_state(state: Any) -> list[Any]:
    version, words, gauss = state
    return [version, list(words), gauss]
