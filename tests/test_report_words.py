"""What the report says in words, on studies where it would be easy to say something false."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from caviar.base.result import COMPLETE, DIVERGED, Result
from caviar.report.importance import importance_section
from caviar.report.marks import metric_domain
from caviar.report.snapshot import Snapshot, gather
from caviar.report.stages import stages_section
from caviar.report.verdict import verdict_section, worth_sentence
from caviar.search.verdict import Setting, Verdict
from caviar.space import Space
from conftest import ROOT
from made_studies import BATCH, LR, made

SMALL = Space((LR, BATCH))


@pytest.fixture(autouse=True)
def project(runs: Path, monkeypatch: pytest.MonkeyPatch, hydra_state: None) -> None:
    monkeypatch.chdir(ROOT)


def snapshot_of(runs: Path, *losses: list[float], noise: float | None = None) -> Snapshot:
    """A study with these losses, a stage each; confirmed if the noise is given."""
    names = ("01_coarse", "02_fine", "03_finest")
    study = made(runs / "s", SMALL, {n: len(v) for n, v in zip(names, losses, strict=False)})
    snapshot = gather(study)
    stages = []
    for stage, values in zip(snapshot.stages, losses, strict=True):
        trials = [
            replace(t, status=status, result=Result(status, best=v, seconds=1.0))
            for t, v in zip(stage.trials, values, strict=True)
            for status in [COMPLETE if math.isfinite(v) else DIVERGED]
        ]
        stages.append(replace(stage, trials=trials))
    default = Setting("default", {}, [0.5, 0.6], [0, 1])
    verdict = Verdict("val/loss", "min", noise or 0.0, default, default, [], 9)
    return replace(snapshot, stages=stages, verdict=None if noise is None else verdict)


WIDE = [0.1 * k for k in range(1, 11)]


def test_a_stage_that_found_worse_is_not_called_better(runs: Path) -> None:
    said = worth_sentence(snapshot_of(runs, WIDE, [x + 1 for x in WIDE], noise=0.01))
    assert "1 (100.0 σ) worse than 01_coarse; another stage (10 trials, 10 s of training)" in said
    assert said.endswith("is hardly worth it.")


def test_a_clear_gain_is_worth_another_stage(runs: Path) -> None:
    said = worth_sentence(snapshot_of(runs, [x + 1 for x in WIDE], WIDE, noise=0.01))
    assert "1 (100.0 σ) better than 01_coarse" in said
    assert said.endswith("may well be worth it.")


def test_a_gain_inside_of_the_noise_is_not(runs: Path) -> None:
    said = worth_sentence(snapshot_of(runs, [x + 0.001 for x in WIDE], WIDE, noise=0.1))
    assert said.endswith("is not worth it: that is less than seeds alone make.")


def test_without_a_confirmation_the_noise_is_to_be_measured(runs: Path) -> None:
    assert "which confirm measures" in worth_sentence(snapshot_of(runs, WIDE))


def test_where_no_noise_could_be_measured_nothing_is_promised(runs: Path) -> None:
    said = worth_sentence(snapshot_of(runs, WIDE, noise=math.nan))
    assert "cannot be told, as the noise is not known" in said


@pytest.mark.parametrize("losses", [[0.5] * 10, [0.3] + [math.inf] * 9, [math.inf] * 10])
def test_no_gain_is_made_of_rounding_or_of_one_loss(runs: Path, losses: list[float]) -> None:
    said = worth_sentence(snapshot_of(runs, losses, noise=0.0))
    assert "nothing better" in said or "Too few trials" in said
    assert "e-1" not in said


def test_the_best_is_of_stages_that_trained_alike(runs: Path) -> None:
    snapshot = snapshot_of(runs, WIDE, [x + 1 for x in WIDE])
    coarse, fine = snapshot.stages
    longer = replace(fine, sweep=replace(fine.sweep, overrides=("trainer.max_epochs=2",)))
    assert snapshot.best is not None
    assert snapshot.best.stage == "01_coarse"
    other = replace(snapshot, stages=[coarse, longer])
    assert other.best is not None
    assert other.best.stage == "02_fine"


def test_only_finished_trials_are_counted(runs: Path) -> None:
    study = made(
        runs / "s", stages={"01_coarse": 30}, fate=lambda n: COMPLETE if n < 3 else "waiting"
    )
    said = verdict_section(gather(study)).words[0]
    assert "as the best of 3 trials it flatters itself" in said


def test_importance_uses_the_latest_stage_that_has_something_to_say(runs: Path) -> None:
    study = made(runs / "s", stages={"01_coarse": 20})
    made(runs / "s", stages={"02_fine": 5}, fate=lambda n: "waiting")
    assert "From 20 trials." in importance_section(gather(study)).words[0]


def test_reasons_are_found_beside_a_stage_that_was_run_from_its_file(runs: Path) -> None:
    alarm = "boundary alarm at the high wall: grown past 1"
    study = made(runs / "s", stages={"01_coarse": 12, "02_fine": 6})
    section = stages_section(gather(study))
    assert not any("boundary alarm" in word.lower() for word in section.words)  # nothing is known
    fine = replace(study.begun_sweep("02_fine"), reasons={LR.name: [alarm]})
    fine.write(study.sweep_path("02_fine"))
    words = stages_section(gather(study)).words
    assert "Boundary alarm: optimizer.lr in 02_fine: at the high wall: grown past 1." in words


def test_a_stage_without_trials_is_not_called_unbegun(runs: Path) -> None:
    study = made(runs / "s", stages={"01_coarse": 0})
    assert stages_section(gather(study)).words[0] == "01_coarse: 0 trials."
    next_one = replace(study.begun_sweep("01_coarse"), stage="02_fine")
    next_one.write(study.sweep_path("02_fine"))
    assert "02_fine: 0 trials, not begun" in stages_section(gather(study)).words[0]


def test_one_far_loss_does_not_flatten_the_pictures() -> None:
    assert metric_domain([0.5, 0.6, 0.7, -1e30], "max")[0][0] > -10  # type: ignore[index]
    assert metric_domain([0.0, 0.1, 0.2, 1e30], "min")[0][1] < 10  # type: ignore[index]
    low, high = metric_domain([0.12345678, 0.123456784], "min")[0]  # type: ignore[index]
    assert low < high
