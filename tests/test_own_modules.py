"""Any LightningModule is trained as it is: with its own optimizers, wherever it logs its metric."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from caviar.config.compose import project_composer
from caviar.config.reading import unread
from conftest import FAST, Main

pytestmark = pytest.mark.slow  # each trains a model, or several

EPOCHS = ["trainer.max_epochs=3", "+trainer.limit_train_batches=8"]


def module(name: str) -> list[str]:
    """Overrides that put a model in the place of the experiment's."""
    return ["~model", f"+model={{_target_:own_models.{name}}}", "callbacks=none"]


def result(runs: Path, number: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((runs / f"train/{number}/result.json").read_text())
    return found


def test_a_metric_counts_wherever_it_is_logged(main: Main, runs: Path) -> None:
    assert main(*module("Linear"), *EPOCHS, "metric.name=val/f1", "metric.mode=max") == 0
    found = result(runs)
    assert found["status"] == "complete"
    assert found["best"] == found["metrics"]["val/f1_best"] >= found["last"] > 0.5
    with (runs / "train/0/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    logged = [float(row["val/f1"]) for row in rows if row["val/f1"]]
    best = [float(row["val/f1_best"]) for row in rows if row["val/f1_best"]]
    assert best == [max(logged[: i + 1]) for i in range(3)]


@pytest.mark.parametrize("metric", ["val/acc", "val/acc_best"])
def test_a_module_may_log_the_best_itself(main: Main, runs: Path, metric: str) -> None:
    assert main(*module("LogsBest"), *EPOCHS, f"metric.name={metric}", "metric.mode=max") == 0
    assert result(runs)["best"] == result(runs)["metrics"]["val/acc_best"]


def test_optimizers_may_be_partials(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    partials = (
        "~model",
        "+model={_target_:own_models.Partials,"
        "optimizer:{_target_:torch.optim.Adam,_partial_:true,lr:0.01},"
        "scheduler:{_target_:torch.optim.lr_scheduler.ReduceLROnPlateau,_partial_:true}}",
    )
    assert main(*partials, *EPOCHS, "model.optimizer.lr=0.02") == 0
    best = runs / "train/0/checkpoints/best.ckpt"
    assert main(*partials, *EPOCHS, "fit=false", "test=true", f"ckpt_path='{best}'") == 0
    assert result(runs, 1)["metrics"]["test/loss"] < 2
    printed = capsys.readouterr().out
    assert "at epoch None" not in printed
    assert "\ntest/loss " in printed


def test_what_nobody_reads_is_refused(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*module("Linear"), "+model.lr=0.1", *FAST, "optimizer.lr=0.3") == 2
    assert main("model._target_=own_models.OwnRate", *FAST, "optimizer=adam") == 2
    error = capsys.readouterr().err
    assert "optimizer.lr: nothing reads it" in error
    assert "write model.lr instead" in error
    assert "optimizer: nothing reads it, since own_models.OwnRate" in error
    # A model that leaves its optimizer to the config in part does read it.
    assert main(*FAST, "+trainer.limit_train_batches=1", "optimizer.lr=0.3") == 0


def test_a_key_is_read_where_it_is_interpolated(hydra_state: None) -> None:
    compose = project_composer()
    own = ["+model.optimizer=${optimizer}", "+width=3", "+depth=2", "model.width=${width}"]
    keys = ["optimizer.lr", "scheduler.rate", "width", "depth", "model.anything", "seed"]
    assert unread(compose(own), keys, reads_declared=False) == ["scheduler.rate", "depth"]
    assert unread(compose([]), ["optimizer.lr", "scheduler.rate"], reads_declared=True) == []
    # OneCycleLR overwrites what it does not read.
    rates = ["optimizer.lr", "optimizer.momentum", "optimizer.weight_decay"]
    cycles: dict[str, list[str]] = {
        "scheduler.pct_start=0.2": [],
        "scheduler.max_lr=1": rates[:1],
        "scheduler.cycle_momentum=true": rates[1:2],
    }
    for changed, left in cycles.items():
        config = compose(["scheduler=one_cycle", changed])
        assert unread(config, rates, reads_declared=True) == left


@pytest.mark.parametrize(("always", "status"), [(False, "complete"), (True, "diverged")])
def test_a_metric_may_be_undefined_at_the_first_validation(
    main: Main, runs: Path, always: bool, status: str
) -> None:
    model = ["~model", f"+model={{_target_:own_models.UndefinedAtFirst,always:{always}}}"]
    assert main(*model, *EPOCHS, "metric.name=val/f1", "metric.mode=max") == 0
    assert result(runs)["status"] == status


def test_what_is_no_lightning_module_is_refused(
    main: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("~model", "+model={_target_:torch.nn.Linear,in_features:1,out_features:1}") == 2
    assert "is a Linear and no LightningModule" in capsys.readouterr().err


NET = "{_target_:torch.nn.Linear,in_features:64,out_features:10}"
KEEPS = f"+model={{_target_:own_models.Keeps,net:{NET}}}"


def test_checkpoints_can_be_read_back(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though a network is kept as a hyperparameter, and numbers are NumPy's."""
    assert main("~model", KEEPS, *EPOCHS, "trainer.max_epochs=1") == 0
    assert "leave out the hyperparameters net that" in capsys.readouterr().err
    last = runs / "train/0/checkpoints/last.ckpt"
    kept = torch.load(last, weights_only=True)
    assert kept["hyper_parameters"] == {"lr": 0.1, "scale": 1.0, "odd": False}
    assert main("~model", KEEPS, *EPOCHS, f"ckpt_path='{last}'", "test=true") == 0


def test_what_would_not_load_is_said_at_the_first_checkpoint(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = ["~model", KEEPS, "+model.odd=true", *EPOCHS]
    assert main(*odd) == 2
    error = capsys.readouterr().err
    assert "checkpoint['threshold']['odd'] is a builtins.function" in error
    assert "write trust_checkpoints=true" in error
    assert main(*odd, "trust_checkpoints=true", "trainer.max_epochs=1") == 0
    last = runs / "train/1/checkpoints/last.ckpt"
    assert main(*odd, f"ckpt_path='{last}'") == 2
    assert "trust_checkpoints=true" in capsys.readouterr().err
    assert main(*odd, f"ckpt_path='{last}'", "trust_checkpoints=true") == 0
