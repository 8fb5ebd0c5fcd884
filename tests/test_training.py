"""Training one model: seeds, splits, order, the best value, divergence, slips."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from pytorch_lightning.loggers import CSVLogger

from caviar.base.errors import UserError
from caviar.base.result import Length, Result
from caviar.config import resolvers
from caviar.training import train
from caviar.training.callbacks import BestMetric, is_loss
from caviar.training.check import Check
from caviar.training.data import EpochSampler, SklearnData
from caviar.training.optim import build_optimizer
from conftest import FAST, ROOT, Main

Compose = Callable[..., DictConfig]


@pytest.fixture
def composed(runs: Path, hydra_state: None) -> Compose:
    def call(*overrides: str) -> DictConfig:
        resolvers.register()
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return compose("train", list(overrides))

    return call


def result(runs: Path, number: int) -> dict[str, Any]:
    return json.loads((runs / "train" / str(number) / "result.json").read_text())


@pytest.mark.slow
def test_same_seed_same_answer_and_another_seed_another(main: Main, runs: Path) -> None:
    run = [*FAST, "model.dropout=0.1", "+trainer.limit_train_batches=9"]
    for seed in ("0", "0", "1", "null"):
        assert main(*run, f"seed={seed}") == 0
    zero, again, one, fresh = (result(runs, i) for i in range(4))
    assert zero["best"] == again["best"] != one["best"]
    assert (zero["seed"], one["seed"]) == (0, 1)
    assert main(*run, f"seed={fresh['seed']}") == 0  # it was written down
    assert result(runs, 4)["best"] == fresh["best"]


def test_golden_value_of_the_default(main: Main, runs: Path) -> None:
    assert main(*FAST) == 0
    found = result(runs, 0)
    assert found["best"] == pytest.approx(1.2910, abs=5e-4)
    assert found["num_params"] == 64 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10
    assert found["status"] == "complete"


def test_the_best_value_counts_not_the_last(main: Main, runs: Path) -> None:
    assert main("logger=csv", "trainer.max_epochs=5", "optimizer.lr=0.3") == 0
    found = result(runs, 0)
    with (runs / "train" / "0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    curve, best = (
        [float(row[name]) for row in rows if row[name]] for name in ("val/loss", "val/loss_best")
    )
    assert found["best"] == min(curve)
    assert found["best_epoch"] == int(np.argmin(curve))
    assert found["last"] == curve[-1]
    assert best == list(np.minimum.accumulate(curve))
    kept = torch.load(str(found["checkpoint"]), weights_only=True)
    assert kept["epoch"] == found["best_epoch"]


def test_only_the_metric_and_losses_decide_on_divergence(main: Main, runs: Path) -> None:
    assert main(*FAST, "model._target_=broken_models.UndefinedScore") == 0
    assert result(runs, 0)["status"] == "complete"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("loss", True),
        ("val/loss", True),
        ("train_loss", True),
        ("val_loss", True),
        ("train/loss_step", True),
        ("train/loss_epoch", True),
        ("train-loss.step", True),
        ("Loss/train", True),
        ("val/loss/dataloader_idx_0", True),
        ("val/acc", False),
        ("lossless_ratio", False),
        ("val/glossary", False),
        ("losses", False),
    ],
)
def test_a_loss_is_known_by_the_words_of_its_name(name: str, expected: bool) -> None:
    assert is_loss(name) == expected


def test_any_loss_that_is_not_a_number_is_divergence(main: Main, runs: Path) -> None:
    model = ["model._target_=broken_models.LogsNan", "+model.name=train_loss"]
    assert main(*FAST, *model, "+trainer.limit_train_batches=2") == 0
    assert result(runs, 0)["status"] == "diverged"


def test_a_run_that_diverges_says_so_and_stops(main: Main, runs: Path) -> None:
    assert main(*FAST, "optimizer.lr=1e6", "trainer.max_epochs=30") == 0
    assert result(runs, 0)["status"] == "diverged"


def test_training_is_the_same_whoever_watches(composed: Compose, tmp_path: Path) -> None:
    told: list[Any] = []

    class Watcher(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            told.append(("epoch", trainer.current_epoch))

    def report(point: int, value: float, length: Length) -> bool:
        assert length == Length("epoch", 2, 2)
        told.append(("metric", point, value))
        return False

    def extend(best: BestMetric) -> tuple[list[pl.Callback], list[Any]]:
        assert best.metric == "val/loss"
        return [Watcher()], [CSVLogger(tmp_path / "own", name="", version="")]

    def ended(result: Result, curve: Mapping[int, float]) -> None:
        told.append((result.status, result.best, dict(curve)))

    def trained(name: str, *overrides: str, **hooks: Any) -> Result:
        folder = tmp_path / name
        folder.mkdir()
        config = composed(
            "trainer.max_epochs=2",
            "+trainer.limit_train_batches=5",
            "model.dropout=0.2",
            f"paths.output={folder}",
            *overrides,
        )
        return train(config, folder, **hooks)

    plain = trained("plain")
    watched = trained("watched", report=report, extend=extend, ended=ended)
    assert (watched.best, watched.metrics) == (plain.best, plain.metrics)
    rows = [(tmp_path / name / "metrics.csv").read_text() for name in ("plain", "watched", "own")]
    assert rows[0] == rows[1] == rows[2]
    curve = {told[0][1]: told[0][2], told[2][1]: told[2][2]}
    assert told[1::2] == [("epoch", 0), ("epoch", 1)]
    assert told[4:] == [("complete", plain.best, curve)]
    assert plain.last == curve[1]

    told.clear()
    raises = ["model._target_=broken_models.Raises", "model.width=99"]
    with pytest.raises(ValueError, match="too wide"):
        trained("failed", *raises, ended=ended)
    assert told == [("exception", None, {})]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit=false"], "fit=false and test=false leave nothing to do"),
        (["fit=false", "test=true"], "needs a model to test"),
        (["seed=-1"], "seed=-1 should be a whole number from 0 on, or null"),
        (["optimizer.lr=-1"], "optimizer.lr=-1 should be a number, 0 or more"),
        (["optimizer=sdg"], "sdg"),
        (["model.widht=3"], "widht"),
        (["metric.name=val/f1"], "metric.name is val/f1, but validation logged only"),
        (["model._target_=torch.nn.Identity"], "derive it from"),
        (["one_minus.optimizer.momentum=abc"], "'abc' is not a number"),
        (["one_minus.optimizer.momentun=0.1"], "momentun"),
    ],
)
def test_a_slip_gets_one_message_and_exit_code_2(
    main: Main, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(*FAST, *arguments) == 2
    printed = capsys.readouterr().err
    assert "error: " in printed
    assert message in printed
    assert "Traceback" not in printed


def test_one_minus_reaches_the_config_in_natural_units(composed: Compose) -> None:
    config = composed("optimizer.momentum=${one_minus:0.0123}")
    assert config.optimizer.momentum == 0.9877


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_betas_are_reachable_one_by_one(composed: Compose, name: str) -> None:
    config = composed(f"optimizer={name}", "optimizer.beta1=0.8", "optimizer.beta2=0.95")
    optimizer = build_optimizer(config.optimizer, [torch.nn.Parameter(torch.zeros(1))])
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.95)
    assert type(optimizer).__name__.lower() == name


def test_a_check_of_resuming_stops_a_training_and_makes_none_shorter(
    composed: Compose, tmp_path: Path
) -> None:
    """A schedule that is as long as the training would be another one."""
    check = Check(composed("scheduler=one_cycle"), tmp_path, [])
    check._trained("whole", epochs=2)
    assert check._resume() == "exact to the step; tried from the end of an epoch"


def data(**changed: object) -> SklearnData:
    table: dict[str, object] = {"num_features": 64, "num_classes": 10, "batch_size": 32}
    module = SklearnData("digits", **{**table, **changed})
    module.setup()
    return module


def test_the_split_depends_on_its_own_seed_alone() -> None:
    one, two, other = data(seed=0), data(seed=1), data(split_seed=1)
    for part in ("train", "val", "test"):
        assert torch.equal(one.splits[part].labels, two.splits[part].labels)
    assert not torch.equal(one.splits["test"].labels, other.splits["test"].labels)
    sizes = [len(one.splits[part]) for part in ("train", "val", "test")]
    assert sizes == [1078, 360, 359]


def test_the_training_part_is_standardised() -> None:
    inputs = data().splits["train"].inputs
    assert inputs.mean(0).abs().max() < 1e-5
    varied = inputs.std(0) > 0
    assert torch.allclose(inputs.std(0)[varied], torch.tensor(1.0), atol=1e-4)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int, rank: int = 0, world_size: int = 1) -> list[int]:
        sampler = EpochSampler(101, seed, rank, world_size)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2) != order(1, 2)
    assert sorted(order(0, 1)) == list(range(101))
    ranks = [order(0, 1, rank, 2) for rank in range(2)]
    assert len(ranks[0]) == len(ranks[1]) == 51
    assert set(ranks[0]) | set(ranks[1]) == set(range(101))


def test_data_that_is_not_as_the_config_says_is_refused() -> None:
    with pytest.raises(UserError, match="digits, breast_cancer, wine, iris, diabetes"):
        SklearnData("mnist", num_features=1, num_classes=1, batch_size=1)
    with pytest.raises(UserError, match="the data has 64 features and 10 classes"):
        data(num_features=3)
    with pytest.raises(UserError, match="leave nothing for val"):
        data(fractions=[0.9999, 0.00005, 0.00005])


@pytest.mark.parametrize(
    "arguments",
    [
        ["experiment=breast_cancer", "test=true", "callbacks=early_stopping", "optimizer=adam"],
        ["experiment=diabetes", "debug=overfit"],
        ["optimizer=adamw", "scheduler=cosine", "trainer=cpu"],
        ["debug=fast", "scheduler=none"],
        ["debug=overfit"],
    ],
)
def test_every_group_trains(main: Main, runs: Path, arguments: list[str]) -> None:
    assert main("trainer.max_epochs=1", *arguments) == 0
    found = result(runs, 0)
    assert found["status"] == "complete"
    metrics = found["metrics"]
    assert isinstance(metrics, dict)
    assert ("test/loss" in metrics) == ("test=true" in arguments)
