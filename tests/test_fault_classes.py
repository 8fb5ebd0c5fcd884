"""How a trial that failed is told apart, recorded and shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from caviar.ledger import Trial
from conftest import FAST, Main, Start, trials

pytestmark = pytest.mark.slow

STAGE = ["-m", *FAST, "search.study=s", "search.num_trials=4", "hydra/launcher=pool"]


def wide(trial: Trial) -> bool:
    return bool(trial.point["model.width"] > 64)


def test_memory_that_runs_out_is_tried_once_more_and_told(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real allocation, of more than the machine has."""
    assert main(*STAGE, "model._target_=slow_models.Hungry") == 0
    found = trials(runs)
    assert [t.status == "out of memory" for t in found] == [wide(t) for t in found]
    assert all(len(t.faults) == 2 * wide(t) for t in found)
    printed = capsys.readouterr().out
    assert "out of memory: RuntimeError" in printed
    assert "it is tried again" in printed


@pytest.mark.nightly
def test_a_distributed_trial_that_hangs_is_ended(main: Main, runs: Path) -> None:
    hangs = ["trainer=ddp_cpu", "model._target_=slow_models.Hangs", "hydra.launcher.timeout=15"]
    assert main(*STAGE, "search.num_trials=1", *hangs) == 1
    (trial,) = trials(runs)
    assert wide(trial)
    assert trial.status == "timeout"


def test_a_process_that_leaves_without_a_word(main: Main, runs: Path) -> None:
    assert main(*STAGE, "model._target_=broken_models.LeavesAtOnce") == 0
    found = trials(runs)
    assert [t.status == "exception" for t in found] == [wide(t) for t in found]
    assert {t.result.error for t in found if t.result and wide(t)} == {
        "the process left with exit code 3"
    }


def test_the_same_error_in_the_first_trials_stops_the_stage(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(*STAGE, "search.num_trials=12", "model._target_=broken_models.Exits")
    assert code == 1
    said = capsys.readouterr().err
    assert said.count("SystemExit: 3") == 1
    assert "the first 3 jobs all failed with" in said
    assert "error.txt" in said
    statuses = [t.status for t in trials(runs)]
    assert statuses.count("exception") >= 3
    assert statuses.count("waiting") >= 6


@pytest.mark.nightly
def test_distributed_trials_under_m(main: Main, start: Start, runs: Path) -> None:
    """Two processes each: right hyperparameters, right folder, right score, and nothing left."""
    distributed = ["trainer=ddp_cpu", "hydra.launcher.num_workers=2", "search.num_trials=2"]
    assert main(*STAGE, *distributed) == 0
    found = trials(runs)
    assert [t.status for t in found] == ["complete"] * 2
    for trial in found:
        folder = runs / "s/01_coarse" / str(trial.number)
        assert (folder / "result.json").exists()
        assert trial.result is not None
        assert trial.result.best == min(trial.curve.values())
    # The same as an ordinary run of the same setting.
    single = [f"{name}={value}" for name, value in found[1].point.items()]
    process = start("train.py", "trainer=ddp_cpu", *FAST, *single, f"seed={found[1].seed}")
    printed = process.wait()
    assert process.code == 0, printed
    assert printed.count("val/loss") == 1  # by one rank
    assert [p.name for p in (runs / "train").iterdir()] == ["0"]
    alone = json.loads((runs / "train/0/result.json").read_text())
    assert alone["status"] == "complete"
    assert found[1].result is not None
    assert alone["best"] == found[1].result.best


def test_what_another_rank_raised_is_told(main: Main, runs: Path) -> None:
    distributed = ["trainer=ddp_cpu", "search.num_trials=1"]
    assert main(*STAGE, *distributed, "model._target_=broken_models.RaisesOnRank1") == 1
    (trial,) = trials(runs)
    assert trial.result is not None
    assert trial.status == "exception"
    assert "rank 1: ValueError: rank 1 does not like it" in (trial.result.error or "")
    assert len(trial.faults) == 1
