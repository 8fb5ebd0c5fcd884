"""What was trained is what is written down: edits of conf/ and of code in the middle of a study."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from caviar.base.code import changed_files, code_files, digest
from caviar.base.errors import UserError
from caviar.cli.common import study_of
from caviar.config.compose import project_composer
from caviar.config.kept import changes, kept_config, restore
from caviar.ledger import Ledger
from caviar.pages.explorer import explorer_data
from caviar.pages.snapshot import Snapshot
from caviar.pages.trials import trials_section
from caviar.search.confirm import confirm_spec
from caviar.search.driver import work
from caviar.search.planned import plan
from caviar.search.provenance import mixed_code, ranges, trained_alike
from caviar.search.stages import check_follows, stage_spec
from caviar.search.study import Study
from caviar.search.winner import winner_command
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


def asked(*overrides: str) -> Study:
    """The study as a command with these overrides opens it."""
    return study_of([*FAST[:3], "model._target_=mine.model.Mine", "search.study=s", *overrides])


def refused(ask: Callable[[], object]) -> str:
    """What is said about a command that would train something else."""
    with pytest.raises(UserError) as told:
        ask()
    return str(told.value)


@pytest.mark.slow
def test_an_edit_of_conf_is_refused_as_the_same_override_is(
    project: Project, main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*STAGE, "search.num_trials=1") == 0
    kept = yaml.safe_load((runs / "s/01_coarse.config.yaml").read_text())
    assert kept["optimizer"]["weight_decay"] == 0.0
    assert kept["model"]["in_features"] == "${data.num_features}"
    project.edit("weight_decay: 0.0", "weight_decay: 0.5")
    project.edit("depth: 2", "", "model/mlp.yaml")
    project.edit("lr: 0.01", "lr: 0.02")  # which is drawn, so that its default is no trial's
    project.edit("log_every_n_steps: 50", "log_every_n_steps: 10", "trainer/default.yaml")
    capsys.readouterr()
    assert main(*STAGE, "search.num_trials=2") == 2
    old = "+model.depth=2 optimizer.weight_decay=0.0"
    assert capsys.readouterr().err.partition("\n")[2] == (  # it has begun with what it reads
        "error: stage 01_coarse of study s was begun with another config:\n"
        "  model.depth: 2 then, absent now\n"
        "  optimizer.weight_decay: 0.0 then, 0.5 now\n"
        f"to go on with the old, as conf/ says otherwise now, write {old}; or write "
        "search.study=ANOTHER_NAME to begin anew\n"
    )
    assert main(*STAGE, "search.num_trials=2", *old.split()) == 0
    assert project.decays == [0.0, 0.0]
    printed = capsys.readouterr().out
    # What is printed says it too: the same numbers come out, and the next stage is not refused.
    (again,) = (line for line in printed.splitlines() if line.startswith("the best again:"))
    assert again.count("optimizer.weight_decay=0.0") == 1
    assert f"caviar confirm search.study=s {old}" in printed
    assert main("-m", "search.action=worker", "search.study=s", "search.idle=0.5", *FAST) == 0


@pytest.mark.nightly
@pytest.mark.slow
def test_what_a_study_goes_on_with(project: Project, main: Main, runs: Path) -> None:
    """The same stage, the next one, a confirmation, a worker elsewhere: all by the same conf/."""
    assert main(*STAGE, "search.num_trials=1") == 0
    coarse = asked().begun_sweep("01_coarse")

    def same_stage(*overrides: str) -> None:
        study = asked(*overrides)
        sweep = replace(coarse, overrides=tuple(study.overrides))
        study.compare("01_coarse", stage_spec(study, sweep))

    same_stage("optimizer.weight_decay=0.0", "logger=csv")  # however it is said
    told = refused(lambda: same_stage("threads=2", "optimizer.weight_decay=0.1"))
    assert "  optimizer.weight_decay: 0.0 then, 0.1 now\n  threads: 1 then, 2 now\n" in told
    assert "leave out threads=2, leave out optimizer.weight_decay=0.1; or" in told

    project.edit("weight_decay: 0.0", "weight_decay: 0.5")
    project.edit("lr: 0.01", "lr: 0.02")
    told = refused(lambda: same_stage("threads=2"))
    assert "leave out threads=2, as conf/ says otherwise now, write optimizer.weight_d" in told

    old, new = "optimizer.weight_decay=0.0", "optimizer.weight_decay=0.5"
    fine = replace(coarse, stage="02_fine")
    told = refused(lambda: check_follows(asked(), fine))
    assert told.startswith("conf/ says otherwise now than when 01_coarse of study s began")
    assert f"to go on with the old, write {old}; to change it from" in told
    for decided in (old, new):  # by the stage's own file, or by the command
        check_follows(asked(), replace(fine, overrides=(*fine.overrides, decided)))

    told = refused(lambda: confirm_spec(asked()))
    assert f"write optimizer.lr=0.01 {old}; to change it from here on" in told  # the default's rate
    assert told.count("now\n") == 2
    confirmed = confirm_spec(asked("optimizer.lr=0.02", old))["config"]
    assert (confirmed["optimizer"]["lr"], confirmed["optimizer"]["weight_decay"]) == (0.02, 0.0)

    study, more = asked("search.idle=0.5"), replace(coarse, num_trials=2)
    study.ledger.extend("01_coarse", plan(more, study.settings), more.space)
    assert "optimizer.weight_decay: 0.0 then, 0.5 now" in refused(lambda: work(study))


def test_stages_compare_by_what_they_trained() -> None:
    """However it was said: by conf/, or by an override that stands for it."""
    config = {"optimizer": {"weight_decay": 0.0}, "trainer": {"max_epochs": 5}}
    longer = {**config, "trainer": {"max_epochs": 9}}
    one = {"overrides": ["a=1"], "config": config}
    assert trained_alike(one, {"overrides": [], "config": config})
    assert not trained_alike(one, {"overrides": ["a=1"], "config": longer})
    assert trained_alike(one, {"overrides": ["a=1"]})  # of an earlier version
    assert not trained_alike({"overrides": []}, one)


@pytest.mark.nightly
@pytest.mark.slow
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
    snapshot = Snapshot.of(study_of(["search.study=s"]))
    assert trials_section(snapshot).words[-1] == sentence
    commands = explorer_data([snapshot])["trials"]["command"]
    assert all("optimizer.weight_decay=0.0 optimizer.lr=" in command for command in commands)


def test_what_a_config_keeps(monkeypatch: pytest.MonkeyPatch, hydra_state: None) -> None:
    monkeypatch.setenv("CAVIAR_ROOT", str(ROOT))
    monkeypatch.setenv("WHERE", "/one/machine")
    monkeypatch.setenv("DECAY", "0.1")
    compose = project_composer()
    given = ["+data.folder=${oc.env:WHERE}", "optimizer.weight_decay=${oc.env:DECAY}"]
    before = kept_config(compose(given))
    aside = ["logger=csv", "paths.runs=/elsewhere", "seed=3", "name=other", "search.seed=1"]
    aside += ["space=tier_1", "panda.day=2 epochs"]
    harmless = ["+data.num_workers=4", "+data.pin_memory=true", "trainer.log_every_n_steps=1"]
    monkeypatch.setenv("WHERE", "/another/machine")
    assert changes(before, kept_config(compose([*given, *aside, *harmless]))) == []
    monkeypatch.setenv("DECAY", "0.2")
    other = compose([*given, "data.num_classes=3", "trainer.max_epochs=15.0", "~trainer.devices"])
    assert [str(change) for change in changes(before, kept_config(other))] == [
        "data.num_classes: 10 then, 3 now",  # and not the model's, which follows it
        "optimizer.weight_decay: '0.1' then, '0.2' now",
        "trainer.devices: 1 then, absent now",
        "trainer.max_epochs: 15 then, 15.0 now",
    ]
    restore(other, changes(before, kept_config(other)))
    assert changes(before, kept_config(other)) == []


def test_every_change_is_undone_by_its_own_override(
    monkeypatch: pytest.MonkeyPatch, hydra_state: None
) -> None:
    monkeypatch.setenv("CAVIAR_ROOT", str(ROOT))
    compose = project_composer()
    default = kept_config(compose([]))
    for now in (
        ["model=conv_net", "~trainer.max_epochs", "+model.extra={a: [1, 'x y'], b: {c: null}}"],
        ["data.fractions=[0.5,0.5]", "optimizer=adam", "++callbacks.best=null"],
    ):
        changed = kept_config(compose(now))
        groups = [o for o in now if o.partition("=")[0] in ("model", "optimizer")]
        there = [c.restoring for c in changes(changed, kept_config(compose(groups)))]
        assert there
        assert changes(changed, kept_config(compose([*groups, *there]))) == []
        back = [c.restoring for c in changes(default, kept_config(compose(groups)))]
        assert changes(default, kept_config(compose([*groups, *back]))) == []


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


@pytest.mark.nightly
@pytest.mark.slow
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
    python, script, *words = shlex.split(capsys.readouterr().out.splitlines()[1])
    assert (python, script) == ("python", "train.py")
    assert main(*words) == 0
    config = tmp_path / "my runs/train/0/.hydra/config.yaml"
    assert yaml.safe_load(config.read_text())["model"]["width"] == 8
    assert main(*named, "search.num_trials=5") == 0
    printed = capsys.readouterr().out
    (refine,) = (line for line in printed.splitlines() if line.startswith("next: "))
    assert caviar(*shlex.split(refine)[2:], "search.num_trials=1") == 0
    printed = capsys.readouterr().out
    (stage,) = (line for line in printed.splitlines() if line.startswith("next: "))
    assert main(*shlex.split(stage)[3:], "hydra/launcher=basic") == 0
    winner = winner_command(study_of(["search.study=two"]))
    assert winner == f"python train.py '--config-dir={folder.parent}' experiment=two_winner"
    confirm = ["confirm", "search.study=two", "search.dry_run=true"]
    assert caviar(*confirm) == 0

    # Another machine has the folder elsewhere.
    moved = tmp_path / "moved"
    folder.parent.rename(moved)
    capsys.readouterr()
    assert caviar(*confirm) == 2
    assert "there is no such folder here; write --config-dir" in capsys.readouterr().err
    assert caviar(*confirm, "--config-dir", str(moved)) == 0
    assert f"--config-dir={moved}" in capsys.readouterr().out
