"""What was trained is what is written down: edits of conf/ and of code in the middle of a study."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from caviar.base.code import changed_files, code_files, digest
from caviar.cli.common import study_of
from caviar.config.compose import project_composer
from caviar.config.kept import changes, kept_config
from caviar.ledger import Ledger
from caviar.report.snapshot import Snapshot
from caviar.report.trials import trials_section
from caviar.search.confirm import winner_command
from caviar.search.provenance import mixed_code, ranges
from caviar.search.stages import plan
from conftest import ROOT, Main, trials

FAST = ["trainer.max_epochs=1", "logger=none", "space=tier_1", "hydra/launcher=basic"]
STAGE = ["-m", *FAST, "model._target_=mine.model.Mine", "search.study=s"]
MODEL = """from pathlib import Path
from caviar.training.models import MLP

class Mine(MLP):
    def on_fit_start(self):
        group = self.trainer.optimizers[0].param_groups[0]
        with open({log!r}, "a") as file:
            print(group["weight_decay"], file=file)
        conf = Path({conf!r})
        if {edits}:  # as somebody does who prepares the next search
            conf.write_text(conf.read_text().replace("weight_decay: 0.0", "weight_decay: 0.5"))
"""


class Project:
    """A copy of ours, with a model of its own that writes down the weight decay it trains with."""

    def __init__(self, root: Path) -> None:
        self.root, self.log = root, root / "decays"
        self.conf = root / "conf/optimizer/sgd.yaml"
        shutil.copytree(ROOT / "conf", root / "conf")
        shutil.copy(ROOT / "train.py", root)
        (root / "src/mine").mkdir(parents=True)
        self.write_model()

    def write_model(self, edits: bool = False) -> None:
        text = MODEL.format(log=str(self.log), conf=str(self.conf), edits=edits)
        (self.root / "src/mine/model.py").write_text(text)
        for name in ("mine", "mine.model"):  # for this process as for a new one
            sys.modules.pop(name, None)

    def edit(self, before: str, now: str, file: str = "optimizer/sgd.yaml") -> None:
        path = self.root / "conf" / file
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, now))

    @property
    def decays(self) -> list[float]:
        """What each training so far had."""
        return [float(line) for line in self.log.read_text().split()]


@pytest.fixture
def project(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project(tmp_path / "project")
    monkeypatch.setenv("CAVIAR_ROOT", str(made.root))
    monkeypatch.syspath_prepend(str(made.root / "src"))
    monkeypatch.chdir(made.root)
    return made


def test_an_edit_of_conf_is_refused_as_the_same_override_is(
    project: Project, main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*STAGE, "search.num_trials=1") == 0
    kept = yaml.safe_load((runs / "s/01_coarse.config.yaml").read_text())
    assert kept["optimizer"]["weight_decay"] == 0.0
    assert kept["model"]["in_features"] == "${data.num_features}"
    project.edit("lr: 0.01", "lr: 0.02")  # which is drawn, so that its default is no trial's
    project.edit("log_every_n_steps: 50", "log_every_n_steps: 10", "trainer/default.yaml")
    project.edit("weight_decay: 0.0", "weight_decay: 0.5")
    project.edit("depth: 2", "", "model/mlp.yaml")
    capsys.readouterr()
    for command in (["search.num_trials=2"], ["search.action=search"]):
        assert main(*STAGE, *command) == 2
        printed = capsys.readouterr().err
        assert "stage 01_coarse of study s was begun with another config" in printed
        assert "optimizer.weight_decay: 0.0 then, 0.5 now" in printed
        assert "model.depth: 2 then, absent now" in printed
        assert "write +model.depth=2 optimizer.weight_decay=0.0;" in printed
        assert "lr:" not in printed
        assert "log_every" not in printed
    # A typed override is named as such.
    project.edit("weight_decay: 0.5", "weight_decay: 0.0")
    old = ["+model.depth=2"]
    assert main(*STAGE, *old, "threads=2") == 2
    printed = capsys.readouterr().err
    assert "threads: 1 then, 2 now" in printed
    assert "leave out threads=2" in printed
    project.edit("weight_decay: 0.0", "weight_decay: 0.5")

    old.append("optimizer.weight_decay=0.0")
    assert main(*STAGE, "search.num_trials=2", *old) == 0
    assert project.decays == [0.0, 0.0]
    printed = capsys.readouterr().out
    # What is printed says it too: the same numbers come out, and the next stage is not refused.
    (again,) = (line for line in printed.splitlines() if line.startswith("the best again:"))
    assert again.count("optimizer.weight_decay=0.0") == 1
    assert "confirm search.study=s +model.depth=2 optimizer.weight_decay=0.0" in printed
    project.edit("weight_decay: 0.5", "weight_decay: 0.0")
    project.edit("width: 64", "width: 64\ndepth: 2", "model/mlp.yaml")
    project.edit("lr: 0.02", "lr: 0.01")
    assert main(*STAGE, "search.num_trials=2") == 0  # conf/ is as it was
    assert len(project.decays) == 2

    # Between the stages of a study, and on another machine.
    project.edit("weight_decay: 0.0", "weight_decay: 0.5")
    project.edit("lr: 0.01", "lr: 0.02")
    confirm = ["-m", "search.action=confirm", "search.study=s", "search.dry_run=true"]
    assert main(*confirm) == 2
    printed = capsys.readouterr().err
    assert "conf/ says otherwise now than when 01_coarse of study s began" in printed
    assert "write optimizer.lr=0.01 optimizer.weight_decay=0.0; to change it from" in printed
    assert main(*confirm, "optimizer.lr=0.01", "optimizer.weight_decay=0.0") == 0
    assert "optimizer.weight_decay=0.0" in capsys.readouterr().out.splitlines()[0]
    assert main(*confirm, "optimizer.lr=0.02", "optimizer.weight_decay=0.5") == 0  # is meant

    study = study_of(["search.study=s"])
    more = replace(study.begun_sweep("01_coarse"), num_trials=3)
    study.ledger.extend("01_coarse", plan(more, study.settings), more.space)
    worker = ["-m", "search.action=worker", "search.study=s", "search.idle=0.5"]
    capsys.readouterr()
    assert main(*worker, "hydra/launcher=basic") == 2
    assert "optimizer.weight_decay: 0.0 then, 0.5 now" in capsys.readouterr().err
    assert main(*worker, "hydra/launcher=basic", "optimizer.weight_decay=0.0") == 0
    assert project.decays == [0.0] * 3


def test_edits_while_a_stage_runs(
    project: Project,
    main: Main,
    runs: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """conf/ is put back for the trials to come; code cannot be, and its mixture is told."""
    project.write_model(edits=True)
    assert main(*STAGE, "search.num_trials=2") == 0
    assert "weight_decay: 0.5" in project.conf.read_text()
    assert project.decays == [0.0, 0.0]
    written = yaml.safe_load((runs / "s/01_coarse/1/.hydra/config.yaml").read_text())
    assert written["optimizer"]["weight_decay"] == 0.0
    assert "as then: optimizer.weight_decay=0.0" in capsys.readouterr().out
    assert mixed_code(study_of(["search.study=s"])) == []

    project.edit("weight_decay: 0.5", "weight_decay: 0.0")
    project.write_model()
    assert main(*STAGE, "search.num_trials=4") == 0
    told = "trials 0-1 of 01_coarse were trained with other code than those from now on: "
    printed = capsys.readouterr().err
    assert printed.count("warning:") == 1
    assert f"warning: {told}src/mine/model.py changed\n" in printed
    (sentence,) = mixed_code(study_of(["search.study=s"]))
    assert sentence.startswith("Trials 0-1 of 01_coarse were trained with other code than the lat")
    claims = [t.claim["code"] for t in trials(runs)]
    assert claims[0] == claims[1] != claims[2] == claims[3]
    ledger = Ledger.open(str(runs / "s/study.journal"), "s")
    assert list(ledger.code("01_coarse")) == [claims[0], claims[2]]
    # The report's commands train what was trained, also under another conf/.
    project.edit("weight_decay: 0.0", "weight_decay: 0.5")
    section = trials_section(Snapshot.of(study_of(["search.study=s"])))
    assert section.words[-1] == sentence
    assert all("optimizer.weight_decay=0.0 optimizer.lr=" in r["command"] for r in section.rows)


def test_stages_pool_by_what_they_trained(
    project: Project, main: Main, caviar: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However it was said: by conf/, or by an override that stands for it."""
    assert main(*STAGE, "search.num_trials=5") == 0
    project.edit("weight_decay: 0.0", "weight_decay: 0.5")
    old = "optimizer.weight_decay=0.0"
    assert caviar("refine", "search.study=s", "search.num_trials=1", old) == 0
    capsys.readouterr()
    fine = ["-m", "search.study=s", "search.stage=02_fine", "hydra/launcher=basic"]
    assert main(*fine) == 0
    assert caviar("refine", "search.study=s", "search.stage=03_finest", old) == 0
    assert "6 trials of all stages" in (runs / "s/03_finest.yaml").read_text()


def test_what_a_config_keeps(monkeypatch: pytest.MonkeyPatch, hydra_state: None) -> None:
    monkeypatch.setenv("CAVIAR_ROOT", str(ROOT))
    compose = project_composer()

    def changed(before: list[str], now: list[str]) -> list[str]:
        kept = [kept_config(compose(overrides)) for overrides in (before, now)]
        return [c.restoring for c in changes(*kept)]

    for harmless in (
        ["logger=csv", "paths.runs=/elsewhere", "seed=3", "name=other", "search.seed=1"],
        ["+data.num_workers=4", "+data.pin_memory=true", "trainer.log_every_n_steps=1"],
        ["+trainer.enable_progress_bar=false", "space=tier_1", "panda.day=2 epochs"],
    ):
        assert changed([], harmless) == []
    assert changed([], ["trainer.max_epochs=99"]) == ["trainer.max_epochs=15"]
    assert changed(["trainer.max_epochs=1"], ["trainer.max_epochs=1.0"]) == ["trainer.max_epochs=1"]
    assert changed([], ["data.num_classes=3"]) == ["data.num_classes=10"]  # and not the model's
    monkeypatch.setenv("WHERE", "/one/machine")
    monkeypatch.setenv("DECAY", "0.1")
    asked = ["+data.folder=${oc.env:WHERE}", "optimizer.weight_decay=${oc.env:DECAY}"]
    before = kept_config(compose(asked))
    monkeypatch.setenv("WHERE", "/another/machine")
    assert not changes(before, kept_config(compose(asked)))
    monkeypatch.setenv("DECAY", "0.2")
    (change,) = changes(before, kept_config(compose(asked)))
    assert str(change) == "optimizer.weight_decay: '0.1' then, '0.2' now"

    # Every change is undone by its own override.
    for now in (
        ["model=conv_net", "~trainer.max_epochs", "+model.extra={a: [1, 'x y'], b: {c: null}}"],
        ["data.fractions=[0.5,0.5]", "optimizer=adam", "++callbacks.best=null"],
    ):
        back = changed([], now)
        groups = [o for o in now if o.partition("=")[0] in ("model", "optimizer")]
        rest = [o for o in now if o not in groups]
        assert back
        assert changed([], [*groups, *changed([], groups)]) == []
        assert changed(rest, changed(rest, [])) == []


def test_the_code_of_a_project(project: Project) -> None:
    root = project.root
    for name in ("helpers.py", "models/net.py", "src/mine/deep/er.py", "tests/test_x.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x = 1\n")
    for name in (".venv/a.py", "src/mine/__pycache__/b.py", "data/c.txt", "src/caviar/d.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x = 1\n")
    before = code_files()
    own = ["helpers.py", "models/net.py", "src/mine/deep/er.py", "src/mine/model.py", "train.py"]
    assert list(before) == own
    (root / "helpers.py").write_text("x = 2\n")
    (root / "models/net.py").unlink()
    assert changed_files(before, code_files()) == ["helpers.py", "models/net.py"]
    (root / "helpers.py").write_text("x = 1\n")
    (root / "models/net.py").write_text("x = 1\n")
    assert digest(code_files()) == digest(before)  # by content, whenever it was written
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"


def test_a_study_finds_its_config_files_again(
    main: Main,
    caviar: Main,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every command that is printed runs as it stands, and `confirm` without the folder's name."""
    folder = tmp_path / "my conf/experiment"
    folder.mkdir(parents=True)
    text = "# @package _global_\ndefaults: [digits]\nname: two\nmodel: {width: 8}\n"
    (folder / "two.yaml").write_text(text)
    monkeypatch.setenv("CAVIAR_RUNS", str(tmp_path / "my runs"))
    named = ["--config-dir", str(folder.parent), *FAST, "experiment=two", "-m"]
    assert main(*named, "search.num_trials=2", "search.dry_run=true") == 0
    planned = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert main(*named, "search.num_trials=5") == 0
    printed = capsys.readouterr().out
    for number, (python, script, *words) in enumerate(planned):
        assert (python, script) == ("python", "train.py")
        assert main(*words) == 0
        config = tmp_path / f"my runs/train/{number}/.hydra/config.yaml"
        assert yaml.safe_load(config.read_text())["model"]["width"] == 8
    (refine,) = (line for line in printed.splitlines() if line.startswith("next: "))
    assert caviar(*shlex.split(refine)[2:], "search.num_trials=1") == 0
    printed = capsys.readouterr().out
    (stage,) = (line for line in printed.splitlines() if line.startswith("next: "))
    assert main(*shlex.split(stage)[3:], "hydra/launcher=basic") == 0
    confirm = ["-m", "search.action=confirm", "search.dry_run=true"]
    capsys.readouterr()
    assert main(*confirm, "search.study=two") == 0
    first = shlex.split(capsys.readouterr().out.splitlines()[0])
    assert main(*first[2:]) == 0
    winner = winner_command(study_of(["search.study=two"]))
    assert winner == f"python train.py '--config-dir={folder.parent}' experiment=two_winner"

    # Hydra's own setting does the same, and another machine has the folder elsewhere.
    search_path = f"hydra.searchpath=['file://{folder.parent}']"
    more = ["-m", *FAST, search_path, "experiment=two", "search.study=t", "search.num_trials=1"]
    assert main(*more) == 0
    moved = tmp_path / "moved"
    folder.parent.rename(moved)
    capsys.readouterr()
    assert main(*confirm, "search.study=t") == 2
    assert "there is no such folder here; write --config-dir" in capsys.readouterr().err
    there = ["--config-dir", str(moved), "search.study=t", "search.dry_run=true"]
    assert caviar("confirm", *there) == 0
    assert f"--config-dir={moved}" in capsys.readouterr().out
