"""`hydra/launcher=stacked`: a stage whose trials are trained as one, as the pool leaves it."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from caviar.training.winner import load
from conftest import Main, awaited, meanwhile, trials

pytestmark = pytest.mark.slow

STAGE = ["-m", "space=tier_1", "search.num_trials=6", "model.width=8", "trainer.max_epochs=3"]
STACKED = [*STAGE, "hydra/launcher=stacked", "hydra.launcher.num_workers=1"]


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_stage_is_the_one_of_the_pool(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*STACKED, "search.study=s") == 0
    assert "one by one" not in capsys.readouterr().out
    assert main(*STAGE, "search.study=pool", "hydra/launcher=pool") == 0
    for ours, theirs in zip(trials(runs), trials(runs, study="pool"), strict=True):
        assert ours.status == theirs.status
        assert ours.point == theirs.point
        assert ours.curve.keys() == theirs.curve.keys()
        assert list(ours.curve.values()) == pytest.approx(list(theirs.curve.values()), rel=1e-4)
        here, there = (runs / s / f"01_coarse/{ours.number}" for s in ("s", "pool"))
        result, other = (json.loads((f / "result.json").read_text()) for f in (here, there))
        assert result["metrics"] == pytest.approx(other["metrics"], rel=1e-4)
        configs = [OmegaConf.load(f / ".hydra/config.yaml") for f in (here, there)]
        for config in configs:
            config.search.study = "either"
        assert configs[0] == configs[1]
        rows, others = (rows_of(f / "metrics.csv") for f in (here, there))
        assert [row.keys() for row in rows] == [row.keys() for row in others]
        assert [[v == "" for v in row.values()] for row in rows] == [
            [v == "" for v in row.values()] for row in others
        ]
    assert load(runs / "s/01_coarse/0").model is not None


def test_by_default_few_trials_are_trained_one_by_one_and_many_as_one(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*STAGE, "search.study=s", "search.num_trials=3") == 0
    assert "stack" not in capsys.readouterr().out
    assert not (runs / "s/01_coarse/stack/output.txt").exists()
    assert main(*STAGE, "search.study=s", "search.num_trials=8") == 0
    assert "5 trials in a stack" in capsys.readouterr().out
    assert [t.status for t in trials(runs)] == ["complete"] * 8


def test_what_no_stack_can_take_is_trained_in_the_pool(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = [*STACKED, "model._target_=stack_models.Undecided", "search.num_trials=3"]
    assert main(*stage, "search.study=s") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "3 of 3 trials are trained one by one after all" in said
    assert "training_step decides in Python by the value of a tensor" in said
    assert [t.status for t in trials(runs)] == ["complete"] * 3


def test_a_process_that_is_killed_is_started_again(main: Main, runs: Path) -> None:
    assert main(*STACKED, "search.study=whole", "trainer.max_epochs=40") == 0
    stage = runs / "s/01_coarse"

    def kill() -> None:
        awaited(lambda: [*stage.glob("stack/*.json")])
        os.kill(trials(runs)[0].pid or 0, signal.SIGKILL)

    with meanwhile(kill):
        assert main(*STACKED, "search.study=s", "trainer.max_epochs=40") == 0
    for ours, whole in zip(trials(runs), trials(runs, study="whole"), strict=True):
        assert len(ours.faults) == 1
        assert ours.curve == whole.curve
        assert ours.result is not None
        assert whole.result is not None
        assert ours.result.metrics == whole.result.metrics


@pytest.mark.nightly
def test_ctrl_c_keeps_what_was_trained(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = runs / "s/01_coarse"

    def interrupt() -> None:
        awaited(lambda: [*stage.glob("stack/*.json")])
        os.kill(os.getpid(), signal.SIGINT)

    with meanwhile(interrupt):
        assert main(*STACKED, "search.study=s", "trainer.max_epochs=400") == 130
    assert "the same command continues" in capsys.readouterr().err
    assert all(t.waiting for t in trials(runs))
    before = [len(t.curve) for t in trials(runs)]
    assert main(*STACKED, "search.study=s", "trainer.max_epochs=400") == 0
    assert min(before) > 0
    assert [t.status for t in trials(runs)] == ["complete"] * 6
