"""The whole search on a tiny budget, inside this process: stages, confirm, what is left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from caviar.ledger import Ledger
from caviar.search.verdict import (
    Setting,
    Verdict,
    read_verdict,
    standard_error,
    write_verdict,
)
from caviar.search.winner import winner_text
from caviar.space import Choice, Log, Scale, Space
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
    "search.confirm.default_seeds=3",
    "search.confirm.top=2",
]


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
    tested = 3 + (2 if verdict["winner"]["note"] != "default" else 0)
    assert numbers == {"01_coarse": 6, "02_fine": 2, "confirm": 3 + 2 * 2, "test": tested}

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
    assert "default against winner" in printed
    assert verdict["sentence"] in printed.replace("\n", " ")

    # The refined file says why, and is the space that stage two drew from.
    fine = study / "02_fine.yaml"
    assert "Refined (surrogate) from 01_coarse: 6 trials" in fine.read_text()
    assert SweepFile.read(fine).num_trials == 2

    for name in ("trials.png", "curves.png", "best.png"):
        assert (study / name).read_bytes().startswith(b"\x89PNG")
    assert (study / "best.ckpt").exists()

    # The winner's experiment trains, with the winner's values.
    assert main("experiment=s_winner") == 0
    config = yaml.safe_load((runs / "train/0/.hydra/config.yaml").read_text())
    assert config["trainer"]["max_epochs"] == 2
    if winner["note"] != "default":
        assert config["optimizer"]["lr"] == winner["point"]["optimizer.lr"]

    # Another question is not answered with this study's result.
    capsys.readouterr()
    for other in ("optimizer.weight_decay=0.1", "search.seed=1", "model.dropout=0.1"):
        assert main(*TINY, other) == 2
        assert "begun with another" in capsys.readouterr().err
    confirm = ["-m", "search.action=confirm", "search.study=s", "search.confirm.top=2"]
    assert main(*confirm, "search.confirm.default_seeds=4") == 2
    assert "begun with another confirm" in capsys.readouterr().err

    # Again: complete, nothing runs; and the search is closed.
    before = {p: p.stat().st_mtime_ns for p in study.rglob("result.json")}
    capsys.readouterr()
    assert main(*TINY) == 0
    assert "study s is complete" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in study.rglob("result.json")} == before
    assert main("-m", *FAST, "search.study=s") == 2
    assert "test set open" in capsys.readouterr().err


@pytest.mark.slow
def test_a_stages_own_overrides_are_not_the_target(main: Main, runs: Path) -> None:
    """Search cheaply, confirm at target size; and larger still if the command line says so."""
    own = 'search.stages.coarse.overrides=["trainer.max_epochs=1"]'
    few = ["search.stages.coarse.num_trials=3", "~search.stages.fine", "logger=none"]
    search = ["-m", "search.action=search", "space=tier_1", "trainer.max_epochs=2", *few, own]
    few_seeds = ["search.confirm.default_seeds=2", "search.confirm.top=1"]
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
    less = Space(tuple(first.space)[:-1])
    replace(first, stage="02_fine", space=less).write(file)
    assert main(*stage) == 2
    assert "search other axes" in capsys.readouterr().err
    assert Ledger.open(str(runs / "s/study.journal"), "s").stages() == ["01_coarse"]

    # A whole search takes what it finds.
    edited(lr=Log(0.011, 0.012), width=Choice((64,))).write(file)
    few = ["search.stages.coarse.num_trials=5", "~search.stages.finest", "callbacks=default"]
    again = ["-m", "search.action=search", *FAST, "search.study=s", "space=tiers_1_2", *few]
    replace(first, num_trials=1, stage="02_fine", space=edited(lr=Log(0.011, 0.012)).space).write(
        file
    )
    few_seeds = ["search.confirm.default_seeds=2", "search.confirm.top=1"]
    own = 'search.stages.fine.overrides=["trainer.max_epochs=1"]'
    again = [a for a in again if a not in ("callbacks=none", "callbacks=default")]
    assert main(*again, *few_seeds, own) == 2  # the coarse stage was begun with callbacks=none
    assert "callbacks=none" in capsys.readouterr().err
    assert main(*stage) == 0
    (trial,) = Ledger.open(str(runs / "s/study.journal"), "s").trials("02_fine")
    assert 0.011 <= trial.point["optimizer.lr"] <= 0.012

    # Once begun, a file that says otherwise is left alone.
    edited(lr=Log(0.02, 0.03)).write(file)
    text = file.read_text()
    assert main("-m", "search.study=s", "search.stage=02_fine", "search.num_trials=1") == 2
    assert file.read_text() == text


@pytest.mark.slow
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
    facts = Ledger.open(str(runs / "s/study.journal"), "s").facts("02_fine")
    assert (facts["seed"], facts["sampler"]) == (4, "sobol")
    capsys.readouterr()
    confirm = ["-m", "search.action=confirm", "search.study=s", "search.dry_run=true"]
    assert main(*confirm) == 0
    assert "trainer.max_epochs=2" in capsys.readouterr().out


@pytest.mark.slow
def test_a_model_that_cannot_be_tested_is_refused_before_training(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*TINY, "model._target_=broken_models.Untestable") == 2
    assert "has no test_step" in capsys.readouterr().err
    assert not runs.exists()


@pytest.mark.slow
def test_a_setting_is_confirmed_once_however_often_it_was_drawn(main: Main, runs: Path) -> None:
    one_choice = ["space=tier_2", "~space.optimizer", "~space.model"]
    assert (
        main(*TINY, *one_choice, "space.data.batch_size=${choice:64,128}", "search.confirm.top=3")
        == 0
    )
    ledger = Ledger.open(str(runs / "s/study.journal"), "s")
    confirmed = {t.note: t.point.get("data.batch_size") for t in ledger.trials("confirm")}
    assert confirmed.pop("default") is None
    assert sorted(confirmed.values()) == sorted(set(confirmed.values()))


@pytest.mark.slow
def test_the_same_seed_finds_the_same_winner_with_top_k(main: Main, runs: Path) -> None:
    for name in ("a", "b"):
        assert main(*TINY, f"search.study={name}", "search.refine=top_k") == 0
    verdicts = [json.loads((runs / n / "verdict.json").read_text()) for n in ("a", "b")]
    assert verdicts[0] == verdicts[1]
    assert (runs / "a/02_fine.yaml").read_text() == (runs / "b/02_fine.yaml").read_text().replace(
        "study b", "study a"
    ).replace("study=b", "study=a").replace("name: b ", "name: a ")


def verdict(default: list[float], winner: list[float], noise: float, mode: str = "min") -> Verdict:
    return Verdict(
        metric="val/loss",
        mode=mode,
        noise=noise,
        default=Setting("default", {}, default, []),
        winner=Setting("candidate 1", {"optimizer.lr": 0.1}, winner, []),
        others=[],
        trials=1,
    )


def test_a_gain_beyond_the_noise_is_clear() -> None:
    found = verdict([1.0, 1.1, 0.9, 1.0, 1.0], [0.5, 0.5], noise=0.1)
    assert found.gain == pytest.approx(0.5)
    assert found.gain_in_noise == pytest.approx(5)
    assert found.clear
    assert "more than seeds alone explain" in found.sentence()


def test_a_gain_inside_the_noise_is_called_that() -> None:
    found = verdict([1.0, 1.1, 0.9, 1.0, 1.0], [0.9, 0.9], noise=0.1)
    assert not found.clear
    assert "inside the noise" in found.sentence()


def test_a_winner_that_spreads_more_than_the_default_is_not_clear() -> None:
    assert not verdict([1.0, 1.01, 0.99, 1.0, 1.0], [0.5, 1.2], noise=0.01).clear
    assert verdict([1.0, 1.01, 0.99, 1.0, 1.0], [0.8, 0.81], noise=0.01).clear


def test_two_equal_seeds_are_not_taken_for_certainty() -> None:
    found = verdict([1.0, 1.1, 0.9, 1.0, 1.0], [0.9, 0.9], noise=0.1)
    alone = found.default.standard_error
    assert found.gain_error > alone


def test_a_gain_is_positive_when_the_winner_is_better() -> None:
    assert verdict([0.5, 0.5], [0.6, 0.6], noise=0.01, mode="max").gain == pytest.approx(0.1)


def test_a_default_that_wins_is_kept() -> None:
    found = verdict([0.5, 0.5], [0.6, 0.6], noise=0.01)
    found.winner = found.default
    assert "keep the default" in found.sentence()


def test_a_verdict_without_noise_or_with_divergence_is_written_as_json_and_read_back(
    tmp_path: Path,
) -> None:
    inf = float("inf")
    path = tmp_path / "verdict.json"
    for found in (
        verdict([1.0, inf], [0.5, 0.5], noise=float("nan")),
        verdict([0.5, 0.5], [0.5, 0.5], noise=0.0),
        verdict([0.5, -inf], [0.6, 0.6], noise=float("nan"), mode="max"),
    ):
        write_verdict(found, path)
        json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
        again = read_verdict(path)
        assert again.default.values == found.default.values
        assert again.sentence() == found.sentence()
        assert "nan" not in found.sentence() + found.noise_text
        assert "inf " not in found.sentence()


def test_standard_errors() -> None:
    assert standard_error([1.0, 3.0]) == pytest.approx(1.0)
    assert standard_error([1.0, float("inf")]) == float("inf")


def test_the_winner_keeps_what_the_search_fixed() -> None:
    found = verdict([1.0, 1.0], [0.5, 0.5], noise=0.1)
    found.winner.point = {"optimizer.lr": 0.1, "one_minus.optimizer.momentum": 0.02}
    overrides = ["experiment=breast_cancer", "optimizer=sgd", "trainer.max_epochs=3", "~logger"]
    written = yaml.safe_load(winner_text("s", "breast_cancer", found, overrides))
    assert written["defaults"] == ["breast_cancer", {"override /optimizer": "sgd"}, "_self_"]
    assert written["optimizer"] == {"lr": 0.1, "momentum": 0.98}
    assert written["trainer"] == {"max_epochs": 3}
    assert written["name"] == "s_winner"  # its own, so that its study is not this one
    assert "~logger" in winner_text("s", "breast_cancer", found, overrides)


def test_a_fixed_complement_may_be_a_whole_number() -> None:
    found = verdict([1.0, 1.0], [0.5, 0.5], noise=0.1)
    written = yaml.safe_load(winner_text("s", None, found, ["one_minus.optimizer.momentum=1"]))
    assert written["optimizer"]["momentum"] == 0.0
