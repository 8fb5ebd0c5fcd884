"""The `caviar` command: help, refine, status, sweep, and answers to slips."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from caviar.base.result import Result
from caviar.ledger import Ledger, Planned
from caviar.search.planned import plan
from caviar.search.settings import SearchSettings
from caviar.space import Axis, Integer, Log, OneMinusLog, Space
from caviar.space.sweep_file import SweepFile
from conftest import ROOT, Main, awaited
from terminal import terminal

SPACE = Space(
    (
        Axis("optimizer.lr", Log(1e-4, 1.0)),
        Axis("optimizer.momentum", OneMinusLog(1e-3, 0.1)),
        Axis("model.width", Integer(16, 128)),
    )
)


@pytest.fixture
def study(runs: Path) -> Ledger:
    """Study `s` with one finished stage, whose losses a formula made."""
    sweep = SweepFile("s", "01_coarse", SPACE, 20, "val/loss", "min")
    ledger = Ledger.open(str(runs / "s/study.journal"), "s")
    spec = {"sweep": sweep.text(), "overrides": [], "shared": [], "seed": 0, "sampler": "random"}
    ledger.begin("01_coarse", spec, "min")
    trials = plan(sweep, SearchSettings())
    ledger.extend("01_coarse", trials, SPACE)
    for number, planned in enumerate(trials):
        ledger.claim("01_coarse", number)
        units = SPACE.to_unit({k: [v] for k, v in planned.point.items()})[0]
        loss = float((units[0] - 0.6) ** 2 + 0.3 * (units[1] - 0.4) ** 2)
        ledger.finish("01_coarse", number, Result(best=loss, best_epoch=0, last=loss))
    return ledger


@pytest.mark.parametrize(
    "verb",
    [
        "search",
        "refine",
        "confirm",
        "status",
        "worker",
        "retry",
        "importance",
        "report",
        "sweep",
        "agent",
        "sync",
        "new",
    ],
)
def test_every_verb_explains_itself_with_an_example(
    caviar: Main, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert caviar(verb, "--help") == 0
    assert f"Example: caviar {verb}" in capsys.readouterr().out


@pytest.mark.slow
def test_help_and_refine_never_import_torch(study: Ledger, runs: Path) -> None:
    watch = (
        "import sys\nsys.argv = ['caviar'] + {arguments}\nfrom caviar.cli import main\n"
        "try:\n    main()\nexcept SystemExit as left:\n    assert not left.code, left.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    named = [[verb, "search.study=s"] for verb in ("refine", "retry")]
    for arguments in (["--help"], *named, ["status"]):
        code = watch.format(arguments=arguments)
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_refine_writes_the_next_file(
    caviar: Main, study: Ledger, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert caviar("refine", "search.study=s") == 0
    path = runs / "s/02_fine.yaml"
    sweep = SweepFile.read(path)
    assert (sweep.stage, sweep.num_trials) == ("02_fine", 14)
    low, high = sweep.space.axis("optimizer.lr").scale.declared()
    assert 1e-4 <= low < 10**-1.6 < high <= 1  # the optimum, at unit 0.6
    assert high / low < 1e4
    text = path.read_text()
    assert "from 01_coarse: 20 trials of all stages, 0 diverged" in text
    assert "Top five:" in text
    assert f"search.sweep={path}" in capsys.readouterr().out


def test_no_command_takes_a_grid(
    study: Ledger, caviar: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("refine", "status", "report"):
        assert caviar(verb, "search.study=s", "optimizer.weight_decay=0.1,0.2") == 2
        assert "it makes no grid" in capsys.readouterr().err


def test_refine_does_not_replace_a_file_that_differs(
    caviar: Main, study: Ledger, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert caviar("refine", "search.study=s") == 0
    path = runs / "s/02_fine.yaml"
    written = path.read_text()
    assert caviar("refine", "search.study=s") == 0  # the same again is no harm
    path.write_text(written + "# mine\n")
    assert caviar("refine", "search.study=s") == 2
    assert "--force" in capsys.readouterr().err
    assert caviar("refine", "search.study=s", "--force") == 0
    assert path.read_text() == written


def test_refine_needs_enough_trials(
    caviar: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger.open(str(runs / "s/study.journal"), "s")
    sweep = SweepFile("s", "01_coarse", SPACE, 2, "val/loss", "min")
    ledger.begin("01_coarse", {"sweep": sweep.text(), "overrides": [], "shared": []}, "min")
    assert caviar("refine", "search.study=s") == 2
    assert "at least 5" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["refine", "status"])
def test_a_study_that_is_not_there(
    caviar: Main, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert caviar(verb, "search.study=nowhere") == 2
    assert "there is no study nowhere" in capsys.readouterr().err


def test_importance_is_a_table_with_tiers(
    caviar: Main, study: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert caviar("importance", "search.study=s") == 0
    printed = capsys.readouterr().out
    assert "s: importance, from 20 trials of all stages" in printed
    rows = [line.split() for line in printed.splitlines()]
    keys = [row[0] for row in rows if row and row[0].startswith(("optimizer.", "model."))]
    assert keys[0] == "optimizer.lr"  # the formula's strongest
    assert "█" in printed
    said = " ".join(printed.split())
    assert "inside chance" in said
    assert "no effect beyond chance was seen with 20 trials" in said
    assert "What refine says an axis takes part in is another measure" in said


def test_status_of_one_study_and_of_all(
    caviar: Main, study: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["status"], ["status", "search.study=s"]):
        assert caviar(*arguments) == 0
        printed = capsys.readouterr().out
        assert "01_coarse: 20 trials: 20 complete" in printed
        assert "best val/loss" in printed


def test_no_time_is_promised_where_nobody_trains(
    caviar: Main, study: Ledger, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not of trials that wait, nor of one whose worker has died."""
    more = SweepFile("s", "01_coarse", SPACE, 22, "val/loss", "min")
    study.extend("01_coarse", plan(more, SearchSettings()), SPACE)
    dead = Ledger.open(str(runs / "s/study.journal"), "s")
    assert dead.claim("01_coarse", 20)
    for lock in dead._claims._held.values():  # as the kernel does when a worker dies
        os.close(lock)
    assert caviar("status", "search.study=s") == 0
    printed = capsys.readouterr().out
    assert "20 complete, 1 waiting, 1 interrupted" in printed
    assert "nothing runs now" in printed
    assert " left" not in printed
    assert "worker" not in printed
    assert study.claim("01_coarse", 21)  # somebody does now
    assert caviar("status", "search.study=s") == 0
    printed = capsys.readouterr().out
    assert "1 running, 1 interrupted" in printed
    assert "1 trial running now" in printed


@pytest.mark.slow
def test_watching_shows_who_trains_what(study: Ledger) -> None:
    """In a real pseudo-terminal: redrawn as trials go on, until somebody looks away."""
    more = SweepFile("s", "01_coarse", SPACE, 21, "val/loss", "min")
    study.extend("01_coarse", plan(more, SearchSettings()), SPACE)
    assert study.claim("01_coarse", 20)
    study.report("01_coarse", 20, 0, 0.4321)
    with terminal("status", "search.study=s", "--watch") as watch:
        awaited(lambda: watch.sees("20/21") and watch.sees("0.4321"))
        study.finish("01_coarse", 20, Result(best=0.4321, best_epoch=0, last=0.4321))
        awaited(lambda: watch.sees("01_coarse: 21 trials: 21 complete"))
        watch.process.send_signal(signal.SIGINT)
        assert watch.process.wait(20) == 130
        assert not watch.sees("Traceback")


def test_status_without_any_study(caviar: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert caviar("status") == 0
    assert "no study in" in capsys.readouterr().out


def test_sweep_writes_the_coarse_file_of_a_space(caviar: Main, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    assert caviar("sweep", "space=tier_1", "search.num_trials=7", "--output", str(path)) == 0
    sweep = SweepFile.read(path)
    assert (sweep.space.names, sweep.num_trials) == (["optimizer.lr"], 7)


def test_a_sweep_file_says_where_its_axes_come_from(caviar: Main, tmp_path: Path) -> None:
    """A run of a sweep checks its keys against that; a local stage has no need of it."""
    path, own = tmp_path / "a.yaml", ["~space.data", "+space.model.dropout=${linear:0,0.5}"]
    assert caviar("sweep", *own, "model.width=32", "~space.model.width", "--output", str(path)) == 0
    sweep = SweepFile.read(path)
    assert sweep.declares == (*own, "~space.model.width")
    assert sweep.overrides == ("model.width=32",)
    assert "model.dropout" in sweep.space.names


def test_half_of_a_stage_must_have_finished(
    caviar: Main, study: Ledger, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = SweepFile("s", "01_coarse", SPACE, 60, "val/loss", "min")
    study.extend("01_coarse", plan(more, SearchSettings()), SPACE)
    assert caviar("refine", "search.study=s") == 2
    said = capsys.readouterr().err
    assert "20 of 60 trials of 01_coarse have finished (20 complete, 40 waiting)" in said
    assert not (runs / "s/02_fine.yaml").exists()
    assert caviar("refine", "search.study=s", "--early") == 0


def test_losses_of_other_overrides_are_not_pooled(caviar: Main, study: Ledger, runs: Path) -> None:
    """A stage of fewer epochs says little about one of more."""
    longer = SweepFile("s", "02_fine", SPACE, 6, "val/loss", "min", ("trainer.max_epochs=9",))
    spec = {"sweep": longer.text(), "overrides": list(longer.overrides), "shared": []}
    study.begin("02_fine", spec, "min")
    study.extend("02_fine", plan(longer, SearchSettings()), SPACE)
    for number in range(6):
        study.claim("02_fine", number)
        study.finish("02_fine", number, Result(best=10.0 + number, best_epoch=0, last=1.0))
    assert caviar("refine", "search.study=s") == 0
    assert "from 02_fine: 6 trials of all stages" in (runs / "s/03_finest.yaml").read_text()


def test_axes_without_effect_can_be_frozen(caviar: Main, study: Ledger, runs: Path) -> None:
    assert caviar("refine", "search.study=s", "search.freeze=true") == 0
    text = (runs / "s/02_fine.yaml").read_text()
    assert "frozen at the best trial's value" in text
    assert "value:" in text
    assert len(SweepFile.read(runs / "s/02_fine.yaml").space) == 3


def test_refine_is_refused_once_the_test_set_was_opened(
    caviar: Main, study: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    study.begin("test", {}, "min")
    study.extend("test", [Planned({}, 0)], SPACE)
    study.claim("test", 0)
    study.finish("test", 0, Result(best=0.1, last=0.1))
    assert caviar("refine", "search.study=s") == 2
    assert "test set open" in capsys.readouterr().err


def test_looking_makes_no_ledger(caviar: Main, runs: Path, tmp_path: Path) -> None:
    for storage in (f"sqlite:///{tmp_path}/none.db", f"{tmp_path}/none.journal"):
        assert caviar("status", "search.study=s", f"search.storage={storage}") == 2
    assert not list(tmp_path.glob("none*"))


def test_confirm_without_a_study(
    caviar: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert caviar("confirm", "search.study=nowhere") == 2
    assert "there is no study nowhere" in capsys.readouterr().err
    assert not runs.exists()
