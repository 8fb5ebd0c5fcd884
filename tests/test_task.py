"""Somebody's task, looked on: its Trainers have our callback by themselves, and others have not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import DataLoader, TensorDataset

from caviar.base.errors import UserError
from caviar.base.result import Result
from caviar.task.follow import Follow
from caviar.task.task import as_trials, train

pytestmark = [
    pytest.mark.slow,  # each trains
    pytest.mark.filterwarnings("ignore::UserWarning"),  # Lightning's, of loaders without workers
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
]


class Bowl(pl.LightningModule):
    """One weight that goes to 0, by the config's rate."""

    def __init__(self, lr: float, metric: str = "val/loss") -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0]))
        self.lr, self.metric = lr, metric

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return (self.weight**2).mean()

    def validation_step(self, batch: Any, index: int) -> None:
        self.log(self.metric, self.weight.detach() ** 2)

    def test_step(self, batch: Any, index: int) -> None:
        self.log("test/loss", self.weight.detach() ** 2)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), self.lr)

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(torch.zeros(8, 1)), batch_size=4)

    val_dataloader = test_dataloader = train_dataloader


def trainer_of(config: DictConfig, **more: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(max_epochs=5, accelerator="cpu", enable_checkpointing=False, **quiet, **more)


def fits(config: DictConfig) -> None:
    trainer_of(config).fit(Bowl(config.lr, config.get("logged", "val/loss")))


def config_of(**more: Any) -> DictConfig:
    node = {"metric": {"name": "val/loss"}}
    place = {"stage": "01_coarse", "number": 0, "seed": None}
    return OmegaConf.create({"caviar": node, "lr": 0.1, "seed": 3, "trial": place, **more})


def test_what_its_trainer_logs_is_the_result(tmp_path: Path) -> None:
    points: list[tuple[int, float]] = []

    def report(point: int, value: float, length: Any) -> bool:
        points.append((point, value))
        return False

    result = train(fits, config_of(), tmp_path, report)
    assert (result.status, result.seed, result.epochs, result.steps) == ("complete", 3, 5, 10)
    assert result.best == pytest.approx(0.8**20)
    assert [point for point, _ in points] == [0, 1, 2, 3, 4]
    assert result.best == points[-1][1]
    assert (tmp_path / "result.json").exists()
    # Outside of a task nobody looks on.
    assert not any(isinstance(c, Follow) for c in trainer_of(config_of()).callbacks)


def test_what_it_returns_counts(tmp_path: Path) -> None:
    def returns(config: DictConfig) -> torch.Tensor:
        fits(config)
        return torch.tensor(0.5)

    result = train(returns, config_of(), tmp_path)
    assert result.best == 0.5
    assert result.epochs == 5


def test_a_hopeless_one_is_stopped_and_a_diverged_one_is_worst(tmp_path: Path) -> None:
    result = train(fits, config_of(), tmp_path, lambda point, value, length: point == 1)
    assert (result.status, result.epochs) == ("pruned", 2)
    result = train(fits, config_of(lr=1e30), tmp_path)
    assert result.status == "diverged"
    assert result.loss("min") == math.inf


def test_several_trainers_need_a_value(tmp_path: Path) -> None:
    def folds(config: DictConfig) -> float | None:
        for _ in range(2):
            fits(config)
        return config.get("value")

    with pytest.raises(UserError, match="trained 2 times and returned nothing"):
        train(folds, config_of(), tmp_path)
    assert train(folds, config_of(value=0.25), tmp_path).best == 0.25


def test_the_metric_is_named_where_another_is_logged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"did you mean caviar\.metric\.name=val/losses\?"):
        train(fits, config_of(logged="val/losses"), tmp_path)


def test_an_interrupt_of_its_trainer_is_one(tmp_path: Path) -> None:
    """Lightning leaves by an exit, which would look like an ordinary end."""

    class Interrupted(pl.Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            raise KeyboardInterrupt

    def task(config: DictConfig) -> None:
        trainer_of(config, callbacks=[Interrupted()]).fit(Bowl(0.1))

    told: list[Result] = []
    with pytest.raises(KeyboardInterrupt):
        train(task, config_of(), tmp_path, ended=lambda result, _: told.append(result))
    assert told[0].status == "killed"


def test_where_its_test_set_is_open_that_is_the_result(tmp_path: Path) -> None:
    def tests(config: DictConfig) -> float:
        trainer, model = trainer_of(config), Bowl(config.lr)
        trainer.fit(model)
        trainer.test(model, verbose=False)
        return 0.0

    config = config_of()
    config.trial.stage = "test"
    result = train(tests, config, tmp_path)
    assert set(result.metrics) == {"test/loss"}
    assert result.best == result.metrics["test/loss"] == pytest.approx(0.8**20)
    with pytest.raises(UserError, match="the task has tested nothing"):
        train(fits, config, tmp_path)


def test_a_task_is_wrapped_once_and_runs_by_itself() -> None:
    def task(config: DictConfig) -> int:
        return 7

    wrapped = as_trials(task)
    assert as_trials(wrapped) is wrapped
    assert wrapped.__name__ == "task"
