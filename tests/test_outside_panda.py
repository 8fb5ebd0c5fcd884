"""A panda of anybody's Hydra project: their script trains, their Trainer is looked after.

All of it inside of this process, where `caviar.run` runs the script, but for what has to be seen
from another one.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from caviar.config.messages import clear_errors
from caviar.panda.journal import DAY, FINISH, MOVES, SET, STOP, Journal
from caviar.training.checkpoints import read_checkpoint
from conftest import Start, awaited, done
from outside import CAVIAR, Outside
from panda_verbs import Verb, days, events, logged
from test_outside import shaped

# What a script of somebody's is warned of, by Lightning or torch, is no affair of ours.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ASKS = "+callbacks.asks={_target_:own_optimizers.Asks}"
RATE = "model.optimizer.lr"


class Guest(Verb):
    """`guest("start", …)`: a verb in a project of another shape, in this process.

    Where `caviar panda start` would become the project's script, it is run here.
    """

    project: Outside

    def begin(self, project: Outside) -> None:
        """Be in this project from now on."""
        self.project = project
        self.monkeypatch.chdir(project.folder)
        self.monkeypatch.setenv("CAVIAR_ROOT", str(project.folder))
        self.monkeypatch.setenv("CAVIAR_RUNS", str(project.runs))
        self.monkeypatch.setattr(os, "execve", self._become)

    def _become(self, program: str, command: list[str], environment: dict[str, str]) -> None:
        assert command[1:3] == ["-m", "caviar.run"], "it went back: this process would end with it"
        from caviar.run import main

        GlobalHydra.instance().clear()
        self.monkeypatch.setattr(sys, "argv", command[2:])
        with clear_errors():
            main()


@pytest.fixture
def guest(
    runs: Path,
    hydra_state: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Guest]:
    """The verbs of a panda outside; their modules are forgotten with it."""
    for name in ("CAVIAR_SCRIPT", "DIGITS_ROOT"):  # so that what a run sets is gone behind it
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(logging, "raiseExceptions", False)  # handlers of runs before, captured too
    yield Guest(monkeypatch, capsys)
    for name in [n for n in sys.modules if n.partition(".")[0] == "src"]:
        del sys.modules[name]


def of_package(folder: Path, package: str) -> Outside:
    """A project whose own classes are of this Lightning."""
    project = Outside(folder, package=package)
    for file in ("src/models/digits_module.py", "src/data/digits_datamodule.py"):
        project.edit(file, "from lightning import", f"from {package} import")
    project.tune("model: {optimizer: {lr: '${log:1e-4,1}'}}")
    return project


def asking(monkeypatch: pytest.MonkeyPatch, **requests: Any) -> None:
    """Let `Asks` ask: `at15={"set": […]}`."""
    asked = {name.removeprefix("at"): what for name, what in requests.items()}
    monkeypatch.setenv("ASKS", json.dumps(asked))


@pytest.mark.parametrize(
    "package",
    ["lightning.pytorch", pytest.param("pytorch_lightning", marks=pytest.mark.nightly)],
)
def test_stopped_and_gone_on_with_is_the_same_to_the_last_bit(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    guest.begin(of_package(tmp_path, package))
    runs = guest.project.runs
    first = {"set": [f"{RATE}=*0.5", "data.batch_size=50"], "why": "flat"}
    nudges = {"at5": first, "at25": {"set": ["lr=*3"]}}
    short = ["trainer.max_epochs=3", "seed=1", ASKS]
    asking(monkeypatch, **nudges)
    printed = guest("start", *short, study="whole")
    assert "optimizer 1: lr 0.01 (model.optimizer.lr)" in printed
    asking(monkeypatch, **nudges, at14={"stop": True})
    guest("start", *short, code=143)
    guest("start")
    assert [e.kind for e in events(runs)][-1] == FINISH
    assert STOP in [e.kind for e in events(runs)]
    whole, stopped = logged(runs / "whole"), logged(runs / "p")
    assert whole == stopped
    one, two = events(runs, SET)
    assert (one.step, one.why) == (4, "flat")
    assert one.changes == {RATE: [0.01, 0.005], "data.batch_size": [64, 50]}
    assert two.changes == {RATE: [0.005, 0.015]}
    assert [e.step for e in events(runs, DAY)] == [10, 22, 34]
    assert {"val/loss", "train/loss", "val/acc"} < set().union(*whole)


def test_back_beside_and_looked_at(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a run that has stopped: a branch, a copy, the journal, the picture and the screen."""
    guest.begin(of_package(tmp_path, "lightning.pytorch"))
    runs = guest.project.runs
    asking(monkeypatch, at12={"set": ["model.optimizer.momentum=0.5"]})
    guest("start", "trainer.max_epochs=2", "seed=1", ASKS)
    assert [(e.day, e.step) for e in events(runs, DAY)] == [(1, 10), (2, 20)]
    assert "is finished; go on with a larger trainer.max_epochs" in guest("start", code=2)
    monkeypatch.delenv("ASKS")
    assert "go on: caviar panda start" in guest("back", "--to", "day1", f"{RATE}=*0.1")
    guest("start", "trainer.max_epochs=3")
    branch = [e for e in events(runs) if e.branch == 1]
    assert [(e.day, e.step) for e in branch if e.kind == DAY] == [(2, 20), (3, 30)]
    assert [e.facts["lr"] for e in branch if e.kind == DAY] == [0.001] * 2
    (state,) = read_checkpoint(runs / "p/checkpoints/last.ckpt")["optimizer_states"]
    assert state["param_groups"][0]["momentum"] == 0.5  # in force on every branch
    guest("fork", "copy", "--from", "day1", "lr=*2", "trainer.max_epochs=2")
    assert [(e.day, e.step, e.facts["lr"]) for e in events(runs, DAY, "copy")] == [(2, 20, 0.002)]
    printed = guest("log")
    assert "day 0, step 11 · model.optimizer.momentum 0.9 → 0.5" in printed.replace(
        "day 1", "day 0"
    )
    assert "back from step 20 of branch 0, with model.optimizer.lr 0.01 → 0.001" in printed
    guest("picture")
    assert (runs / "p/panda.png").stat().st_size > 1000
    assert "lr 0.001   momentum 0.5" in guest("watch")
    test = [row for folder in ("p", "copy") for row in logged(runs / folder) if "test/acc" in row]
    assert not test


def test_whatever_their_task_does(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two Trainers, hyperparameters that load unsafely, an optimizer in a node of another name."""
    project = of_package(tmp_path, "pytorch_lightning")
    project.edit("src/models/digits_module.py", 'ignore=["net", "optimizer"]', 'ignore=["net"]')
    two = "    warm = instantiate(cfg.trainer, max_epochs=1, limit_val_batches=0)\n"
    two += "    warm.fit(model=model, datamodule=datamodule)\n    trainer = instantiate("
    project.edit("src/train.py", "    trainer = instantiate(", two)
    project.edit("src/models/digits_module.py", "width: int = 32)", "dropout: float, width: int)")
    project.edit("src/models/digits_module.py", "nn.ReLU(),", "nn.ReLU(), nn.Dropout(dropout),")
    project.edit("configs/model/digits.yaml", "  width: 32", "  width: 32\n  dropout: 0.1")
    project.edit("configs/model/digits.yaml", "  lr: 0.01\n", "  lr: ${tuned.rate.lr}\n")
    own = "seed: null\ntuned: {rate: {lr: 0.02}}\n"
    project.edit("configs/train.yaml", "seed: null\n", own)
    project.edit("configs/train.yaml", "train: True\n", "train: True\npanda: {day: 5 steps}\n")
    project.edit("configs/train.yaml", "ckpt_path: null\n", "go_on: {from: null}\n")
    keys = "metric: ${metric}\n  keys: {resume: go_on.from}\n"
    project.edit("configs/train.yaml", "metric: ${metric}\n", keys)
    project.edit("src/train.py", 'cfg.get("ckpt_path")', 'cfg.go_on["from"]')
    guest.begin(project)
    asking(
        monkeypatch,
        at3={"set": ["tuned.rate.lr=0.01", "model.net.dropout=0.3"]},
        at13={"stop": True},
    )
    printed = guest("start", "trainer.max_epochs=2", ASKS, "panda.rules.most=3", code=143)
    assert "checkpoints leave out the hyperparameters optimizer" in printed
    guest("start")
    runs = project.runs
    assert [(e.day, e.step) for e in events(runs, DAY)] == [(n, 5 * n) for n in range(1, 5)]
    (nudge,) = events(runs, SET)
    assert nudge.step == 2
    assert nudge.changes == {"tuned.rate.lr": [0.02, 0.01], "model.net.dropout": [0.1, 0.3]}
    (state,) = read_checkpoint(runs / "p/checkpoints/last.ckpt")["optimizer_states"]
    assert state["param_groups"][0]["lr"] == 0.01


def test_the_keeper_of_a_trainer_that_keeps_nothing(guest: Guest, tmp_path: Path) -> None:
    """No logger, no checkpoints of its own; each day is worse than the keeper hopes."""
    guest.begin(of_package(tmp_path, "lightning.pytorch"))
    bare = ["~logger", "~callbacks.model_checkpoint", "+trainer.enable_checkpointing=false"]
    rules = ["panda.keeper=true", "panda.rules.plateau.days=1", "panda.rules.plateau.better=9"]
    guest("start", *bare, *rules, "trainer.max_epochs=3")
    runs = guest.project.runs
    lowered = [(e.by, e.changes) for e in events(runs, SET)]
    assert lowered == [("keeper", {RATE: [0.01, 0.005]}), ("keeper", {RATE: [0.005, 0.0025]})]
    assert [e.facts["lr"] for e in events(runs, DAY)] == [0.01, 0.01, 0.005]
    kept = sorted(p.name for p in (runs / "p/checkpoints").rglob("*.ckpt"))
    assert kept == ["day0001.ckpt", "day0002.ckpt", "day0003.ckpt", "last.ckpt"]


def test_a_trainer_that_fits_twice(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a head first, and all of it then: days are counted on."""
    project = of_package(tmp_path, "lightning.pytorch")
    again = (
        "    trainer.fit_loop.max_epochs = 4\n    trainer.fit(model=model, datamodule=datamodule)\n"
    )
    project.edit("src/train.py", "    logged = dict(", f"{again}    logged = dict(")
    guest.begin(project)
    asking(monkeypatch, at5={"set": ["lr=*0.5"]}, at14={"stop": True})
    guest("start", "trainer.max_epochs=2", ASKS, code=143)
    guest("start")
    ended = [(e.day, e.step, e.facts["lr"]) for e in events(project.runs, DAY)]
    assert ended == [(n, 10 * n, 0.005) for n in (1, 2, 3, 4)]


UNKNOWN = ("configs/train.yaml", "caviar:\n  metric: ${metric}\n", "")
NO_KEY = ("configs/train.yaml", "ckpt_path: null\n", "")
NO_TRAINER = ("src/train.py", "    metrics = train(cfg)\n", "    return 0.5\n    metrics = {}\n")
UNLOGGED = ("configs/train.yaml", "metric: { name: val/acc,", "metric: { name: val/accuracy,")
FUNCTION = ("configs/train.yaml", "caviar:\n", "caviar:\n  train: mine.train\n")


@pytest.mark.parametrize(
    ("edit", "words", "said"),
    [
        (UNKNOWN, [], "caviar.metric is not declared"),
        (NO_KEY, [], "the config has no key for a checkpoint to go on from"),
        (NO_TRAINER, [], "the task made no Trainer that fits and validates"),
        (UNLOGGED, [], "caviar.metric.name is val/accuracy, but validation logged only"),
        (FUNCTION, [], "caviar.train: a panda looks after a Lightning Trainer alone"),
        (None, ["test=true"], "test: the test set stays shut while a panda looks"),
        (None, ["trainer.devices=2"], "a panda looks after one device; write trainer.devices=1"),
        (None, ["panda.keper=true"], "panda.keper: Key 'keper' not in 'PandaSettings'"),
        (None, ["panda.day=3 weeks"], "panda.day=3 weeks should be a number of epochs"),
        (None, ["trainer.max_epoch=3"], "the config has no key trainer.max_epoch"),
    ],
)
def test_what_cannot_be_looked_after_is_one_sentence(
    guest: Guest, tmp_path: Path, edit: tuple[str, str, str] | None, words: list[str], said: str
) -> None:
    project = of_package(tmp_path, "lightning.pytorch")
    if edit is not None:
        project.edit(*edit)
    guest.begin(project)
    printed = guest("start", *words, code=2)
    assert said in printed
    assert "Traceback" not in printed
    assert not Journal(project.runs / "p").exists()  # the name is free for the command without it


def test_a_task_that_begins_anew_is_told(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its script has the key, and does nothing with it."""
    project = of_package(tmp_path, "lightning.pytorch")
    project.edit("src/train.py", ', ckpt_path=cfg.get("ckpt_path")', "")
    guest.begin(project)
    asking(monkeypatch, at3={"stop": True})
    guest("start", ASKS, code=143)
    before = events(project.runs)
    assert "the task was to go on from" in guest("start", code=2)
    assert events(project.runs) == before


def test_nothing_of_theirs_is_changed(tmp_path: Path) -> None:
    """From any folder of the project, by a command of its own."""
    project = of_package(tmp_path, "lightning.pytorch")

    def files() -> dict[Path, bytes]:
        kept = [p for p in project.folder.rglob("*") if p.is_file() and p.suffix != ".pyc"]
        return {p: p.read_bytes() for p in kept if not p.is_relative_to(project.runs)}

    before = files()
    start = ["start", "search.study=p", "trainer.max_epochs=1", "panda.day=5 steps"]
    printed = project.call(CAVIAR, "panda", *start, folder=project.folder / "src/models")
    assert "project: src/train.py, with configs/train.yaml" in printed
    assert [e.step for e in events(project.runs, DAY)] == [5, 10]
    assert files() == before


@pytest.mark.nightly
def test_from_another_terminal(guest: Guest, start: Start, tmp_path: Path) -> None:
    """A nudge, back while it runs, a kill, and a stop."""
    project = of_package(tmp_path, "lightning.pytorch")
    guest.begin(project)
    runs, long = project.runs, ["search.study=p", "trainer.max_epochs=1000"]
    run = start("caviar", "panda", "start", *long)
    awaited(lambda: days(runs) >= 1)
    printed = guest("set", "lr=*0.5", "--why", "flat")
    assert "model.optimizer.lr 0.01 → 0.005, in force within one step of step" in printed
    assert [(e.why, e.changes) for e in events(runs, SET)] == [("flat", {RATE: [0.01, 0.005]})]
    assert "as a new branch" in guest("back", "--to", "day1")
    awaited(lambda: days(runs, 1) >= 2)
    run.send(signal.SIGKILL)
    run.wait()
    killed = days(runs, 1)
    run = start("caviar", "panda", "start", "search.study=p")
    awaited(lambda: days(runs, 1) > killed)
    assert "stopped at step" in guest("stop")
    done(run, 143)
    ended = [(e.day, e.step) for e in events(runs, DAY) if e.branch == 1]
    assert ended == [(n, 10 * n) for n in range(2, len(ended) + 2)]


@pytest.mark.nightly
@pytest.mark.parametrize("shape", ["gan", "template", "regression", "stream"])
def test_every_shape_is_looked_after(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    """Optimizers by hand, an end by steps, a stream: stopped and gone on with, all to the bit."""
    project = shaped(tmp_path, shape)
    guest.begin(project)
    start = ["start", *project.words, ASKS, "seed=1", "panda.day=1 epoch"]
    asking(monkeypatch, at3={"set": ["lr=*0.5"]})
    guest(*start, study="whole")
    asking(monkeypatch, at3={"set": ["lr=*0.5"]}, at6={"stop": True})
    guest(*start, code=143)
    guest("start")
    runs = project.runs
    assert events(runs)[-1].kind == FINISH
    (nudge,) = events(runs, SET)
    assert nudge.facts[MOVES] == events(runs, SET, "whole")[0].facts[MOVES]
    assert logged(runs / "p") == logged(runs / "whole")
