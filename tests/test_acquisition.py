"""The later stages of `caviar search` are picked by a model: once, and the same anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from caviar.ledger import Trial
from conftest import Main, trials

pytestmark = pytest.mark.slow

PLAIN = ["caviar.train=plain_functions.bowl", "hydra/launcher=basic", "space=tier_1"]
STAGES = ["search.stages.coarse.num_trials=8", "search.stages.fine.num_trials=4"]
SEARCH = ["-m", "search.action=search", *PLAIN, *STAGES, "~search.stages.finest"]
SEARCH += ["search.confirm.budget=5", "search.confirm.top=1"]


def searched(main: Main, runs: Path, study: str, *more: str) -> list[list[Trial]]:
    assert main(*SEARCH, f"search.study={study}", *more) == 0
    return [trials(runs, stage, study) for stage in ("01_coarse", "02_fine")]


def points(stage: list[Trial]) -> list[dict[str, object]]:
    return [dict(trial.point) for trial in stage]


@pytest.mark.nightly
def test_picked_once_for_good(main: Main, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coarse, fine = searched(main, runs, "one")
    assert "02_fine: 4 trials picked inside of these ranges" in capsys.readouterr().out
    drawn_coarse, drawn = searched(main, runs, "drawn", "search.acquisition=none")
    assert points(coarse) == points(drawn_coarse)
    assert points(fine) != points(drawn)
    assert [t.seed for t in fine] == [t.seed for t in drawn]  # of their numbers
    best = min(t.result.best for t in fine if t.result and t.result.best is not None)
    assert best <= min(t.result.best for t in coarse if t.result and t.result.best is not None)


def test_an_unknown_way_is_refused(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(*SEARCH, "search.study=s", "search.acquisition=ucb") == 2
    assert "search.acquisition=ucb should be one of expected_improvement, none" in (
        capsys.readouterr().err
    )
