"""Plain functions are tuned as well: one call reports, and may end the function."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from caviar.base.errors import Terminated
from caviar.base.files import last_checkpoint
from caviar.base.result import Result
from caviar.plain import report, run_function
from conftest import Main, trials

pytestmark = pytest.mark.slow  # each trains a model, or several

PLAIN = ["caviar.train=plain_functions.bowl"]
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
        (["caviar.train=plain_functions.returns"], 0, "val/loss 0.25 at step 1"),
        (["caviar.train=plain_functions.silent"], 2, "reported nothing"),
        (["caviar.train=plain_functions.backwards"], 2, "steps only grow"),
        (["caviar.train=plain_functions.missing"], 2, "caviar.train=plain_functions.missing"),
        (["caviar.train=plain_functions.diverges"], 0, "diverged"),
    ],
)
def test_what_a_function_may_do(
    main: Main, capsys: pytest.CaptureFixture[str], overrides: list[str], code: int, told: str
) -> None:
    assert main(*overrides) == code
    assert told in "".join(capsys.readouterr())


def config_of(function: str) -> Any:
    """What a function needs of a config."""
    node = {"metric": {"name": "val/loss"}, "train": f"plain_functions.{function}"}
    return OmegaConf.create({"caviar": node, "seed": 1})


def test_it_goes_on_from_what_it_has_left(tmp_path: Path) -> None:
    whole = run_function(config_of("tells"), tmp_path)
    assert (whole.best, whole.seed, whole.metrics["begun"]) == (1 / 3, 1, 0)
    (tmp_path / "last_3.pt").write_bytes(b"cut off")
    resume = last_checkpoint(tmp_path)
    assert resume is not None
    assert run_function(config_of("tells"), tmp_path, resume=resume).metrics["begun"] == 2


def test_an_exit_that_a_signal_began_is_an_interrupt(tmp_path: Path) -> None:
    told: list[Result] = []
    with pytest.raises(Terminated):
        run_function(
            config_of("interrupted"), tmp_path, ended=lambda result, _: told.append(result)
        )
    assert told[0].status == "killed"
    assert not (tmp_path / "result.json").exists()


@pytest.mark.nightly  # by day one of tests/projects is
def test_a_function_is_searched_and_confirmed(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = [f"search.stages.{s}.num_trials={n}" for s, n in (("coarse", 8), ("fine", 4))]
    assert main(*SEARCH, *PLAIN, "search.action=search", "search.pruner=asha", *stages) == 0
    coarse = trials(runs, "01_coarse", "p")
    assert any(t.status == "pruned" and t.trained == max(t.curve) < 8 for t in coarse)
    out = capsys.readouterr().out
    assert "the test set was not opened: no key of the config opens one" in out
    assert "beats the default" in out
