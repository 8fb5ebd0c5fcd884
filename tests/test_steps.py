"""Steps are as good as epochs: curves, pruners and progress, and runs that never validate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from caviar.base.result import Length, Result
from caviar.ledger import Ledger, Trial
from conftest import Main

pytestmark = pytest.mark.slow  # each trains a model, or several

# 34 batches of 32 an epoch.
QUICK = ["callbacks=none", "logger=none"]


def result(runs: Path, number: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((runs / f"train/{number}/result.json").read_text())
    return found


ACCUMULATED = ["+trainer.accumulate_grad_batches=4", "+trainer.val_check_interval=8"]
FORTY = ["trainer.max_epochs=-1", "+trainer.max_steps=40"]
OVER_EPOCHS = ["+trainer.val_check_interval=15", "+trainer.check_val_every_n_epoch=null"]


@pytest.mark.parametrize(
    ("trainer", "unit", "steps", "best_at"),
    [
        (["trainer.max_epochs=2"], "epoch", 68, 68),
        (["trainer.max_epochs=1", "+trainer.val_check_interval=0.25"], "step", 34, 32),
        (FORTY, "epoch", 40, 34),
        (["trainer.max_epochs=1", *ACCUMULATED], "step", 9, 8),
        ([*FORTY, *OVER_EPOCHS], "step", 40, 30),
    ],
)
def test_a_run_counts_epochs_and_steps(
    main: Main, runs: Path, trainer: list[str], unit: str, steps: int, best_at: int
) -> None:
    assert main(*QUICK, *trainer) == 0
    found = result(runs)
    assert (found["unit"], found["steps"], found["best_step"]) == (unit, steps, best_at)
    assert found["epochs"] in (1, 2)


def test_a_point_of_a_curve_has_its_place() -> None:
    assert Length("epoch", 20, 20).at(3) == 4
    assert [Length("step", 34, 4).at(i) for i in range(4)] == [8, 17, 26, 34]
    assert Length("step").at(20) == 20  # of a plain function


@pytest.mark.parametrize(
    ("trainer", "instead"),
    [
        (["+trainer.check_val_every_n_epoch=5", "trainer.max_epochs=3"], "every_n_epoch=3"),
        (["trainer.max_epochs=-1", "+trainer.max_steps=20"], "trainer.max_steps=34"),
        (["+trainer.limit_val_batches=0"], "limit_val_batches must not be 0"),
    ],
)
def test_a_run_that_never_validates_is_refused(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str], trainer: list[str], instead: str
) -> None:
    assert main(*QUICK, *trainer) == 2
    assert instead in capsys.readouterr().err
    assert not (runs / "train/0/result.json").exists()


def test_a_pruner_judges_validations_inside_of_an_epoch(main: Main, runs: Path) -> None:
    study = ["search.study=steps", "search.num_trials=12", "search.pruner=asha", "callbacks=none"]
    trainer = ["trainer.max_epochs=1", "+trainer.val_check_interval=0.1"]
    assert main("-m", *study, *trainer, "hydra.launcher.num_workers=2") == 0
    trials = Ledger.open(str(runs / "steps/study.journal"), "steps").trials("01_coarse")
    pruned = [t for t in trials if t.status == "pruned"]
    assert pruned
    assert all(len(t.curve) < 10 and t.length.unit == "step" for t in pruned)
    whole = next(t for t in trials if t.status == "complete")
    assert whole.result
    assert len(whole.curve) >= 10
    assert whole.trained == whole.result.steps
    _told_in_steps(pruned[0])


def _told_in_steps(trial: Trial) -> None:
    from caviar.screen.view import describe

    assert isinstance(trial.result, Result)
    assert f"(pruned after {trial.result.steps} steps)" in describe(trial, "val/loss")


def test_a_run_of_steps_goes_on_from_the_end_of_an_epoch(main: Main, runs: Path) -> None:
    """And trains on, where Lightning would end the same epoch once more."""
    for number, steps in enumerate((102, 68)):
        length = ["trainer.max_epochs=-1", f"+trainer.max_steps={steps}"]
        assert main(*length, "logger=none") == 0, number
    last = runs / "train/1/checkpoints/last.ckpt"
    assert main("trainer.max_epochs=-1", "+trainer.max_steps=102", f"ckpt_path='{last}'") == 0
    assert result(runs, 2)["metrics"] == result(runs, 0)["metrics"]
