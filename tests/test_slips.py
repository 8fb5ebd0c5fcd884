"""No slip is followed without a word: each row is a command, and what its one message says.

pytest tests/test_slips.py -k "lr"
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from caviar.base.errors import SearchFailed
from caviar.ledger import Ledger
from caviar.search.planned import plan
from caviar.search.settings import SearchSettings
from caviar.space import Axis, Integer, Log, Space
from caviar.space.sweep_file import SweepFile
from conftest import ROOT, Main

SPACE = Space((Axis("optimizer.lr", Log(1e-4, 1.0)), Axis("model.width", Integer(16, 128))))
SHORT = "trainer.max_epochs=1"
SINGLE = [  # python train.py …
    (["lr=0.1"], ["no key lr; did you mean optimizer.lr?"]),
    (["study=mine"], ["no key study; did you mean search.study?"]),
    (["learning=1"], ["no key learning; to add it, write ++learning=1"]),
    (["+lr=0.1"], ["nothing reads lr; did you mean optimizer.lr=0.1?", "write ++lr=0.1"]),
    (["+study=mine"], ["nothing reads study; did you mean search.study=mine?"]),
    (["+optim.lr=0.1"], ["nothing reads optim.lr; did you mean optimizer.lr=0.1?"]),
    (["lr", "0.1"], ["an override is one word; write optimizer.lr=0.1"]),
    (["optimizer.lr", "0.1"], ["an override is one word; write optimizer.lr=0.1"]),
    (["optimizer.lr", "=0.1"], ["an override is one word; write optimizer.lr=0.1"]),
    (["optimizer.lr=", "0.1"], ["write optimizer.lr=0.1, without a space"]),
    (["--lr", "0.1"], ["--lr: there is no such option", "write optimizer.lr=0.1"]),
    (["--optimizer.lr=0.1"], ["write optimizer.lr=0.1"]),
    (["--study", "mine"], ["write search.study=mine"]),
    (["--multrun"], ["did you mean --multirun?"]),
    (["mine"], ["mine is no override, which is KEY=VALUE"]),
    (["search.seed=1", SHORT], ["without -m", f"train.py -m search.seed=1 {SHORT}"]),
    (["space=tier_1"], ["without -m", "caviar search space=tier_1"]),
    (["~space.model"], ["without -m", "caviar search '~space.model'"]),
    (["space.optimizer.lr=${log:1e-5,1}"], ["-m 'space.optimizer.lr=${log:1e-5,1}'"]),
    (["hydra/sweeper=grid", "seed=1,2"], ["write -m hydra/sweeper=grid seed=1,2"]),
    (["trainer.max_epochs=ten"], ["trainer.max_epochs=ten should be a whole number, or null"]),
    (["model.width=0", SHORT], ["model.width=0 should be a whole number from 1 on"]),
    (["optimizer.momentum=1.5"], ["optimizer.momentum=1.5 should be a number inside [0, 1)"]),
    (["optimizer=adam", "optimizer.betas=[0.9,1.5]"], ["betas=[0.9, 1.5] should be two numbers"]),
    (["optimizer.lr="], ["optimizer.lr= should be a number"]),
    (["name=a (b"], ["name=a (b: Hydra cannot read it; if a (b is a text, write \"name='a (b'\""]),
    (["model.width=${seed"], ["model.width=${seed: Hydra cannot read it"]),
    (["momentum=1.5"], ["did you mean optimizer.momentum?"]),
]
SEARCH = [  # python train.py … with -m somewhere
    (["-m", "space=tier_one"], ["space=tier_one: no such choice; write one of adam, all,"]),
    # What a shell makes of an unquoted ${log:1e-5,1}.
    (["-m", "space.optimizer.lr="], ["put quotes around it: 'space.optimizer.lr=${log:1e-4,1}'"]),
    (["-m", "+space.model.dropout="], ["put quotes around it: '+space.model.dropout=${"]),
    (
        ["-m", "space.optimizer.lr=${lg:1e-5,1}"],
        [
            "no ${lg:…}; did you mean ${log:…}?",
            "log, one_minus_log, linear, integer, log_integer, c",
        ],
    ),
    (["-m", "+lr=0.1"], ["nothing reads lr; did you mean optimizer.lr=0.1?"]),
    (["-m", "hydra/sweeper=grid", "+lr=0.1,0.2"], ["did you mean optimizer.lr=0.1,0.2?"]),
    (["-m", "trainer.max_epochs=ten"], ["max_epochs=ten should be a whole number, or null"]),
    (["-m", "optimizer.momentum=1.5", "~space.optimizer.momentum"], ["inside [0, 1)"]),
    (["experiment=nosuch", "-m"], ["experiment=nosuch: no such choice; write one of breast_"]),
]
VERBS = [  # caviar …
    (["report", "mine"], ["mine is no override", "a study is named by search.study=mine"]),
    (["report", "runs/mine"], ["search.study=mine"]),
    (
        ["report", "--study", "mine"],
        ["--study: there is no such option", "write search.study=mine"],
    ),
    (["search", "--lr", "0.1"], ["write optimizer.lr=0.1"]),
    (["search", "optimizer.lr", "0.1"], ["write optimizer.lr=0.1"]),
    (["refine", "--forec"], ["did you mean --force?"]),
    (["panda", "start", "--study=mine"], ["write search.study=mine"]),
    (["panda", "start", "mine"], ["mine is no override"]),
    (["panda", "set", "optimizer.lr", "0.1"], ["write optimizer.lr=0.1"]),
    (["retry", "mine"], ["mine is no override"]),
    (["importance", "search.study"], ["an override has a value; write search.study=VALUE"]),
    (["serch"], ["search"]),
]
Errors = pytest.CaptureFixture[str]


def said(run: Main, words: list[str], capsys: Errors) -> str:
    """The one message of a command that is refused."""
    assert run(*words) == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err + printed.out
    lines = [line for line in printed.err.splitlines() if "reading the config" not in line]
    assert len(lines) <= 3, printed.err
    return "\n".join(lines)


@pytest.mark.parametrize(("words", "messages"), [*SINGLE, *SEARCH], ids=lambda x: " ".join(x))
def test_a_slip_of_train_py(
    main: Main, runs: Path, capsys: Errors, words: list[str], messages: list[str]
) -> None:
    error = said(main, words, capsys)
    for message in messages:
        assert message in error
    assert not list(runs.rglob("result.json"))


@pytest.mark.parametrize(("words", "messages"), VERBS, ids=lambda x: " ".join(x))
def test_a_slip_of_a_verb(
    caviar: Main, capsys: Errors, words: list[str], messages: list[str]
) -> None:
    if words == ["serch"]:  # Typer's own words, which are four lines
        assert caviar(*words) == 2
        assert "search" in capsys.readouterr().err
        return
    error = said(caviar, words, capsys)
    for message in messages:
        assert message in error


FILES = [  # what is in a file of conf/, and what is said of it
    ("optimizer", "lr:\t0.1\n\tmomentum: 0\n", ["a tab; YAML is indented by spaces"]),
    ("optimizer", "a: 1\nlr: {a: 1\nb: 2\n", ["mine.yaml, line 2: lr: { is opened and not closed"]),
    ("optimizer", "a: 1\nlr: ${seed\n", ["mine.yaml, line 2: lr: a brace { is opened and not cl"]),
    ("space", "optimizer:\n  lr: ${log:1e-4,1\n", ["mine.yaml, line 2: lr: a brace { is opened"]),
    ("space", "optimizer:\n  lr: ${lg:1e-4,1}\n", ["optimizer.lr: there is no ${lg:…}"]),
]


@pytest.mark.parametrize(("group", "text", "messages"), FILES, ids=lambda x: repr(x)[:30])
def test_a_slip_in_a_file(
    main: Main,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Errors,
    group: str,
    text: str,
    messages: list[str],
) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "train.py", tmp_path)
    monkeypatch.setenv("CAVIAR_ROOT", str(tmp_path))
    (tmp_path / f"conf/{group}/mine.yaml").write_text(text)
    error = said(main, ["-m", f"{group}=mine", "search.dry_run=true"], capsys)
    for message in [f"{group}/mine.yaml", *messages]:
        assert message in error


def made(runs: Path, name: str, space: Space = SPACE) -> Ledger:
    """A study with one stage, of which nothing has run."""
    ledger = Ledger.open(str(runs / name / "study.journal"), name)
    sweep = SweepFile(name, "01_coarse", space, 3, "val/loss", "min")
    ledger.begin("01_coarse", {"sweep": sweep.text(), "overrides": [], "shared": []}, "min")
    ledger.extend("01_coarse", plan(sweep, SearchSettings()), space)
    return ledger


def test_a_study_that_is_not_there_is_one_of_these(
    caviar: Main, runs: Path, capsys: Errors
) -> None:
    made(runs, "digits")
    made(runs, "mine")
    error = said(caviar, ["report", "search.study=mime"], capsys)
    assert "no study mime in" in error
    assert "did you mean search.study=mine? There are mine, digits" in error
    for word in ("mine", "runs/mine", str(runs / "mine")):
        assert "write search.study=mine" in said(caviar, ["report", word], capsys)


def test_a_folder_that_was_renamed_is_not_begun_anew(
    main: Main, caviar: Main, runs: Path, capsys: Errors
) -> None:
    made(runs, "mine")
    (runs / "mine").rename(runs / "yours")
    back = f"yours is the folder of study mine, which all in it goes by; rename it back: mv {runs}"
    assert back in said(caviar, ["status", "search.study=yours"], capsys)
    assert back in said(main, ["-m", "search.study=yours", "search.num_trials=1"], capsys)


def test_a_study_that_is_removed_while_it_runs(runs: Path) -> None:
    ledger = made(runs, "mine")
    shutil.rmtree(runs / "mine")
    for use in (ledger.trials, lambda stage: ledger.claim(stage, 0)):
        with pytest.raises(SearchFailed, match=r"study\.journal was removed while it was in use"):
            use("01_coarse")
    assert not (runs / "mine/study.journal").exists()
    (runs / "mine").mkdir(exist_ok=True)
    (runs / "mine/study.journal").touch()  # as somebody does who begins another one there
    with pytest.raises(SearchFailed, match="was removed"):
        ledger.trials("01_coarse")


def test_another_sweep_is_told_axis_by_axis(main: Main, runs: Path, capsys: Errors) -> None:
    made(runs, "mine")
    assert main("-m", "search.study=mine", "search.num_trials=3", "space=tier_1") == 2
    error = capsys.readouterr().err
    assert "begun with another sweep:\n" in error
    assert "  model.width: integer 16 … 128, and now not drawn\n" in error


@pytest.mark.slow
def test_another_python_than_the_environments(tmp_path: Path) -> None:
    """One that has none of our packages."""
    command = [sys.executable, "-I", "-S", str(ROOT / "train.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "has no caviar: activate the environment" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "words", [["experiment=digits", "-m"], ["experiment=digits", "search.seed=0"]]
)
def test_options_may_stand_anywhere(main: Main, words: list[str], capsys: Errors) -> None:
    assert main(*words, "search.dry_run=true", "search.num_trials=1", "--multirun") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_what_an_option_takes_may_be_anything(caviar: Main, capsys: Errors) -> None:
    assert caviar("panda", "set", "optimizer.lr=1", "--why", "--lr was too low") == 2
    assert "which panda?" in capsys.readouterr().err


def test_what_only_looks_may_name_anything(main: Main, capsys: Errors) -> None:
    assert main("--cfg", "job", "search.seed=3", "--package", "search") == 0
    assert "seed: 3" in capsys.readouterr().out
