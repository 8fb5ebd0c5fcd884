"""Stacks of several widths: narrow models are filled up, and come to what they come to alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from test_stacked import THEIRS, Killed, Make, make, of, same

__all__ = ["make"]  # the fixture
pytestmark = [
    pytest.mark.slow,  # each trains several models
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]

NIGHTLY = pytest.mark.nightly
WIDTHS = (5, 12, 8, 8)


def _settings(key: str = "model.units") -> list[dict[str, float]]:
    return [
        {key: width, "model.lr" if key == "model.units" else "optimizer.lr": 0.02 * (n + 1)}
        for n, width in enumerate(WIDTHS)
    ]


@pytest.mark.parametrize("kind", [pytest.param("ReLU", marks=NIGHTLY), "Sigmoid", "Normed"])
def test_the_narrow_come_to_what_they_come_to_alone(make: Make, kind: str) -> None:
    overrides = of("Wide", "+model.units=5", f"+model.kind={kind}", "+model.lr=0.1")
    runs = make([*overrides, "trainer.max_epochs=3", "data.batch_size=16"], _settings())
    calls: list[int] = []
    found, left = runs.together(report=lambda points: calls.append(len(points)) or [])
    assert not left
    assert calls == [4, 4, 4]  # in one stack
    for number in range(4):
        alone = runs.alone(number)
        same(found[number], alone)
        files = [torch.load(str(r.checkpoint)) for r in (found[number], alone)]
        for name, tensor in files[1]["state_dict"].items():
            assert torch.allclose(files[0]["state_dict"][name], tensor, rtol=1e-4, atol=1e-5), name
        ours, theirs = (f["optimizer_states"][0]["state"] for f in files)
        for place, state in theirs.items():
            assert ours[place]["momentum_buffer"].shape == state["momentum_buffer"].shape


@pytest.mark.parametrize(
    "optimizer", ["adam", pytest.param("adamw", marks=NIGHTLY), pytest.param("sgd", marks=NIGHTLY)]
)
def test_with_every_optimizer(make: Make, optimizer: str) -> None:
    more = [f"optimizer={optimizer}", "optimizer.weight_decay=0.01", "trainer.gradient_clip_val=1"]
    runs = make([*THEIRS, *more], _settings("model.width"))
    found, left = runs.together()
    assert not left
    for number in range(4):
        same(found[number], runs.alone(number))


@pytest.mark.parametrize("kind", ["Layer", pytest.param("Softmax", marks=NIGHTLY), "Dropped"])
def test_what_cannot_be_filled_up_shares_a_stack_by_its_width(make: Make, kind: str) -> None:
    overrides = of("Wide", "+model.units=5", f"+model.kind={kind}", "+model.lr=0.1")
    runs = make([*overrides, "trainer.max_epochs=2", "data.batch_size=16"], _settings())
    found, left = runs.together()
    assert [one.place for one in left] == [1, 0]  # the widest first
    assert all("widths differ" in one.why for one in left)
    for number in (2, 3):
        same(found[number], runs.alone(number))


@pytest.mark.parametrize("model", ["Averaging", "Counting"])
def test_other_results_are_noticed_at_the_first_batch(make: Make, model: str) -> None:
    overrides = of(model, "+model.units=5", "+model.lr=0.1")
    runs = make([*overrides, "trainer.max_epochs=2", "data.batch_size=16"], _settings())
    points: list[int] = []
    found, left = runs.together(report=lambda told: points.append(len(told)) or [])
    assert sorted(found) == [2, 3]
    assert points == [2, 2]  # nothing was told of the stack that was given up
    assert {one.why for one in left} == {
        "their widths differ, and filled up to one width they come to other results"
    }


def test_with_eps_of_zero_nothing_is_filled_up(make: Make) -> None:
    runs = make([*THEIRS, "optimizer=adam", "optimizer.eps=0"], _settings("model.width"))
    _, left = runs.together()
    assert {one.why for one in left} == {
        "their widths differ, and with eps=0 zeros do not stay zeros"
    }


def test_one_that_ends_takes_its_width_along_and_a_kill_changes_nothing(
    make: Make, tmp_path: Path
) -> None:
    settings = _settings("model.width")
    settings[1]["optimizer.lr"] = 1e6  # the widest diverges
    whole, left = make(THEIRS, settings).together()
    assert not left
    assert whole[1].status == "diverged"
    runs = make(THEIRS, settings)
    stores = tmp_path / "stores"

    def killed(points: object) -> list[object]:
        if (kept := [*stores.glob("*.json")]) and len(json.loads(kept[0].read_text())) == 3:
            shutil.copytree(stores, tmp_path / "kept")
            raise Killed
        return []

    found: dict[int, object] = {}
    with pytest.raises(Killed):
        runs.together(found, report=killed, stores=stores)  # type: ignore[arg-type]
    again, left = runs.together(stores=tmp_path / "kept")
    assert [one.place for one in left] == [1]  # which had ended, and is not in the file
    for number in (0, 2, 3):
        assert again[number].metrics == whole[number].metrics
        same(again[number], runs.alone(number))
