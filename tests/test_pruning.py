"""Early stopping: what a pruner is told, what it decides, and what becomes of the trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from caviar.ledger import Ledger, Planned
from caviar.search.settings import PRUNERS
from caviar.search.trial import make_pruner
from caviar.space import Axis, Log, Space
from conftest import FAST, Main

SPACE = Space((Axis("optimizer.lr", Log(1e-4, 1.0)),))
EPOCHS = 16


def curves(path: Path, mode: str = "min") -> Ledger:
    """Nine trials whose losses differ by their numbers from the first epoch on; 0 is best."""
    ledger = Ledger.open(str(path / "study.journal"), "s")
    ledger.begin("01", {}, mode)
    ledger.extend("01", [Planned({"optimizer.lr": 0.01}, n) for n in range(9)], SPACE)
    for number in range(9):
        ledger.claim("01", number)
        for epoch in range(8):
            ledger.report("01", number, epoch, (1 + number) / (1 + epoch))
    return ledger


@pytest.mark.parametrize("name", [name for name in PRUNERS if name != "none"])
def test_a_good_trial_stays(tmp_path: Path, name: str) -> None:
    pruner = make_pruner(name, EPOCHS)
    assert pruner is not None
    assert not curves(tmp_path).should_prune("01", 0, pruner)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_asha_gives_the_worst_up(tmp_path: Path, mode: str) -> None:
    """The first to arrive at a rung passes it; of those behind, the better half."""
    ledger, pruner = curves(tmp_path, mode), make_pruner("asha", EPOCHS)
    assert pruner is not None
    order = range(9) if mode == "min" else range(8, -1, -1)
    decided = [ledger.should_prune("01", number, pruner) for number in order]
    assert not decided[0]
    assert all(decided[5:])


def test_there_is_no_pruner_by_default() -> None:
    assert make_pruner("none", EPOCHS) is None


def test_no_trial_is_judged_before_an_eighth_of_its_epochs(tmp_path: Path) -> None:
    ledger = Ledger.open(str(tmp_path / "study.journal"), "s")
    ledger.begin("01", {}, "min")
    ledger.extend("01", [Planned({"optimizer.lr": 0.01}, n) for n in range(6)], SPACE)
    for name in PRUNERS[1:]:
        pruner = make_pruner(name, 40)
        assert pruner is not None
        for number in range(6):
            ledger.claim("01", number)
            for epoch in range(4):
                ledger.report("01", number, epoch, float(number))
            assert not ledger.should_prune("01", number, pruner)


@pytest.mark.slow
def test_pruned_trials_are_marked_and_keep_their_best(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = ["-m", *FAST, "trainer.max_epochs=8", "search.study=s", "search.num_trials=8"]
    stage += ["~space.data", "data.batch_size=128"]  # the fewest steps
    assert main(*stage, "search.pruner=asha", "hydra.launcher.num_workers=1") == 0
    found = Ledger.open(str(runs / "s/study.journal"), "s").trials("01_coarse")
    pruned = [t for t in found if t.status == "pruned"]
    assert pruned
    for trial in pruned:
        assert len(trial.curve) < 8
        assert trial.result is not None
        assert trial.result.best == min(trial.curve.values())
    printed = capsys.readouterr().out
    assert f"{len(pruned)} pruned" in printed
    assert f"(after {len(pruned[0].curve)} epoch" in printed
    # Another pruner would be another search.
    assert main(*stage, "search.pruner=none") == 2
    assert "begun with another pruner" in capsys.readouterr().err
