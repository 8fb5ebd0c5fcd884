"""Projects in the shapes that people have, in tests/projects/: what Lightning trains, a search
tunes.

Each is made as its owner has it, in a folder with our `conf/` and `train.py` and files of its own.
It is trained by a plain script around `Trainer.fit`, as one run, as trials of a search that is
interrupted, and looked after; and comes to the same everywhere.
"""

from __future__ import annotations

import importlib
import json
import os
import shlex
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from caviar import load
from caviar.ledger import Ledger
from caviar.panda.inbox import nudge, stop_run
from caviar.panda.journal import SET
from caviar.training.checkpoints import read_checkpoint
from conftest import ROOT, Main, awaited, meanwhile, trials
from interrupts import DRIVER
from panda_verbs import Verb, days, events

PROJECTS = ROOT / "tests/projects"
LAST = "checkpoints/last.ckpt"
LIGHTNING, PYTORCH_LIGHTNING = "lightning", "pytorch_lightning"
# What a search costs, not what it does.
FEW = ["search.confirm.budget=4", "search.confirm.top=1", "search.confirm.test=always"]
FEW += ["hydra.launcher.num_workers=2"]
FEW += ["search.stages.coarse.rungs=[]"]  # each trial is compared with a whole run
ONE_STAGE = ["search.stages.coarse.num_trials=3", "~search.stages.fine", "~search.stages.finest"]
# The fewest trials that can be refined from.
REFINED = [
    "search.stages.coarse.num_trials=5",
    "search.stages.fine.num_trials=1",
    "~search.stages.finest",
]


@dataclass(frozen=True)
class Shape:
    """One kind of project, and what is known of it.

    Arguments:
        name: its folder in tests/projects.
        package: whose LightningModule it derives from.
        metric: that it declares.
        reached: what one run, of the experiment as it is, comes to at least, or at most.
        steps: of all optimizers in one run.
        interrupted: a step inside of it, behind the first validation.
        rate: its learning rate's key below `model`.
        nudge: of what its config has.
        nudged: what is in the optimizers' groups behind the nudge: keys, and values by group.
        looked_after: what a panda of it is begun with.
        mode: of the metric.
        stages: of its search.
        in_process: settings with which no loader starts a process.
        needs: a package that may not be installed.
    """

    name: str
    package: str
    metric: str
    reached: float
    steps: int
    interrupted: int
    rate: str
    nudge: str
    nudged: dict[str, list[float]]
    looked_after: list[str]
    mode: str = "max"
    stages: list[str] = field(default_factory=lambda: ONE_STAGE)
    in_process: list[str] = field(default_factory=list)
    needs: str = "torch"

    def __str__(self) -> str:
        return f"{self.name}-{self.package}"

    def learned(self, value: float) -> bool:
        return value > self.reached if self.mode == "max" else value < self.reached


def images(package: str) -> Shape:
    """After lightning-hydra-template: the same source with either package."""
    return Shape(
        "template",
        package,
        "val/acc",
        reached=0.6,
        steps=24,
        interrupted=12,
        rate="optimizer.lr",
        nudge="model.optimizer.lr=*0.5",
        nudged={"lr": [0.005]},
        looked_after=["trainer.max_epochs=999", "model.scheduler.patience=999"],
        stages=REFINED,
    )


SHAPES = (
    images(LIGHTNING),
    images(PYTORCH_LIGHTNING),
    Shape(
        "gan",
        PYTORCH_LIGHTNING,
        "val/distance",
        mode="min",
        reached=0.3,
        steps=128,
        interrupted=80,
        rate="lr_generator",
        nudge="model.lr_generator=*0.5",
        nudged={"lr": [0.0005, 0.004]},  # the critic's is another key's
        looked_after=["trainer.max_epochs=999"],
    ),
    Shape(
        "bert",
        LIGHTNING,
        "val_f1",
        reached=0.5,
        steps=60,
        interrupted=30,
        rate="lr",
        nudge="model.weight_decay=0.1",
        nudged={"weight_decay": [0.1, 0.0]},
        looked_after=["trainer.max_epochs=999"],
        needs="transformers",
    ),
    Shape(
        "regression",
        PYTORCH_LIGHTNING,
        "val/r2",
        reached=0.5,
        steps=57,
        interrupted=30,
        rate="lr",
        nudge="model.lr=*0.5",
        nudged={"lr": [0.005]},
        looked_after=["trainer.max_epochs=999"],
    ),
    Shape(
        "stream",
        LIGHTNING,
        "val/loss",
        mode="min",
        reached=0.1,
        steps=40,
        interrupted=15,
        rate="lr",
        nudge="one_minus.model.momentum=*2",
        nudged={"momentum": [0.8]},
        looked_after=["trainer.max_steps=99999", 'panda.day="20 steps"'],
        in_process=["data.num_workers=0"],
    ),
)
EACH = pytest.mark.parametrize("shape", SHAPES, ids=str)


def each_but(*at_night: str) -> pytest.MarkDecorator:
    """Each shape, those only at night where the others show nearly the same."""
    assert set(at_night) <= {str(shape) for shape in SHAPES}
    marks = {name: [pytest.mark.nightly] for name in at_night}
    shapes = [pytest.param(shape, marks=marks.get(str(shape), [])) for shape in SHAPES]
    return pytest.mark.parametrize("shape", shapes, ids=str)


BUT_TEMPLATE = [str(shape) for shape in SHAPES if str(shape) != "template-lightning"]


class Project:
    """A project in a folder of its own.

    Arguments:
        name: of what is in it, in tests/projects.
        folder: to be made.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.folder, self.runs = folder, folder / "runs"
        shutil.copytree(ROOT / "conf", folder / "conf")
        shutil.copy(ROOT / "train.py", folder)
        shutil.copytree(PROJECTS / name, folder, dirs_exist_ok=True)
        (experiment,) = (PROJECTS / name).glob("conf/experiment/*.yaml")
        self.experiment = f"experiment={experiment.stem}"

    def derive_from(self, package: str) -> None:
        """Let the template's module, and its data, be of that package."""
        for path in self.folder.glob("src/*/*.py"):
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace("from lightning", f"from {package}"))

    def result(self, folder: str) -> dict[str, Any]:
        """Of a run, below runs/."""
        return json.loads((self.runs / folder / "result.json").read_text())


Make = Callable[[Shape], Project]
MakeNamed = Callable[[str], Project]


@pytest.fixture
def make(make_named: MakeNamed) -> Make:
    """`make(shape)`: the project of that shape."""

    def call(shape: Shape) -> Project:
        pytest.importorskip(shape.needs)
        project = make_named(shape.name)
        project.derive_from(shape.package)
        return project

    return call


@pytest.fixture
def make_named(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeNamed]:
    """`make_named("gan")`: a project, and this process as if it had been started in its folder."""
    folder = tmp_path / "project"

    def call(name: str) -> Project:
        project = Project(name, folder)
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("CAVIAR_ROOT", str(folder))
        monkeypatch.delenv("CAVIAR_RUNS")
        monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}")
        forget_modules(folder)  # another test may have left some of the same names
        return project

    yield call
    forget_modules(folder)


def forget_modules(folder: Path) -> None:
    """Let the modules of a project be imported anew."""
    own = {path.stem for path in folder.iterdir()} if folder.exists() else set()
    for name in [name for name in sys.modules if name.partition(".")[0] in own]:
        del sys.modules[name]


def trained_by_lightning_alone(project: Project, shape: Shape) -> Any:
    """A plain script around `Trainer.fit` and `.test`; its trainer."""
    from caviar.config.compose import project_composer

    config = project_composer()([project.experiment, *shape.in_process])
    package = importlib.import_module(shape.package)
    package.seed_everything(config.seed, workers=True, verbose=False)
    model, data = instantiate(config.model), instantiate(config.data)
    settings: Any = OmegaConf.to_container(config.trainer)
    for name in ("_target_", "default_root_dir", "use_distributed_sampler"):  # no idea of theirs
        del settings[name]
    with warnings.catch_warnings():  # Lightning's, of a script that is not ours
        warnings.simplefilter("ignore")
        trainer = package.Trainer(
            **settings, logger=False, enable_checkpointing=False, enable_progress_bar=False
        )
        trainer.fit(model, datamodule=data)
        fitted = dict(trainer.callback_metrics)
        trainer.test(model, datamodule=data, verbose=False)
    trainer.callback_metrics.update(fitted)
    return trainer


# Lightning's own, of a module that saves its network among its hyperparameters, as many do.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Attribute 'net' is an instance of `nn.Module`"),
]


@EACH
def test_one_run_is_what_a_plain_script_trains(make: Make, main: Main, shape: Shape) -> None:
    project = make(shape)
    plain = trained_by_lightning_alone(project, shape)
    assert plain.global_step == shape.steps
    assert shape.learned(float(plain.callback_metrics[shape.metric]))
    assert main(project.experiment, "test=true", *shape.in_process) == 0
    result = project.result("train/0")
    assert result["status"] == "complete"
    assert shape.learned(result["best"])
    assert set(plain.callback_metrics) <= set(result["metrics"])
    last = read_checkpoint(project.runs / "train/0" / LAST)
    assert last["global_step"] == shape.steps
    assert Path(result["checkpoint"]).is_file()


def test_a_best_metric_of_its_own_may_be_the_one(make: Make, main: Main) -> None:
    project = make(images(LIGHTNING))
    assert main(project.experiment, "metric.name=val/acc_best") == 0
    result = project.result("train/0")
    assert result["best"] == result["last"] == result["metrics"]["val/acc_best"]


@EACH
def test_a_rate_that_nobody_reads_is_not_searched(
    make: Make, main: Main, shape: Shape, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make(shape)
    here = [*shape.in_process, "hydra/launcher=basic"]
    assert main("-m", "search.action=search", project.experiment, "space=tier_1", *here) == 2
    printed = capsys.readouterr().err
    assert "optimizer.lr: nothing reads it" in printed
    assert f"write model.{shape.rate}" in printed
    assert not list(project.runs.rglob("study.journal"))


def test_a_mixture_of_packages_is_named(
    make_named: MakeNamed, main: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_named("template")
    path = project.folder / "src/data/images.py"
    path.write_text(path.read_text().replace("from lightning", "from pytorch_lightning"))
    assert main(project.experiment) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert " lightning" in line
    assert "pytorch_lightning" in line


@pytest.mark.slow
@each_but(*BUT_TEMPLATE)
def test_a_search_that_is_interrupted(
    make: Make,
    main: Main,
    caviar: Main,
    shape: Shape,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It goes on, and every trial is the single run that its printed command is."""
    project = make(shape)
    study = project.runs / "s"
    monkeypatch.setenv(DRIVER, str(os.getpid()))
    ctrl_c = (
        f"+callbacks.ctrl_c={{_target_: interrupts.ctrl_c, package: {shape.package}, "
        f"step: {shape.interrupted}, once: '{project.runs / 'interrupted'}'}}"
    )
    search = [project.experiment, "search.study=s", *shape.stages, *FEW, ctrl_c]
    assert caviar("search", *search) == 130
    assert "the same command continues" in capsys.readouterr().err
    steps_left_at = [
        read_checkpoint(last)["global_step"]
        for trial in trials(project.runs)
        if not trial.finished and (last := study / f"01_coarse/{trial.number}/{LAST}").exists()
    ]
    assert max(steps_left_at) >= shape.interrupted  # inside of an epoch
    assert caviar("search", *search, "search.rehearse=false") == 0  # it was, before
    a_study_is_complete(project, shape.metric, capsys.readouterr().out)
    tested = trials(project.runs, "test")
    test_metric = shape.metric.replace("val", "test")
    assert all(test_metric in t.result.metrics for t in tested)
    winner = load(study)
    trainer = importlib.import_module(shape.package).Trainer(logger=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (again,) = trainer.test(winner.model, datamodule=winner.data, verbose=False)
    best = [t.result.metrics[test_metric] for t in tested]
    assert any(again[test_metric] == pytest.approx(value, rel=1e-4) for value in best)

    for trial, alone in trials_and_single_runs(project, main, [ctrl_c], capsys):
        assert trial["resume"] == "exact to the step"
        for name in ("status", "best", "best_epoch", "last", "metrics", "num_params"):
            assert trial[name] == alone[name], name


def a_study_is_complete(project: Project, metric: str, printed: str) -> None:
    """All of its trainings, its verdict and its report."""
    ledger = Ledger.open(str(project.runs / "s/study.journal"), "s")
    for stage in ledger.stages():
        assert {t.status for t in ledger.trials(stage)} <= {"complete"}, stage
    verdict = json.loads((project.runs / "s/verdict.json").read_text())
    assert verdict["sentence"] in printed.replace("\n", " ")
    assert metric in (project.runs / "s/report.html").read_text()


def trials_and_single_runs(
    project: Project, main: Main, overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The results of the first two trials, each beside that of its printed command."""
    stage = ["-m", project.experiment, "search.study=other", "search.num_trials=2", *overrides]
    capsys.readouterr()
    assert main(*stage, "search.dry_run=true") == 0
    commands = [line for line in capsys.readouterr().out.splitlines() if line]
    assert len(commands) == 2
    for number, command in enumerate(commands):
        _, _, *typed = shlex.split(command)
        assert main(*typed) == 0
        yield project.result(f"s/01_coarse/{number}"), project.result(f"train/{number}")


@pytest.mark.slow
@each_but(*map(str, SHAPES))
def test_hopeless_trials_are_pruned(make: Make, main: Main, shape: Shape) -> None:
    project = make(shape)
    stage = ["-m", project.experiment, "search.study=s", "search.pruner=asha"]
    assert main(*stage, "search.num_trials=5", "hydra.launcher.num_workers=1") == 0
    found = trials(project.runs)
    assert {t.status for t in found} == {"complete", "pruned"}
    whole = max(len(t.curve) for t in found)
    assert all(len(t.curve) < whole for t in found if t.status == "pruned")


@pytest.mark.slow
@each_but("template-pytorch_lightning", "regression-pytorch_lightning", "stream-lightning")
def test_a_nudge_changes_what_the_optimizers_have(make: Make, panda: Verb, shape: Shape) -> None:
    project = make(shape)
    folder = project.runs / "p"

    def nudge_and_stop() -> list[str]:
        awaited(lambda: days(project.runs) >= 1)
        try:
            lines = nudge(folder, [shape.nudge], "too wild", force=False, patience=60)
            (event,) = events(project.runs, SET)
            awaited(lambda: days(project.runs) > event.day)
            return lines
        finally:
            stop_run(folder, patience=60)

    with meanwhile(nudge_and_stop) as nudged:
        panda("start", project.experiment, *shape.looked_after, code=143)
    assert shape.nudge.partition("=")[0].removeprefix("one_minus.") in nudged.result()[0]
    checkpoint = read_checkpoint(folder / LAST)
    groups = [g for state in checkpoint["optimizer_states"] for g in state["param_groups"]]
    for name, values in shape.nudged.items():
        assert [group[name] for group in groups] == pytest.approx(values)


def test_a_plain_loop_is_a_run(make_named: MakeNamed, main: Main) -> None:
    project = make_named("plain")
    assert main(project.experiment) == 0
    result = project.result("train/0")
    assert (result["status"], result["unit"], result["steps"]) == ("complete", "step", 4)
    assert result["best"] == result["metrics"]["val/loss"] < 0.8


@pytest.mark.nightly
@pytest.mark.slow
def test_a_plain_loop_is_searched(
    make_named: MakeNamed, main: Main, caviar: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    """Interrupted where some of its trials have ended, and pruned in another search."""
    project = make_named("plain")
    journal = project.runs / "s/study.journal"

    def ctrl_c() -> None:
        awaited(lambda: journal.exists() and any(t.finished for t in trials(project.runs)))
        os.kill(os.getpid(), signal.SIGINT)

    search = [project.experiment, "search.study=s", *ONE_STAGE, *FEW]
    with meanwhile(ctrl_c):
        assert caviar("search", *search) == 130
    assert not all(t.finished for t in trials(project.runs))
    assert caviar("search", *search) == 0
    a_study_is_complete(project, "val/loss", capsys.readouterr().out)
    for trial, alone in trials_and_single_runs(project, main, [], capsys):
        assert {**trial, "seconds": None} == {**alone, "seconds": None}

    pruned = ["-m", project.experiment, "search.study=pruned", "search.pruner=asha"]
    assert main(*pruned, "search.num_trials=5", "hydra.launcher.num_workers=1") == 0
    found = trials(project.runs, study="pruned")
    assert {t.status for t in found} == {"complete", "pruned"}


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:Encountered `nan` values")  # torchmetrics', where it diverges
@EACH
def test_a_check_finds_that_all_works(
    make: Make, main: Main, shape: Shape, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make(shape)
    assert main(project.experiment, "check=true") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    found = {" ".join(row[: row.index("yes")]) for row in rows if "yes" in row}
    refused = [" ".join(row) for row in rows if "no" in row]
    assert {"follow the metric", "nudge it live", "resume exactly", "open the test set"} <= found
    # Each of a GAN's losses leaves the other network without a gradient.
    refused = [row for row in refused if not row.startswith("train many as one")]
    assert not refused or (shape.name == "gan" and "train on several devices" in refused[0])
