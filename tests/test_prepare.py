"""`prepare_data`: once for all trials of a command, as often as Lightning does in a single run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

import prepared_data
from caviar.base import files
from conftest import FAST, Main, trials

pytestmark = pytest.mark.slow  # each trains a model, or several

DATA = ["data._target_=prepared_data.Prepares", "~data.name"]
SHORT = [*FAST, "+trainer.limit_train_batches=1", "trainer.max_epochs=1"]
STAGE = ["-m", *SHORT, "search.study=s", "search.num_trials=4", "hydra/launcher=basic"]


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the locks of this machine are."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def calls(locks: Path) -> list[str]:
    """What was called in this test."""
    prepared_data.calls.clear()
    prepared_data.fails.clear()
    return prepared_data.calls


def test_it_is_called_once_for_all_trials_of_a_command(main: Main, calls: list[str]) -> None:
    """Though each has another batch size, width and seed."""
    model = "model._target_=prepared_data.PreparingModel"
    assert main(*STAGE, *DATA, model) == 0
    assert calls == ["data split 0", "model"]
    assert main(*STAGE, *DATA, model, "search.num_trials=5") == 0  # they may be gone by now
    assert calls == ["data split 0", "model"] * 2


@pytest.mark.parametrize("kind", ["Prepares", "Renames"])
def test_it_is_called_again_for_what_it_reads(
    main: Main, calls: list[str], runs: Path, kind: str
) -> None:
    """Who searches over splits may write them into files; and who keeps an argument under another
    name may read it there."""
    target = f"data._target_=prepared_data.{kind}"
    assert main(*STAGE, *DATA, target, "+space.data.split_seed=${choice:1,2}") == 0
    drawn = {f"data split {t.point['data.split_seed']}" for t in trials(runs)}
    assert len(drawn) == 2
    assert sorted(calls) == sorted(drawn)


def test_the_next_trial_tries_again_if_it_fails(main: Main, calls: list[str], runs: Path) -> None:
    prepared_data.fails.append(OSError("the server is away"))
    assert main(*STAGE, *DATA) == 0
    first, *others = trials(runs)
    assert first.result is not None
    assert first.result.error == "OSError: the server is away"
    assert {t.status for t in others} == {"complete"}
    assert len(calls) == 2


def test_a_single_run_calls_it_as_lightning_does(main: Main, calls: list[str]) -> None:
    assert main(*SHORT, *DATA, "test=true") == 0
    assert calls == ["data split 0"] * 2  # to fit, and to test


def test_without_one_there_is_no_lock(main: Main, locks: Path) -> None:
    assert main(*SHORT) == 0
    assert not list(locks.glob("caviar-*"))


def test_a_run_that_waits_for_another_says_so(
    main: Main,
    runs: Path,
    calls: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two at a time would write the same file. (That it waits: test_files.py)"""
    assert main(*SHORT, *DATA) == 0
    monkeypatch.setattr(files, "_lock_within", lambda file, seconds: False)
    assert main(*SHORT, *DATA) == 0
    words = f"waiting for prepare_data of the run in {runs}/train/0, process"
    assert words in capsys.readouterr().out
    assert len(calls) == 2
