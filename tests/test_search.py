"""The whole search on a tiny budget, inside this process: stages, confirm, what is left."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
import yaml

from caviar.ledger import Ledger
from caviar.space.sweep_file import SweepFile
from conftest import FAST, Main

TINY = [
    "-m",
    "search.action=search",
    "search.study=s",
    "logger=none",
    "trainer.max_epochs=2",
    "space=tiers_1_2",
    "search.stages.coarse.num_trials=6",
    "search.stages.fine.num_trials=2",
    "~search.stages.finest",
    "search.confirm.budget=7",
    "search.confirm.top=2",
    "search.confirm.test=always",  # so few seeds show nothing
]


@pytest.mark.nightly
@pytest.mark.slow
def test_a_search_from_end_to_end(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*TINY) == 0
    printed = capsys.readouterr().out
    study = runs / "s"
    ledger = Ledger.open(str(study / "study.journal"), "s")
    assert ledger.stages() == ["01_coarse", "02_fine", "confirm", "test"]
    numbers = {stage: len(ledger.trials(stage)) for stage in ledger.stages()}
    verdict = json.loads((study / "verdict.json").read_text())
    # Three settings, then the better candidate against the default; it may have been decided early.
    pairs = len(verdict["default"]["values"])
    tested = pairs * (2 if verdict["winner"]["note"] != "default" else 1)
    assert 2 <= pairs <= 3
    assert numbers == {"01_coarse": 6, "02_fine": 2, "confirm": 1 + 2 * pairs, "test": tested}

    # The test set was opened for the confirmed settings only, and by them only.
    for file in study.rglob("result.json"):
        metrics = json.loads(file.read_text())["metrics"]
        opened = any(name.startswith("test/") for name in metrics)
        assert opened == (file.parent.parent.name == "test")

    # Fresh seeds: none that the search used.
    searched = {t.seed for s in ("01_coarse", "02_fine") for t in ledger.trials(s)}
    assert not searched & {t.seed for t in ledger.trials("confirm")}

    # What is reported is the mean of the fresh seeds.
    winner = verdict["winner"]
    values = [ledger.trials("confirm")[n].result.best for n in winner["trials"]]
    assert winner["values"] == values
    assert "s: default against" in printed
    assert verdict["sentence"] in printed.replace("\n", " ")

    # The refined file says why, and is the space that stage two drew from.
    fine = study / "02_fine.yaml"
    assert "Refined (surrogate) from 01_coarse: 6 trials" in fine.read_text()
    assert SweepFile.read(fine).num_trials == 2

    for name in ("trials", "curves", "expected_best", "confirm"):
        assert (study / "pictures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert verdict["sentence"].rstrip(".") in html.unescape((study / "report.html").read_text())
    assert (study / "best.ckpt").exists()

    # The winner's experiment trains, with the winner's values.
    assert main("experiment=s_winner") == 0
    config = yaml.safe_load((runs / "train/0/.hydra/config.yaml").read_text())
    assert config["trainer"]["max_epochs"] == 2
    kept = winner if verdict["clear"] else verdict["default"]
    assert config["optimizer"]["lr"] == kept["point"].get("optimizer.lr", 0.01)
    assert (study / "conf/experiment/s_candidate.yaml").exists() == (
        winner["note"] != "default" and not verdict["clear"]
    )

    # Another question is not answered with this study's result.
    capsys.readouterr()
    for other in ("optimizer.weight_decay=0.1", "search.seed=1", "model.dropout=0.1"):
        assert main(*TINY, other) == 2
        assert "begun with another" in capsys.readouterr().err
    confirm = ["-m", "search.action=confirm", "search.study=s", "search.confirm.budget=7"]
    assert main(*confirm, "search.confirm.top=3") == 2
    assert "begun with another confirm" in capsys.readouterr().err
    assert main(*confirm, "search.confirm.seeds=2") == 2
    assert "write search.confirm.budget=11" in capsys.readouterr().err

    # Again: complete, nothing runs; and the search is closed.
    before = {p: p.stat().st_mtime_ns for p in study.rglob("result.json")}
    capsys.readouterr()
    assert main(*TINY) == 0
    assert "study s is complete" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in study.rglob("result.json")} == before
    assert main("-m", *FAST, "search.study=s") == 2
    assert "test set open" in capsys.readouterr().err


@pytest.mark.nightly
@pytest.mark.slow
def test_a_stages_own_overrides_are_not_the_target(main: Main, runs: Path) -> None:
    """Search cheaply, confirm at target size; and larger still if the command line says so."""
    own = 'search.stages.coarse.overrides=["trainer.max_epochs=1"]'
    few = ["search.stages.coarse.num_trials=3", "~search.stages.fine", "logger=none"]
    search = ["-m", "search.action=search", "space=tier_1", "trainer.max_epochs=2", *few, own]
    few_seeds = ["search.confirm.budget=4", "search.confirm.top=1"]
    assert main(*search, "~search.stages.finest", "search.study=s", *few_seeds) == 0
    ledger = Ledger.open(str(runs / "s/study.journal"), "s")
    assert {len(t.curve) for t in ledger.trials("01_coarse")} == {1}
    assert {len(t.curve) for t in ledger.trials("confirm")} == {2}

    assert (
        main(
            "-m",
            "search.study=t",
            "space=tier_1",
            "logger=none",
            "search.num_trials=2",
            "trainer.max_epochs=1",
            "callbacks=none",
        )
        == 0
    )
    confirm = ["-m", "search.action=confirm", "search.study=t", *few_seeds]
    assert main(*confirm) == 2  # without a checkpoint there is nothing to test
    assert main(*confirm, "callbacks=default", "trainer.max_epochs=3") == 0
    ledger = Ledger.open(str(runs / "t/study.journal"), "t")
    assert {len(t.curve) for t in ledger.trials("confirm")} == {3}
    config = yaml.safe_load((runs / "t/conf/experiment/t_winner.yaml").read_text())
    assert config["trainer"] == {"max_epochs": 3}


@pytest.mark.slow
def test_a_model_that_cannot_be_tested_is_refused_before_training(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = ["model._target_=broken_models.Untestable", "search.rehearse=false"]
    assert main(*TINY, *alone) == 2
    assert "has no test_step" in capsys.readouterr().err
    assert not runs.exists()


@pytest.mark.nightly
@pytest.mark.slow
def test_a_setting_is_confirmed_once_however_often_it_was_drawn(main: Main, runs: Path) -> None:
    one_choice = ["space=tier_2", "~space.optimizer", "~space.model"]
    few = ["search.stages.coarse.num_trials=3", "~search.stages.fine", "trainer.max_epochs=1"]
    choice = "space.data.batch_size=${choice:64,128}"
    assert main(*TINY, *one_choice, *few, choice, "search.confirm.top=3") == 0
    ledger = Ledger.open(str(runs / "s/study.journal"), "s")
    confirmed = {t.note: t.point.get("data.batch_size") for t in ledger.trials("confirm")}
    assert confirmed.pop("default") is None
    assert sorted(confirmed.values()) == sorted(set(confirmed.values()))


@pytest.mark.nightly
@pytest.mark.slow
def test_the_same_seed_finds_the_same_winner_with_top_k(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / "b").mkdir(parents=True)
    (runs / "b" / "pictures").touch()  # in the place of a folder: no report can be written
    for name in ("a", "b"):
        few = ["trainer.max_epochs=1", "search.confirm.budget=4", "search.confirm.top=1"]
        assert main(*TINY, f"search.study={name}", "search.refine=top_k", *few) == 0
    verdicts = [json.loads((runs / n / "verdict.json").read_text()) for n in ("a", "b")]
    assert verdicts[0] == verdicts[1]
    assert (runs / "a/report.html").exists()
    assert "again: caviar report search.study=b" in capsys.readouterr().out.replace("\n", " ")
    assert (runs / "a/02_fine.yaml").read_text() == (runs / "b/02_fine.yaml").read_text().replace(
        "study b", "study a"
    ).replace("study=b", "study=a").replace("name: b ", "name: a ")
