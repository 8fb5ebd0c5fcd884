"""Training one model: seeds, splits, order, the best value, resuming."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
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
from caviar.base.result import Result
from caviar.config import resolvers
from caviar.training import train
from caviar.training.callbacks import BestMetric, is_loss
from caviar.training.checkpoints import read_checkpoint, rows_before
from caviar.training.data import EpochSampler, SklearnData
from caviar.training.ddp import failed_rank
from caviar.training.optim import build_optimizer, build_scheduler
from conftest import FAST, ROOT, Main

Compose = Callable[..., DictConfig]
LOST = "[…/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:16808"


@pytest.fixture
def composed(runs: Path, hydra_state: None) -> Compose:
    def call(*overrides: str) -> DictConfig:
        resolvers.register()
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return compose("train", list(overrides))

    return call


def result(runs: Path, number: int) -> dict[str, Any]:
    return json.loads((runs / "train" / str(number) / "result.json").read_text())


def test_what_an_epoch_logged_after_its_checkpoint_is_not_lost(main: Main, runs: Path) -> None:
    """A process may be killed between the two; and between the validation and the training row."""
    assert main("trainer.max_epochs=2") == 0
    folder = runs / "train/0"
    lines = (folder / "metrics.csv").read_text().splitlines()
    whole = list(csv.DictReader(lines))
    checkpoint = read_checkpoint(folder / "checkpoints/last.ckpt")
    # A trial that died between its last checkpoint and its result has nothing left to train.
    assert checkpoint["metrics"] == result(runs, 0)["metrics"]
    assert checkpoint["metrics"]["val/loss"] == result(runs, 0)["last"]
    assert rows_before(folder, checkpoint) == whole
    assert whole[-1]["train/loss"]
    assert not whole[-1]["val/loss"]
    for cut in ("", "1.23,"):  # gone, or torn
        (folder / "metrics.csv").write_text("\n".join([*lines[:-1], cut]))
        again = [{k: str(v) for k, v in row.items()} for row in rows_before(folder, checkpoint)]
        assert again[:-1] == whole[:-1]
        assert again[-1] == {k: v for k, v in whole[-1].items() if v}


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
        rows = [row for row in csv.DictReader(file) if row["val/loss"]]
    curve = [float(row["val/loss"]) for row in rows]
    assert found["best"] == min(curve)
    assert found["best_epoch"] == int(np.argmin(curve))
    assert found["last"] == curve[-1]
    assert [float(row["val/loss_best"]) for row in rows] == list(np.minimum.accumulate(curve))
    kept = torch.load(str(found["checkpoint"]), weights_only=True)
    assert kept["epoch"] == found["best_epoch"]


def test_the_last_checkpoint_is_of_the_last_epoch_and_resumes_keep_the_best(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = ["logger=none", "optimizer.lr=1.0", "scheduler=none"]  # jumps about
    assert main(*worse, "trainer.max_epochs=6") == 0
    first = result(runs, 0)
    assert first["best_epoch"] != 5  # or this tests nothing
    last = runs / "train/0/checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["epoch"] == 5

    assert main(*worse, "trainer.max_epochs=7", "optimizer.lr=0.5", f"ckpt_path='{last}'") == 0
    assert "goes on with the checkpoint's lr=1.0; optimizer.lr=0.5" in capsys.readouterr().err
    second = result(runs, 1)
    assert second["best"] <= first["best"]
    kept = torch.load(str(second["checkpoint"]), weights_only=True)
    assert kept["epoch"] == second["best_epoch"]
    assert Path(str(second["checkpoint"])).parent == runs / "train/1/checkpoints"

    assert main(*worse, "trainer.max_epochs=6", f"ckpt_path='{last}'") == 2
    assert "leaves nothing to train; write trainer.max_epochs=12" in capsys.readouterr().err


@pytest.mark.slow
def test_what_a_resume_cannot_change_is_said(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["logger=none", "trainer.max_epochs=1"]
    assert main(*quick, "scheduler=cosine") == 0
    last = runs / "train/0/checkpoints/last.ckpt"
    resume = ["logger=none", "trainer.max_epochs=2", f"ckpt_path='{last}'"]
    assert main(*resume, "optimizer=adam") == 2
    assert "was trained with another optimizer, which has no betas, eps" in capsys.readouterr().err
    assert main(*resume, "scheduler=cosine", "metric.name=val/acc", "metric.mode=max") == 0
    assert "checkpoint's T_max=1; scheduler.T_max=2 is not applied" in capsys.readouterr().err
    found = result(runs, 2)
    assert (found["best_epoch"], found["best"]) == (1, found["last"])
    assert 0 < found["best"] <= 1  # an accuracy, not the old loss


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04torn"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "torn.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is no checkpoint that loads safely"):
        read_checkpoint(path)


def test_a_checkpoint_that_is_damaged_anywhere_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.ckpt"
    torch.save({"state_dict": {}, "epoch": 1}, path)
    whole = path.read_bytes()
    start = whole.index(b"state_dict") - 10
    for place in range(start, start + 50):  # the pickled part, and some behind it
        path.write_bytes(whole[:place] + b"." + whole[place + 1 :])
        with suppress(UserError):
            assert "state_dict" in read_checkpoint(path)


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


@pytest.mark.parametrize(("name", "status"), [("train_loss", "diverged"), ("lossy", "complete")])
def test_any_loss_that_is_not_a_number_is_divergence(
    main: Main, runs: Path, name: str, status: str
) -> None:
    model = ["model._target_=broken_models.LogsNan", f"+model.name={name}"]
    assert main(*FAST, *model, "trainer.max_epochs=3", "+trainer.limit_train_batches=2") == 0
    assert result(runs, 0)["status"] == status


SLEEPS = "import time; time.sleep(60)"
KILLED = "import os; os.kill(os.getpid(), 9)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "written", "error", "expected"),
    [
        # It has told, and its end takes long on a busy machine; or it dies on its way out.
        ([SLEEPS], {1: "ValueError: mine"}, LOST, "rank 1: ValueError: mine"),
        ([KILLED], {1: "ValueError: mine"}, LOST, "rank 1: ValueError: mine"),
        # It leaves without a word, later than a rank with an error of its own would wait.
        (["import time; time.sleep(3); exit(3)"], {}, LOST, "rank 1: it left with exit code 3"),
        (["exit(3)"], {1: ""}, LOST, "rank 1: it left with exit code 3"),
        ([KILLED], {}, LOST, "rank 1 was killed by SIGKILL"),
        # The others only lost it.
        (["exit(1)", KILLED], {1: LOST}, LOST, "rank 2 was killed by SIGKILL"),
        (["exit(1)", "exit(3)"], {1: LOST}, LOST, "rank 2: it left with exit code 3"),
        # The error is this rank's own, and its peers wait for it.
        ([SLEEPS], {}, "CUDA error", None),
        ([], {}, "CUDA error", None),
    ],
    ids=[
        "slow to leave",
        "killed on its way out",
        "leaves late",
        "leaves while it writes",
        "killed",
        "another was killed",
        "another left",
        "alive",
        "alone",
    ],
)
def test_what_another_rank_ended_with_is_found_out(
    tmp_path: Path, ranks: list[str], written: dict[int, str], error: str, expected: str | None
) -> None:
    for rank, text in written.items():
        (tmp_path / f"error_rank_{rank}.txt").write_text(text)
    processes = [subprocess.Popen([sys.executable, "-c", rank]) for rank in ranks]
    try:
        cause = failed_rank(processes, tmp_path, RuntimeError(error))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert (None if cause is None else str(cause)) == expected


def test_a_run_that_diverges_says_so_and_stops(main: Main, runs: Path) -> None:
    assert main(*FAST, "optimizer.lr=1e6", "trainer.max_epochs=30") == 0
    assert result(runs, 0)["status"] == "diverged"


@pytest.mark.parametrize("stopped", ["inside of an epoch", "at the end of one"])
def test_a_resumed_run_goes_on_to_the_same_bits(main: Main, runs: Path, stopped: str) -> None:
    """Weights, momentum, schedule, random numbers, order, and everything that is logged."""
    run = ["model.dropout=0.2", "data.batch_size=128", "trainer.max_epochs=3"]  # 9 steps an epoch
    assert main(*run) == 0
    if stopped == "inside of an epoch":
        assert main(*run, "model._target_=broken_models.Interrupted") == 130
    else:
        assert main(*run, "trainer.max_epochs=1") == 0
    last = runs / "train/1/checkpoints/last.ckpt"
    inside = stopped == "inside of an epoch"
    before = torch.load(last, weights_only=True)
    assert before["global_step"] == (12 if inside else 9)
    assert len(before["epoch_losses"]) == (3 if inside else 0)
    assert ("random_states" in before) == inside
    assert main(*run, f"ckpt_path='{last}'") == 0

    whole, resumed = result(runs, 0), result(runs, 2)
    for name in ("status", "best", "best_epoch", "last", "metrics"):
        assert resumed[name] == whole[name]
    logged = [(runs / f"train/{i}/metrics.csv").read_text().splitlines() for i in (0, 2)]
    assert logged[0][0] == logged[1][0]
    assert logged[0][3:] == logged[1][1:]  # the first epoch's two rows are in the other folder
    for name in ("best", "last"):
        first, second = (
            torch.load(runs / f"train/{i}/checkpoints/{name}.ckpt", weights_only=True)
            for i in (0, 2)
        )
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
            assert_same_bits(first[part], second[part])


def assert_same_bits(first: Any, second: Any) -> None:
    """Of plain containers with tensors among them."""
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same_bits(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same_bits(one, other)
    else:
        assert first == second


def test_training_is_the_same_whoever_watches(composed: Compose, tmp_path: Path) -> None:
    told: list[Any] = []

    class Watcher(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            told.append(("epoch", trainer.current_epoch))

    def report(epoch: int, value: float) -> bool:
        told.append(("metric", epoch, value))
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
        (["ckpt_path=nowhere.ckpt"], "ckpt_path=nowhere.ckpt: there is no such file"),
        (["fit=false"], "fit=false and test=false leave nothing to do"),
        (["fit=false", "test=true"], "needs a model to test"),
        (["seed=-1"], "seed=-1 should be a whole number from 0 on, or null"),
        (["optimizer.lr=-1"], "optimizer (_target_ torch.optim.SGD)"),
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


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (["scheduler=inverse_time", "scheduler.rate=1"], [1, 1 / 2, 1 / 3, 1 / 4]),
        (["scheduler=exponential", "scheduler.gamma=0.5"], [1, 1 / 2, 1 / 4, 1 / 8]),
        (["scheduler=step", "scheduler.step_size=2", "scheduler.gamma=0.1"], [1, 1, 0.1, 0.1]),
        (["scheduler=cosine", "trainer.max_epochs=2"], [1, 0.5, 0, 0.5]),
    ],
)
def test_schedules(composed: Compose, schedule: list[str], expected: list[float]) -> None:
    config = composed("optimizer.lr=1", *schedule)
    optimizer = build_optimizer(config.optimizer, [torch.nn.Parameter(torch.zeros(1))])
    scheduler = build_scheduler(config.scheduler, optimizer)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx(expected, abs=1e-12)


def test_no_schedule(composed: Compose) -> None:
    config = composed("scheduler=none")
    optimizer = build_optimizer(config.optimizer, [torch.nn.Parameter(torch.zeros(1))])
    assert build_scheduler(config.scheduler, optimizer) is None


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
    with pytest.raises(UserError, match="digits, breast_cancer, wine, iris"):
        SklearnData("mnist", num_features=1, num_classes=1, batch_size=1)
    with pytest.raises(UserError, match="the data has 64 features and 10 classes"):
        data(num_features=3)
    with pytest.raises(UserError, match="leave nothing for val"):
        data(fractions=[0.9999, 0.00005, 0.00005])


@pytest.mark.parametrize(
    "arguments",
    [
        ["experiment=breast_cancer", "test=true", "callbacks=early_stopping", "optimizer=adam"],
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
