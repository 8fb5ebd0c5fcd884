"""Studies that an earlier version began go on: `tests/earlier/` is one, as it lay on disk.

    python train.py -m search.study=old search.num_trials=6 trainer.max_epochs=1 logger=none \\
        space=tiers_1_2
    caviar refine search.study=old search.num_trials=3

made it, at version 0.1.0 of November 2026; its checkpoints are left out, and its paths are neutral.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from caviar.ledger import Ledger, Trial
from conftest import Main, trials

EARLIER = Path(__file__).parent / "earlier"
STAGE = ["-m", "search.study=old", "trainer.max_epochs=1", "logger=none", "space=tiers_1_2"]
HERE = "hydra/launcher=basic"  # inside this process


@pytest.fixture
def old(runs: Path) -> Path:
    """A copy of the study, where it would be found."""
    return Path(shutil.copytree(EARLIER, runs / "old"))


def told(trial: Trial) -> object:
    """All that a ledger says of a trial."""
    return (trial.point, trial.seed, trial.status, trial.curve, trial.faults, trial.result)


def test_its_trials_are_read_as_they_were_written(old: Path, runs: Path) -> None:
    found = trials(runs, study="old")
    assert [t.status for t in found] == ["complete"] * 6
    best = found[2]
    assert best.point == {
        "optimizer.lr": 0.471323,
        "one_minus.optimizer.momentum": 0.0324975,
        "model.width": 44,
        "data.batch_size": 128,
    }
    assert best.seed == 473167858
    assert best.curve == {0: 0.6153974533081055}
    assert best.result is not None
    assert best.result.best == 0.6153974533081055
    assert best.result.metrics["val/acc"] == 0.8222222328186035
    spec = Ledger.open(str(old / "study.journal"), "old").spec("01_coarse")
    assert spec["sweep"] == (old / "01_coarse.yaml").read_text()


def test_its_status_is_shown(old: Path, caviar: Main, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["status"], ["status", "search.study=old"]):
        assert caviar(*arguments) == 0
        printed = capsys.readouterr().out
        assert "01_coarse: 6 trials: 6 complete" in printed
        assert "0.6154" in printed


def test_it_is_refined_to_the_same_file(
    old: Path, caviar: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the last character, but for a growth that one trial alone had asked for: up to lr 100."""
    written = (old / "02_fine.yaml").read_text()
    refine = ["refine", "search.study=old", "search.num_trials=3"]
    assert caviar(*refine) == 2  # what lies there is what counts, until it is asked for
    assert "write --force to replace it" in capsys.readouterr().err
    assert (old / "02_fine.yaml").read_text() == written
    assert caviar(*refine, "--force") == 0
    alarm = "    # boundary alarm at the high wall: grown past 1\n"
    assert alarm in written
    now = written.replace(alarm, "").replace("max: 100.0", "max: 0.6524")
    assert (old / "02_fine.yaml").read_text() == now
    assert caviar(*refine) == 0  # the same again needs no --force


@pytest.mark.slow
def test_it_goes_on_and_repeats_nothing(old: Path, main: Main, runs: Path) -> None:
    """The same command runs nothing, a larger number of trials the new one, and so does refine's
    file."""
    before = [told(t) for t in trials(runs, study="old")]
    journal = (old / "study.journal").read_bytes()
    assert main(*STAGE, HERE, "search.num_trials=6") == 0
    assert not list(old.rglob("result.json"))
    assert main(*STAGE, HERE, "search.num_trials=7") == 0
    coarse = trials(runs, study="old")
    assert [told(t) for t in coarse[:6]] == before
    assert coarse[6].status == "complete"
    assert [p.parent.name for p in (old / "01_coarse").glob("*/result.json")] == ["6"]

    fine = old / "02_fine.yaml"
    assert main("-m", "search.study=old", f"search.sweep={fine}", HERE) == 0
    found = trials(runs, "02_fine", "old")
    assert len(found) == 3
    assert all(t.finished for t in found)
    for trial in found:
        assert 0.0145 <= trial.point["optimizer.lr"] <= 100
        assert 25 <= trial.point["model.width"] <= 120
        assert trial.point["data.batch_size"] in (32, 64, 128)
    # A ledger is only ever added to.
    assert (old / "study.journal").read_bytes().startswith(journal)
