"""What is to be predicted, classes or numbers that stay numbers; and what a table is scaled by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

import caviar
from caviar.base.errors import UserError
from caviar.training import DataModule, Regressor
from caviar.training.models import MLP, MLPRegressor
from conftest import FAST, Main
from test_training import result

pytestmark = pytest.mark.slow  # each trains a model, or several

INPUTS = np.arange(40.0).reshape(20, 2) ** 2
HALVES = np.arange(20) / 4


class Table(DataModule):
    """Arguments: what is to be predicted from INPUTS."""

    def __init__(self, targets: Any, **table: Any) -> None:
        super().__init__(num_features=2, batch_size=4, **table)
        self.targets = targets

    def load(self) -> tuple[Any, Any]:
        return INPUTS, self.targets


def predicted(targets: Any, **table: Any) -> torch.Tensor:
    """What a data module makes of targets, in the order of the rows."""
    data = Table(targets, **table)
    data.setup()
    parts = data.parts(len(INPUTS))
    values = torch.cat([data.splits[name].labels for name in parts])
    return values[np.argsort(np.concatenate(list(parts.values())))]


@pytest.mark.parametrize(
    "targets", [HALVES, HALVES[:, None], INPUTS / 8, np.arange(20), np.float32(HALVES)]
)
def test_numbers_stay_numbers(targets: Any) -> None:
    found = predicted(targets, num_outputs=targets.size // 20)
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), targets)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int16, np.float64, np.bool_])
def test_classes_are_whole_numbers_however_they_are_kept(kind: Any) -> None:
    targets = (np.arange(20) % 2).astype(kind)
    found = predicted(targets, num_classes=2)
    assert found.dtype == torch.int64
    assert found.tolist() == targets.astype(int).tolist()


@pytest.mark.parametrize(
    ("targets", "asked", "message"),
    [
        (HALVES, {"num_classes": 5}, "but a label is 0.25, and classes are whole numbers from 0"),
        (HALVES, {"num_classes": 5}, "write data.num_outputs=… in place of num_classes"),
        (HALVES * np.nan, {"num_classes": 5}, "but a label is nan"),
        (np.arange(20) % 3 - 1, {"num_classes": 3}, "but a label is -1"),
        (
            np.arange(20) % 3,
            {"num_classes": 4},
            "has 2 features and 3 classes, but the config says",
        ),
        (HALVES, {"num_outputs": 2}, "2 features and 1 outputs, but the config says data.num_feat"),
        (INPUTS, {"num_outputs": 1}, "2 features and 2 outputs"),
        (HALVES, {}, "data.num_classes=None data.num_outputs=None: write one of the two"),
        (HALVES, {"num_classes": 2, "num_outputs": 1}, "num_outputs=1: write one of the two"),
    ],
)
def test_targets_that_are_not_as_the_config_says_are_refused(
    targets: Any, asked: dict[str, int], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        predicted(targets, **asked)


def test_a_regression_learns_and_r2_is_that_of_the_whole_part(main: Main, runs: Path) -> None:
    run = ["experiment=diabetes", "logger=none", "trainer.max_epochs=12", "test=true"]
    assert main(*run) == 0
    found = result(runs, 0)
    assert found["best"] == pytest.approx(3105.9, abs=1)
    assert found["metrics"]["val/r2"] > 0.3

    winner = caviar.load(runs / "train/0")
    assert isinstance(winner.model, MLPRegressor)
    raw, targets = winner.data.load()
    rows = winner.data.parts(len(raw))["test"]
    values = winner.model(winner.data.transform(raw[rows])).squeeze(1)
    values = values.numpy()
    assert found["metrics"]["test/r2"] == pytest.approx(r2_score(targets[rows], values), abs=1e-5)
    residuals = np.abs(targets[rows] - values)
    assert found["metrics"]["test/mae"] == pytest.approx(residuals.mean(), rel=1e-5)
    assert found["metrics"]["test/loss"] == pytest.approx((residuals**2).mean(), rel=1e-5)


def test_r2_over_several_batches_far_from_0() -> None:
    class Exact(Regressor):
        logged: dict[str, float]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

        def log(self, name: str, value: Any, **_: Any) -> None:
            self.logged = {name: float(value)}

    generator = torch.Generator().manual_seed(0)
    targets = 1e5 + torch.randn(60, 2, generator=generator)
    values = targets + 0.5 * torch.randn(60, 2, generator=generator)
    model = Exact()
    for batch in torch.arange(60).split(25):
        model.measures(values[batch], targets[batch])
    model.on_validation_epoch_end()
    r2 = r2_score(targets.numpy(), values.numpy())
    assert model.logged["val/r2"] == pytest.approx(r2, abs=1e-3)


def test_a_column_beside_a_row_is_no_table_of_all_pairs() -> None:
    model = MLPRegressor(in_features=2, num_outputs=1, width=4, depth=1)
    x, y = torch.rand(5, 2), torch.rand(5)
    assert model.loss(model(x), y) == model.loss(model(x), y[:, None])
    with pytest.raises(UserError, match=r"predicts \(5, 1\) for targets of shape \(5, 3\)"):
        model.loss(model(x), torch.rand(5, 3))


def test_the_two_networks_are_one() -> None:
    torch.manual_seed(0)
    classifier = MLP(in_features=3, num_classes=2, width=4, depth=2)
    torch.manual_seed(0)
    regressor = MLPRegressor(in_features=3, num_outputs=2, width=4, depth=2)
    x = torch.rand(5, 3)
    assert torch.equal(classifier(x), regressor(x))


def test_what_a_table_was_scaled_by_goes_with_the_weights() -> None:
    trained = Table(HALVES, num_outputs=1, split_seed=0)
    with pytest.raises(UserError, match="Table has no statistics yet: call setup"):
        trained.transform(INPUTS)
    assert trained.state_dict() == {}
    trained.setup()
    part = trained.parts(20)["train"]
    assert torch.equal(trained.transform(INPUTS[part]), trained.splits["train"].inputs)
    before = trained.splits["train"].inputs

    # A checkpoint's count, also where other rows are for training, and whichever comes first.
    for loaded_first in (True, False):
        other = Table(HALVES, num_outputs=1, split_seed=1)
        steps = [lambda data: data.load_state_dict(trained.state_dict()), Table.setup]
        for step in steps if loaded_first else reversed(steps):
            step(other)
        assert torch.equal(other.transform(INPUTS), trained.transform(INPUTS))
        part = other.parts(20)["val"]
        assert torch.equal(other.splits["val"].inputs, trained.transform(INPUTS[part]))
    trained.load_state_dict(trained.state_dict())
    assert trained.splits["train"].inputs is before


def test_a_checkpoint_without_statistics_still_loads(main: Main, runs: Path) -> None:
    """An earlier version wrote none."""
    assert main(*FAST, "callbacks=default", "trainer.max_epochs=1") == 0
    path = runs / "train/0/checkpoints/last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    assert set(checkpoint.pop("SklearnData")) == {"mean", "deviation"}
    for name in ("generators", "gathered", "resume"):
        del checkpoint[name]
    torch.save(checkpoint, path)
    assert main(*FAST, f"ckpt_path='{path}'") == 0
    assert main(*FAST) == 0
    assert result(runs, 1)["metrics"] == result(runs, 2)["metrics"]


def test_a_model_that_follows_a_key_which_the_data_lacks(
    main: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = ["~data.num_features", "data._target_=ordinary.Data"]
    for run in ([], ["-m", "search.num_trials=1"]):
        assert main(*run, *bare) == 2
        printed = capsys.readouterr().err
        assert "model.in_features follows data.num_features, which the config does not" in printed
        assert "write model.in_features=…" in printed
    assert main(*FAST, *bare, "data.name=shuffled", "model.in_features=4") == 0
