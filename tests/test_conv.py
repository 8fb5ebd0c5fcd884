"""A convolutional network on digits: shapes, training, its space."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from caviar.base.errors import UserError
from caviar.training.models import ConvNet
from conftest import Main


@pytest.mark.parametrize(
    ("side", "depth", "last"), [(8, 0, 8), (8, 1, 4), (8, 2, 2), (8, 4, 2), (7, 2, 1), (2, 1, 2)]
)
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_shapes_of_the_convolutional_network(
    side: int, depth: int, last: int, kernel_size: int
) -> None:
    model = ConvNet(side * side, 10, channels=6, depth=depth, kernel_size=kernel_size)
    assert model(torch.zeros(3, side * side)).shape == (3, 10)
    head = model.net[-1]
    assert isinstance(head, torch.nn.Linear)
    assert head.in_features == (6 if depth else 1) * last * last


def test_a_convolution_sees_the_image_as_a_square() -> None:
    model = ConvNet(64, 10, channels=1, depth=1, kernel_size=3)
    conv = model.net[1]
    assert isinstance(conv, torch.nn.Conv2d)
    pixel = torch.zeros(1, 64)
    pixel[0, 8 * 2 + 5] = 1  # row 2, column 5
    without = conv(model.net[0](torch.zeros(1, 64)))
    rows, columns = torch.nonzero((conv(model.net[0](pixel)) != without)[0, 0], as_tuple=True)
    assert (set(rows.tolist()), set(columns.tolist())) == ({1, 2, 3}, {4, 5, 6})


def losses(runs: Path, number: int) -> list[float]:
    with (runs / "train" / str(number) / "metrics.csv").open() as file:
        return [float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]]


@pytest.mark.slow
def test_digits_conv_learns_the_same_from_the_same_seed(main: Main, runs: Path) -> None:
    run = ["experiment=digits_conv", "callbacks=none", "trainer.max_epochs=3", "model.dropout=0.1"]
    for _ in range(2):
        assert main(*run, "test=true") == 0
    first, again = (losses(runs, i) for i in range(2))
    assert first == again
    assert first[2] < first[1] < first[0] < np.log(10)
    metrics = json.loads((runs / "train/0/result.json").read_text())["metrics"]
    assert metrics["test/acc"] > 0.85


def test_dropout_can_be_changed_while_it_trains() -> None:
    model, x = ConvNet(16, 3, channels=4, depth=1, kernel_size=3), torch.randn(2, 16)
    assert torch.equal(model(x), model(x))
    assert model.set_live("dropout", 0.5)
    assert not torch.equal(model(x), model(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 4}, "kernel_size=4 is even; write 5"),
        ({"in_features": 30, "kernel_size": 3}, "30 pixels make no square image"),
    ],
)
def test_a_slip_is_told(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ConvNet(**{"in_features": 64, "num_classes": 10, "channels": 4, "depth": 1, **arguments})


def test_the_experiment_brings_its_space(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("-m", "experiment=digits_conv", "search.dry_run=true", "search.num_trials=2") == 0
    printed = capsys.readouterr()
    assert "warning" not in printed.err
    command = next(line for line in printed.out.splitlines() if "train.py" in line)
    for name in (
        "optimizer.lr",
        "one_minus.optimizer.momentum",
        "model.channels",
        "model.depth",
        "model.kernel_size",
        "data.batch_size",
        "scheduler.rate",
    ):
        assert f" {name}=" in command
