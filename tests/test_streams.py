"""Random states: a stream leaves no trace, and what objects keep is found and put back."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytest
import torch

from caviar.training.streams import (
    own_generators,
    own_numbers,
    put_back,
    random_states,
    restore,
    state_of,
    stream,
)


def drawn() -> list[float]:
    return [float(torch.rand(1)), np.random.rand(), np.random.randn(), random.random()]


def kept(value: Any) -> Any:
    """As a checkpoint would keep it."""
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_a_stream_is_a_function_of_its_entropy_and_leaves_no_trace() -> None:
    states = random_states()
    expected = drawn()
    restore(kept(states))
    with stream([0, 1], (2,)) as draws:
        assert not draws()
        inside = drawn()
        assert draws()
    assert drawn() == expected
    for entropy, place, same in (
        ([0, 1], (2,), True),
        ([0, 1], (3,), False),
        ([0, 2], (2,), False),
    ):
        with stream(entropy, place):
            assert (drawn() == inside) == same


@pytest.mark.parametrize(
    "draw", [lambda: torch.rand(1), np.random.rand, np.random.randn, random.random]
)
def test_a_draw_of_any_library_is_noticed(draw: Any) -> None:
    with stream([0]) as draws:
        draw()
        assert draws()


class Holder:
    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)


@pytest.mark.parametrize(
    ("generator", "draw"),
    [
        (torch.Generator().manual_seed(1), lambda g: float(torch.rand(1, generator=g))),
        *(
            (np.random.Generator(kind(1)), lambda g: g.normal())
            for kind in (np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64)
        ),
        (np.random.RandomState(1), lambda g: g.normal()),
        (random.Random(1), lambda g: g.gauss(0, 1)),
    ],
)
def test_a_generator_that_an_object_keeps_goes_on(generator: Any, draw: Any) -> None:
    inner = Holder(transforms=[Holder(), Holder(source=generator)], back=None)
    inner.back = inner  # no end
    found = own_generators({"dataset": Holder(dataset=inner, again=generator)})
    assert list(found.values()) == [generator]
    draw(generator)  # which may put a second number by
    state = kept(state_of(generator))
    expected = [draw(generator) for _ in range(3)]
    put_back(generator, state)
    assert [draw(generator) for _ in range(3)] == expected


def test_the_global_generators_are_nobodys_own() -> None:
    everybodys = [torch.default_generator, np.random.mtrand._rand, random._inst]
    assert own_generators({"sampler": Holder(generators=everybodys)}) == {}


def test_plain_values_are_seen_but_not_those_of_what_is_told_its_epoch() -> None:
    class Told(Holder):
        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

    told, generator = Told(epoch=4), random.Random(1)
    thing = Holder(epoch=3, seen=[1, 2], told=told, generator=generator, rows=np.zeros(9))
    assert own_numbers({"dataset": thing}) == {"dataset.epoch": 3, "dataset.seen": 2}
