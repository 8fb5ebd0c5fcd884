"""Checkpoints, and runs that go on from one: to the last bit, or not at all."""

from __future__ import annotations

import csv
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from caviar.base.errors import UserError
from caviar.training.checkpoints import read_checkpoint, rows_before
from conftest import Main

pytestmark = pytest.mark.slow  # each trains a model, or several


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

    assert main(*quick, "scheduler=one_cycle") == 0
    cycle = [*quick[:1], "scheduler=one_cycle", "trainer.max_epochs=2"]
    last = runs / "train/3/checkpoints/last.ckpt"
    assert main(*cycle, f"ckpt_path='{last}'") == 2
    assert "ends after 34 steps, and the training has 68; write" in capsys.readouterr().err
    stopped = [*cycle, "model._target_=broken_models.InterruptedAtOnce", "data.batch_size=128"]
    assert main(*stopped) == 130
    last = runs / "train/5/checkpoints/last.ckpt"
    resume = [*cycle, "data.batch_size=128", f"ckpt_path='{last}'", "optimizer.lr=0.02"]
    assert main(*resume) == 0
    warned = capsys.readouterr().err
    assert warned.count("not applied") == 1
    assert "checkpoint's max_lr=0.01; scheduler.max_lr=0.02 is not applied" in warned


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04torn"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "torn.ckpt"
    with pytest.raises(UserError, match=f"ckpt_path={path}: there is no such file"):
        read_checkpoint(path)
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


@pytest.mark.parametrize(
    "schedule",
    [
        ["scheduler=one_cycle", "scheduler.cycle_momentum=true"],
        ["scheduler=warmup_cosine"],
        # Which counts each epoch as one without progress, and is stepped behind its checkpoint.
        ["scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=0.9"],
    ],
)
def test_a_resumed_run_goes_on_to_the_same_bits(
    main: Main, runs: Path, schedule: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights, momentum, schedule, random numbers, order, and everything that is logged."""
    # 9 steps an epoch
    run = [*schedule, "model.dropout=0.2", "data.batch_size=128", "trainer.max_epochs=3"]
    assert main(*run) == 0
    assert main(*run, "model._target_=broken_models.Interrupted") == 130
    assert main(*run, "model._target_=broken_models.InterruptedAtOnce") == 130
    for stopped, resumed, steps in ((1, 3, 12), (2, 4, 9)):  # numbers of the runs
        last = runs / f"train/{stopped}/checkpoints/last.ckpt"
        checkpoint, inside = torch.load(last, weights_only=True), steps > 9
        assert checkpoint["global_step"] == steps
        assert len(checkpoint["epoch_losses"]) == steps - 9
        assert ("random_states" in checkpoint) == inside
        capsys.readouterr()
        assert main(*run, f"ckpt_path='{last}'") == 0
        assert "not applied" not in capsys.readouterr().err
        assert_same_run(runs / "train/0", runs / f"train/{resumed}")


def assert_same_run(whole: Path, resumed: Path) -> None:
    """That a run ended as another one, which went on from a checkpoint."""
    results = [json.loads((folder / "result.json").read_text()) for folder in (whole, resumed)]
    for name in ("status", "best", "best_epoch", "last", "metrics"):
        assert results[0][name] == results[1][name]
    logged = [(folder / "metrics.csv").read_text().splitlines() for folder in (whole, resumed)]
    rows = [[{k: v for k, v in r.items() if v} for r in csv.DictReader(ls)] for ls in logged]
    assert rows[1]  # the others are in the folder of the run that was stopped
    assert rows[0][-len(rows[1]) :] == rows[1]
    for name in ("best", "last"):
        kept = [
            torch.load(folder / f"checkpoints/{name}.ckpt", weights_only=True)
            for folder in (whole, resumed)
        ]
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
            assert_same_bits(kept[0][part], kept[1][part])


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
