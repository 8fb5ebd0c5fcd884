"""Plain functions are tuned as well: one call reports, and may end the function."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from caviar.plain import report
from conftest import Main, trials

pytestmark = pytest.mark.slow  # each trains a model, or several

PLAIN = ["train._target_=plain_functions.bowl"]
SEARCH = ["-m", "search.study=p", "hydra/launcher=basic", "space=tier_1"]


def result(runs: Path, number: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((runs / f"train/{number}/result.json").read_text())
    return found


def test_a_function_is_a_run(main: Main, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(*PLAIN) == 0
    found = result(runs)
    assert (found["status"], found["unit"], found["steps"]) == ("complete", "step", 8)
    assert found["best"] == found["last"] == found["metrics"]["val/loss"]
    assert "at step 8" in capsys.readouterr().out
    assert len((runs / "train/0/metrics.csv").read_text().splitlines()) == 9
    assert main(*PLAIN, "seed=0") == 0
    assert result(runs, 1)["best"] == found["best"]  # Python's and NumPy's are seeded
    report(1, 2.0)  # outside of a run it says nothing to anybody


@pytest.mark.parametrize(
    ("overrides", "code", "told"),
    [
        (["train._target_=plain_functions.returns"], 0, "val/loss 0.25 at step 1"),
        (["train._target_=plain_functions.silent"], 2, "reported nothing"),
        (["train._target_=plain_functions.backwards"], 2, "steps only grow"),
        (["train._target_=plain_functions.missing"], 2, "train._target_=plain_functions.missing"),
        (["train._target_=plain_functions.diverges"], 0, "diverged"),
    ],
)
def test_what_a_function_may_do(
    main: Main, capsys: pytest.CaptureFixture[str], overrides: list[str], code: int, told: str
) -> None:
    assert main(*overrides) == code
    assert told in "".join(capsys.readouterr())


@pytest.mark.nightly  # by day one of tests/projects is
def test_a_function_is_searched_and_confirmed(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = [f"search.stages.{s}.num_trials={n}" for s, n in (("coarse", 8), ("fine", 4))]
    assert main(*SEARCH, *PLAIN, "search.action=search", "search.pruner=asha", *stages) == 0
    coarse = trials(runs, "01_coarse", "p")
    assert any(t.status == "pruned" and t.trained == max(t.curve) < 8 for t in coarse)
    out = capsys.readouterr().out
    assert "the test set was not opened: no confirmed run has kept a checkpoint" in out
    assert "The winner beats the default" in out
