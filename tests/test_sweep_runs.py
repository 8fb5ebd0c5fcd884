"""Later stages, sweep files and studies in a database: `train.py -m search.sweep=FILE`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from caviar.ledger import Ledger
from caviar.search.stages import stage_sweep
from caviar.space import Axis, Choice, Log, OneMinusLog, Scale, Space
from caviar.space.sweep_file import SweepFile
from conftest import FAST, Main, trials
from made_studies import LR, made

pytestmark = pytest.mark.slow

STAGE = ["-m", *FAST, "search.study=s"]


def test_a_sweep_file_is_run_as_the_space_it_came_from(main: Main, runs: Path) -> None:
    assert main(*STAGE, "search.num_trials=2") == 0
    file = runs / "s/01_coarse.yaml"
    assert main("-m", f"search.sweep={file}", "search.study=t") == 0
    again = Ledger.open(str(runs / "t/study.journal"), "t").trials("01_coarse")
    assert [t.point for t in again] == [t.point for t in trials(runs)]
    assert [t.result.best for t in again] == [t.result.best for t in trials(runs)]


def test_a_sweep_file_brings_its_model_study_and_metric(
    main: Main, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its axes are checked against what its own overrides make of the config."""
    space = Space((Axis("optimizer.beta1", OneMinusLog(0.01, 0.5)),))
    fixed = (*FAST, "optimizer=adam", "metric.name=val/acc", "metric.mode=max")
    sweep = SweepFile("mine", "01_coarse", space, 2, "val/acc", "max", fixed)
    sweep.write(tmp_path / "a.yaml")
    assert main("-m", f"search.sweep={tmp_path}/a.yaml") == 0
    ledger = Ledger.open(str(runs / "mine/study.journal"), "mine")
    for trial in ledger.trials("01_coarse"):
        assert trial.result.best == max(trial.curve.values())

    replace(sweep, overrides=fixed[:-2]).write(tmp_path / "b.yaml")
    capsys.readouterr()
    assert main("-m", f"search.sweep={tmp_path}/b.yaml", "search.study=t") == 2
    assert "add metric.name=val/acc and metric.mode=max" in capsys.readouterr().err


def test_a_later_stage_runs_the_file_that_refine_wrote(main: Main, runs: Path) -> None:
    assert main(*STAGE, "search.num_trials=1") == 0
    assert main(*STAGE, "search.stage=02_fine") == 2
    first = SweepFile.read(runs / "s/01_coarse.yaml")
    narrow = first.space.replace({"optimizer.lr": Log(0.011, 0.012)})
    replace(first, stage="02_fine", space=narrow).write(runs / "s/02_fine.yaml")
    for _ in range(2):
        assert main(*STAGE, "search.stage=02_fine") == 0
    (trial,) = trials(runs, "02_fine")
    assert 0.011 <= trial.point["optimizer.lr"] <= 0.012
    file = runs / "s/02_fine.yaml"
    file.unlink()
    assert main(*STAGE, "search.stage=02_fine", "search.dry_run=true") == 0
    assert not file.exists()  # a dry run writes nothing
    assert main(*STAGE, "search.stage=02_fine") == 0
    assert SweepFile.read(file).space == narrow


def test_a_stages_own_overrides_are_held_against_what_its_file_trains(
    main: Main, runs: Path, tmp_path: Path
) -> None:
    space = Space((Axis("optimizer.lr", Log(1e-3, 1e-1)),))
    fixed = ("experiment=digits_conv", "logger=none")  # no other model has channels
    SweepFile("s", "01_coarse", space, 5, "val/loss", "min", fixed).write(tmp_path / "a.yaml")
    own = ["search.stages.coarse.overrides=['model.channels=8']", "search.dry_run=true"]
    for action in ("stage", "search"):
        asked = [f"search.sweep={tmp_path}/a.yaml", f"search.action={action}", *own]
        assert main("-m", *asked) == 0
    assert main("-m", "search.study=t", *own) == 2  # without the file it is a slip


def test_another_studys_reasons_stay_in_its_file(runs: Path) -> None:
    study = made(runs / "s", Space((LR,)), {"01_coarse": 6})
    file = runs / "other.yaml"
    first = study.begun_sweep("01_coarse")
    told = replace(first, study="other", notes=("Refined.",), reasons={LR.name: ["a wall"]})
    told.write(file)
    taken, _ = stage_sweep(study, "02_fine", file=file)
    assert (taken.study, taken.notes, taken.reasons) == ("s", (), {})
    replace(told, study="s").write(file)
    kept, _ = stage_sweep(study, "02_fine", file=file)
    assert (kept.notes, kept.reasons) == (("Refined.",), {LR.name: ["a wall"]})


def test_a_study_in_a_database_is_found_again_by_its_name(
    main: Main, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = f"sqlite:///{tmp_path}/trials.db"
    assert main(*STAGE, "search.num_trials=1", f"search.storage={storage}") == 0
    assert main(*STAGE, "search.num_trials=2") == 0
    assert len(Ledger.open(storage, "s").trials("01_coarse")) == 2
    assert not (runs / "s/study.journal").exists()
    assert main(*STAGE, "search.num_trials=2", "search.storage=other.journal") == 2
    assert f"is kept in {storage}" in capsys.readouterr().err


def test_files_edited_by_hand_are_used_or_refused(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("-m", *FAST, "search.study=s", "search.num_trials=5", "space=tiers_1_2") == 0
    first = SweepFile.read(runs / "s/01_coarse.yaml")
    file = runs / "s/02_fine.yaml"
    stage = ["-m", "search.study=s", f"search.sweep={file}", "search.num_trials=1"]

    def edited(**scales: Scale) -> SweepFile:
        names = {a.key.rpartition(".")[2]: a.name for a in first.space}
        space = first.space.replace({names[k]: v for k, v in scales.items()})
        return replace(first, stage="02_fine", space=space)

    edited(batch_size=Choice((64, 256))).write(file)
    assert main(*stage) == 2
    assert "01_coarse had no 256 among its choices" in capsys.readouterr().err
    for scale, message in (
        ({"width": Choice(("wide",))}, "'wide' has no place on 01_coarse's scale integer"),
        ({"width": Choice((True,))}, "True has no place on 01_coarse's scale integer"),
        ({"lr": Choice((0,))}, "0 has no place on 01_coarse's scale log; write a small positive"),
    ):
        edited(**scale).write(file)
        assert main(*stage) == 2
        assert message in capsys.readouterr().err
    less = Space(tuple(first.space)[:-1])
    replace(first, stage="02_fine", space=less).write(file)
    assert main(*stage) == 2
    assert "search other axes" in capsys.readouterr().err
    assert Ledger.open(str(runs / "s/study.journal"), "s").stages() == ["01_coarse"]

    edited(lr=Log(0.011, 0.012), width=Choice((64,))).write(file)
    assert main(*stage) == 0
    (trial,) = Ledger.open(str(runs / "s/study.journal"), "s").trials("02_fine")
    assert trial.point["model.width"] == 64
    assert 0.011 <= trial.point["optimizer.lr"] <= 0.012

    # Once begun, a file that says otherwise is left alone.
    edited(lr=Log(0.02, 0.03)).write(file)
    text = file.read_text()
    assert main("-m", "search.study=s", "search.stage=02_fine", "search.num_trials=1") == 2
    assert file.read_text() == text


@pytest.mark.nightly
def test_a_whole_search_takes_the_edited_file_that_it_finds(main: Main, runs: Path) -> None:
    few = ["logger=none", "trainer.max_epochs=1", "space=tier_1", "search.study=s"]
    assert main("-m", *few, "search.num_trials=5") == 0
    first = SweepFile.read(runs / "s/01_coarse.yaml")
    narrow = first.space.replace({"optimizer.lr": Log(0.011, 0.012)})
    replace(first, stage="02_fine", num_trials=2, space=narrow).write(runs / "s/02_fine.yaml")
    small = ["search.stages.coarse.num_trials=5", "~search.stages.finest", "search.confirm.top=1"]
    seeds = "search.confirm.budget=4"
    assert main("-m", "search.action=search", *few, *small, seeds) == 0
    found = Ledger.open(str(runs / "s/study.journal"), "s").trials("02_fine")
    assert len(found) == 2
    assert all(0.011 <= t.point["optimizer.lr"] <= 0.012 for t in found)


@pytest.mark.nightly
def test_a_search_that_begins_with_a_file_trains_all_its_stages_by_it(
    main: Main, runs: Path, tmp_path: Path
) -> None:
    space = Space((Axis("optimizer.lr", Log(1e-3, 1e-1)),))
    fixed = ("logger=none", "trainer.max_epochs=1", "model.depth=1")
    SweepFile("s", "any", space, 5, "val/loss", "min", fixed).write(tmp_path / "a.yaml")
    stages = ["search.stages.fine.num_trials=1", "~search.stages.finest"]
    seeds = ["search.confirm.top=1", "search.confirm.budget=4"]
    file = f"search.sweep={tmp_path}/a.yaml"
    assert main("-m", "search.action=search", file, *stages, *seeds) == 0
    ledger = Ledger.open(str(runs / "s/study.journal"), "s")
    for stage in ("01_coarse", "02_fine", "confirm"):
        assert sorted(ledger.spec(stage)["overrides"]) == sorted(fixed)


def test_a_stage_that_has_begun_is_never_made_smaller(runs: Path) -> None:
    study = made(runs / "s", Space((LR,)), {"01_coarse": 6, "02_fine": 4})
    assert stage_sweep(study, "02_fine", trials=1)[0].num_trials == 4
    assert stage_sweep(study, "02_fine", trials=9)[0].num_trials == 9


def test_a_later_stage_keeps_what_the_study_shares(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seed, sampler and shared overrides go on, also past a stage with overrides of its own."""
    few = ["search.num_trials=1", "space=tier_1"]
    sampling = ["search.seed=4", "search.sampler=sobol"]
    fast = ["logger=none", "trainer.max_epochs=2"]
    assert main("-m", "search.study=s", *few, *sampling, *fast) == 0
    first = SweepFile.read(runs / "s/01_coarse.yaml")
    own = 'search.stages.fine.overrides=["trainer.max_epochs=1"]'
    overrides = ("logger=none", "trainer.max_epochs=1")
    replace(first, stage="02_fine", overrides=overrides).write(runs / "s/02_fine.yaml")
    assert main("-m", "search.study=s", "search.stage=02_fine", own) == 0
    spec = Ledger.open(str(runs / "s/study.journal"), "s").spec("02_fine")
    assert (spec["seed"], spec["sampler"]) == (4, "sobol")
    capsys.readouterr()
    confirm = ["-m", "search.action=confirm", "search.study=s", "search.dry_run=true"]
    assert main(*confirm) == 0
    assert "trainer.max_epochs=2" in capsys.readouterr().out
