"""Loggers and the profiler: what a run leaves, offline."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Main

pytestmark = pytest.mark.slow


def test_the_profile_is_written(main: Main, runs: Path) -> None:
    assert main("debug=profile", "trainer.max_epochs=1") == 0
    assert "run_training_epoch" in (runs / "train/0/fit-profile.txt").read_text()


def test_every_trial_is_a_wandb_run_of_its_own(
    main: Main, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    arguments = ["logger=wandb", "trainer.max_epochs=1", "callbacks=none"]
    assert main("-m", "search.study=s", "search.num_trials=2", *arguments) == 0
    for number in range(2):
        folder = runs / f"s/01_coarse/{number}/wandb"
        assert len(list(folder.glob("offline-run-*"))) == 1
