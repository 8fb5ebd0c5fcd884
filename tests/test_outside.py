"""Anybody's Hydra project is tuned with ten lines of YAML: real processes, begun elsewhere."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from caviar.base.result import MARKER, RESULT
from caviar.ledger import Ledger
from conftest import awaited
from outside import CAVIAR, Outside
from wandb_standin import Service
from wandb_study import skip_without_agents

pytestmark = pytest.mark.slow

SPACE = """\
model:
  optimizer:
    lr: ${log:1e-2,1}
    momentum: ${one_minus_log:0.5,0.99}
  net:
    width: ${integer:16,64}"""
TWO = ["hydra.launcher.num_workers=2"]
OPEN = "search.confirm.test=always"  # so few seeds show nothing
SMALL = ["search.budget=14", "search.confirm.budget=6", "search.confirm.top=1", OPEN, *TWO]
LOGGING = ("lightning.pytorch", "pytorch_lightning")


def test_ten_lines_of_yaml(tmp_path: Path) -> None:
    """A whole search: rungs, refine, confirm, the test set, a report; and every verb finds it."""
    project = Outside(tmp_path)
    before = {p: p.read_text() for p in project.folder.rglob("*") if p.is_file()}
    project.tune(SPACE, "val/acc_best", "max")
    changed = [p for p, text in before.items() if p.read_text() != text]
    assert changed == [project.folder / "configs/train.yaml"]
    new = (project.folder / "configs/train.yaml").read_text().splitlines()
    added = len(new) - len(before[changed[0]].splitlines())
    assert added == 4
    printed = project.caviar("search", "search.study=s", *SMALL, at="src/models")
    assert "project: src/train.py, with configs/train.yaml" in printed
    assert "go on behind epoch 2" in printed
    assert "test/acc" in printed
    assert "report.html" in printed
    first, test = project.result("s/01_coarse/0"), project.result("s/test/0")
    assert first["metrics"]["val/acc_best"] == first["best"]
    assert set(test["metrics"]) == {"test/loss", "test/acc"}
    assert test["best"] == test["metrics"]["test/acc"]
    # What a trial of the search has logged says nothing of the test set.
    assert not any("test" in p.read_text() for p in project.runs.glob("s/0*/*/csv/*/metrics.csv"))
    for verb in ("status", "importance", "report", "retry"):
        project.caviar(verb, "search.study=s", at="configs")
    assert "no trial of study s is left" in project.caviar("worker", "search.study=s")
    winner = project.run("experiment=s_winner", "trainer.max_epochs=1")
    assert "error" not in winner.lower()
    assert (project.folder / "logs/train/runs").is_dir()  # its own place for a single run


@pytest.mark.nightly
def test_a_printed_line_trains_a_trial_again(tmp_path: Path) -> None:
    project = Outside(tmp_path)
    project.tune(SPACE, "val/acc_best", "max")
    stage = ["-m", "search.study=s", "search.num_trials=2", "trainer.max_epochs=2", *TWO]
    lines = project.run(*stage, "search.dry_run=true").splitlines()
    assert len(lines) == 2
    project.run(*stage)
    words = shlex.split(lines[1])
    assert words[0] == "python"
    folder = tmp_path / "again"
    project.call(sys.executable, *words[1:], "optimized_metric=val/acc", f"hydra.run.dir={folder}")
    rows = (folder / "csv/version_0/metrics.csv").read_text()
    trial = (project.runs / "s/01_coarse/1/csv/version_0/metrics.csv").read_text()
    assert rows == trial


@pytest.mark.nightly
def test_killed_and_begun_again(tmp_path: Path) -> None:
    """The trials that ran go on from their own checkpoints, to a curve of as many points."""
    project = Outside(tmp_path)
    project.tune(SPACE)
    stage = ["-m", "search.num_trials=2", *TWO]
    long = ["trainer.max_epochs=40"]
    project.run(*stage, *long, "search.study=whole")
    command = [sys.executable, str(project.folder / "src/train.py"), *stage, *long]
    running = subprocess.Popen(
        [*command, "search.study=s"], cwd=project.elsewhere, env=project.environment
    )
    ledger = project.runs / "s/study.journal"

    def begun() -> bool:
        if not ledger.exists():
            return False
        trials = Ledger.open(str(ledger), "s").trials("01_coarse")
        return len(trials) == 2 and all(len(trial.curve) >= 3 for trial in trials)

    awaited(begun)
    running.send_signal(signal.SIGINT)
    assert running.wait(60) != 0
    waiting = Ledger.open(str(ledger), "s").trials("01_coarse")
    assert any(trial.waiting for trial in waiting)
    project.run(*stage, *long, "search.study=s")
    for number in range(2):
        curves = [
            Ledger.open(str(project.runs / name / "study.journal"), name)
            .trials("01_coarse")[number]
            .curve
            for name in ("s", "whole")
        ]
        assert curves[0].keys() == curves[1].keys()
        begun_again = (project.runs / f"s/01_coarse/{number}/output.txt").read_text()
        if waiting[number].waiting:
            assert "Restor" in begun_again


SHAPES = {  # by name, with what each of them names Lightning
    "gan": "pytorch_lightning",
    "plain": "lightning.pytorch",
    "template": "lightning.pytorch",
    "regression": "pytorch_lightning",
    "stream": "lightning.pytorch",
    "bert": "lightning.pytorch",
}


def shaped(folder: Path, shape: str) -> Outside:
    """What a project of ours trains, as it would be outside, with the lines that tune it."""
    if shape == "bert":
        pytest.importorskip("transformers")
    project = Outside(folder, shape, SHAPES[shape])
    project.tune()
    if shape == "template":  # whose checkpoints hold partials of the config
        project.edit(
            "configs/train.yaml",
            "metric: ${metric}\n",
            "metric: ${metric}\n  trust_checkpoints: true\n",
        )
    if shape == "plain":  # whose function reads them
        seeded = "seed: null\noptimizer: {lr: 0.1, momentum: 0.5}\n"
        project.edit("configs/train.yaml", "seed: null\n", seeded)
    return project


@pytest.mark.nightly
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_tuned_from_outside(tmp_path: Path, shape: str) -> None:
    project = shaped(tmp_path, shape)
    stages = ["search.stages.coarse.num_trials=5", "search.stages.fine.num_trials=1"]
    more = ["~search.stages.finest", "search.confirm.budget=4", "search.confirm.top=1", OPEN]
    printed = project.caviar("search", "search.study=s", *stages, *more, *TWO)
    assert "5 trials: " in printed
    assert "1 trial: 1 complete" in printed
    ledger = Ledger.open(str(project.runs / "s/study.journal"), "s")
    for trial in [*ledger.trials("01_coarse"), *ledger.trials("confirm")]:
        assert trial.result is not None
        assert trial.result.best is not None
        assert trial.curve
    assert (project.runs / "s/verdict.json").exists()
    assert len(ledger.trials("test")) in ((0,) if shape == "plain" else (2, 4))
    assert "confirmed on validation alone" not in printed or shape == "plain"


@pytest.mark.nightly
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_repeated_killed_and_swept(
    tmp_path: Path, shape: str, service: Service
) -> None:
    skip_without_agents()
    project = shaped(tmp_path, shape)
    stage = ["-m", "search.num_trials=3", "hydra.launcher.num_workers=1"]
    lines = project.run(*stage, "search.dry_run=true").splitlines()
    project.run(*stage, "search.study=whole")
    command = [sys.executable, str(project.folder / "src/train.py"), *stage, *project.words]
    running = subprocess.Popen(
        [*command, "search.study=s"], cwd=project.elsewhere, env=project.environment
    )
    ledger = project.runs / "s/study.journal"

    def finished() -> int:
        trials = Ledger.open(str(ledger), "s").trials("01_coarse") if ledger.exists() else []
        return sum(trial.finished for trial in trials)

    awaited(finished)
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    ended = finished()
    assert ended < 3
    assert f"{3 - ended} trial" in project.run(*stage, "search.study=s")
    for number in range(3):
        one, other = (project.result(f"{name}/01_coarse/{number}") for name in ("s", "whole"))
        for own in ("seconds", "checkpoint"):  # what differs by the study
            del one[own], other[own]
        assert one == other
    folder = tmp_path / "again"
    words = shlex.split(lines[1])
    project.environment["OMP_NUM_THREADS"] = "1"  # as a trial has; more round otherwise
    project.call(sys.executable, *words[1:], f"hydra.run.dir={folder}")
    for rows in folder.rglob("metrics.csv"):
        trial = project.runs / "whole/01_coarse/1" / rows.relative_to(folder)
        assert rows.read_text() == trial.read_text()
    project.environment |= service.environment
    swept = ["search.study=w", "--project", "p", "search.num_trials=2"]
    path = project.caviar("sweep", *swept).rpartition("wandb agent ")[2].split()[0]
    project.caviar("agent", "search.study=w", "-n", "1")
    assert [run.state for run in service.runs_of(path)] == ["finished"] * 2
    assert "2 trials: 2 complete" in project.caviar("status", "search.study=w")


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("return 'good'", "the task returned str 'good'; return the value of val/acc"),
        pytest.param(
            "pass",
            "the task returned nothing and made no Trainer: return the value of val/acc",
            marks=pytest.mark.nightly,
        ),
        pytest.param(
            "return train(cfg) and None",
            "the task returned nothing and its Trainer logged only",
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_a_task_without_a_value_is_told(tmp_path: Path, task: str, words: str) -> None:
    project = Outside(tmp_path)
    project.tune(SPACE, "val/accuracy" if "train(" in task else "val/acc", "max")
    project.edit(
        "src/train.py",
        "    metrics = train(cfg)\n",
        f"    {task}\n    return None\n    metrics = {{}}\n",
    )
    printed = project.run("-m", "search.num_trials=3", "trainer.max_epochs=1", *TWO, code=1)
    assert words in printed
    assert "Traceback" not in printed


def test_what_keeps_a_project_from_being_tuned_is_one_sentence(tmp_path: Path) -> None:
    project = Outside(tmp_path)
    script, config = "src/train.py", "configs/train.yaml"
    printed = project.caviar("search", code=2)
    assert "several scripts with a @hydra.main: src/eval.py, src/train.py" in printed
    (project.folder / "pyproject.toml").write_text('[tool.caviar]\nscript = "src/train.py"\n')
    printed = project.caviar("search", code=2)
    assert "the config has no caviar node: write `- caviar: default`" in printed
    (project.folder / "pyproject.toml").unlink()
    project.tune(SPACE)
    project.edit(config, "caviar:\n  metric: ${metric}\n", "")
    assert "caviar.metric is not declared" in project.caviar("search", code=2)
    assert "caviar.metric is not declared" in project.run("-m", code=2)
    with (project.folder / config).open("a") as file:
        file.write("caviar:\n  metric: ${metric}\n  keys: {seed: nowhere}\n")
    assert "caviar.keys.seed=nowhere: the config has no such key" in project.run("-m", code=2)
    project.edit(config, "keys: {seed: nowhere}", "keys: {}")
    printed = project.caviar("search", "hydra/sweeper=basic", code=2)
    assert "hydra/sweeper is hydra._internal" in printed
    assert "another plugin's" in printed
    project.edit(config, "  - caviar: default\n", "")
    project.edit(config, "  - hydra: default\n", "  - caviar: default\n  - hydra: default\n")
    assert "put `- caviar: default` behind `- hydra: …`" in project.run("-m", code=2)
    (project.folder / "src/eval.py").unlink()
    project.edit(script, "@hydra.main(version", "@other.main(version")
    project.edit(script, "import hydra\n", "import hydra\nimport hydra as other\n")
    assert "project: src/train.py" in project.caviar("search", code=2)  # by any name of hydra's
    project.edit(script, "@other.main(", "@(lambda **_: lambda f: f)(")
    assert "has no @hydra.main function" in project.caviar("search", code=2)


@pytest.mark.nightly
def test_without_a_seed_of_its_own(tmp_path: Path) -> None:
    """Trials are told apart all the same, and differ by chance as they should."""
    project = Outside(tmp_path)
    project.tune("model: {net: {width: '${choice:16}'}}")
    project.edit("configs/train.yaml", "seed: null\n", "")
    project.edit("configs/train.yaml", "test: True\n", "")
    stage = ["-m", "search.study=s", "search.num_trials=2", "trainer.max_epochs=1", *TWO]
    assert "trial.seed=" in project.run(*stage, "search.dry_run=true")
    project.run(*stage)
    one, two = (project.result(f"s/01_coarse/{number}") for number in range(2))
    assert one["seed"] != two["seed"]
    assert one["best"] != two["best"]


@pytest.mark.nightly
def test_a_resolver_of_its_own_by_our_name(tmp_path: Path) -> None:
    project = Outside(tmp_path)
    project.tune(SPACE)
    own = "from omegaconf import DictConfig, OmegaConf\nimport math\n"
    own += "OmegaConf.register_new_resolver('log', math.log)\n"
    project.edit("src/train.py", "from omegaconf import DictConfig\n", own)
    project.run("trainer.max_epochs=1", "train=false", "test=false")
    assert "registers a resolver log of its own" in project.run("-m", code=2)


def test_the_command_outside_of_any_project(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CAVIAR")}
    ended = subprocess.run(
        [CAVIAR, "status"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert "no project here" in ended.stderr


@pytest.mark.nightly
def test_a_wandb_sweep(tmp_path: Path, service: Service) -> None:
    """Registered, run by an agent, refined from, and its test set stays shut."""
    skip_without_agents()
    project = Outside(tmp_path)
    project.environment |= service.environment
    project.tune(SPACE, "val/acc_best", "max")
    short = ["trainer.max_epochs=1", "search.num_trials=2"]
    printed = project.caviar("sweep", "search.study=s", "--project", "p", *short)
    path = printed.rpartition("wandb agent ")[2].split()[0]
    text = (project.runs / "s/01_coarse.yaml").read_text()
    assert "program: src/train.py" in text
    assert "  - caviar.run\n" in text
    project.caviar("agent", "search.study=s", "-n", "1")
    for run in service.runs_of(path):
        assert run.state == "finished"
        told = json.loads(run.summary[RESULT])
        assert told["status"] == run.summary[MARKER] == "complete"
        assert told["best"] == told["metrics"]["val/acc_best"]
        assert not any(name.startswith("test") for name in told["metrics"])
    assert len(service.runs_of(path)) == 2
    assert "2 trials: 2 complete" in project.caviar("status", "search.study=s")


def test_a_setting_that_our_defaults_overwrite_is_told(tmp_path: Path) -> None:
    """The root config of many projects has `_self_` first."""
    project = Outside(tmp_path)
    project.tune(SPACE)
    with (project.folder / "configs/train.yaml").open("a") as file:
        file.write("search: {budget: 30}\n")
    printed = project.run("-m", code=2)
    assert "configs/train.yaml: search.budget: 30 counts for nothing" in printed
    project.edit("configs/train.yaml", "  - _self_\n", "")
    project.edit("configs/train.yaml", "  - caviar: default\n", "  - caviar: default\n  - _self_\n")
    printed = project.run("-m", "search.num_trials=2", "search.dry_run=true")
    assert len(printed.splitlines()) == 2


def test_slips_are_told_outside_of_the_template_too(tmp_path: Path) -> None:
    project = Outside(tmp_path)
    project.tune(SPACE)
    single = project.run("search.study=s", code=2)
    assert "without -m one model is trained" in single
    assert f"for one stage: python {project.folder}/src/train.py -m search.study=s" in single
    dry = ["search.num_trials=1", "search.dry_run=true"]
    printed = project.run("-m", "space.model.optimizer.lr=${lg:1e-3,1}", *dry, code=2)
    assert "did you mean ${log:…}?" in printed
    assert "Traceback" not in single + printed
    # Their own code may read any key.
    assert "src/train.py +lr=0.1" in project.run("-m", "+lr=0.1", *dry)
    printed = project.caviar("search", "--lr", "0.1", code=2)
    assert "write model.optimizer.lr=0.1" in printed


@pytest.mark.nightly
def test_a_plain_grid(tmp_path: Path) -> None:
    project = Outside(tmp_path)
    project.tune(SPACE, "val/acc_best", "max")
    grid = ["-m", "hydra/sweeper=grid", "search.study=g", "trainer.max_epochs=1", *TWO]
    printed = project.run(*grid, "seed=1,2", "model.optimizer.lr=0.1")
    assert "±" in printed
    assert project.result("g/jobs/1")["status"] == "complete"


@pytest.mark.nightly
def test_a_trial_on_two_devices(tmp_path: Path) -> None:
    """It is a run of the project's script of its own, whose other rank knows nothing of us."""
    project = Outside(tmp_path)
    project.tune(SPACE, "val/acc_best", "max")
    two = ["trainer.devices=2", "+trainer.strategy=ddp", "trainer.max_epochs=1"]
    printed = project.run("-m", "search.study=s", "search.num_trials=2", *two)
    assert "2 trials: 2 complete" in printed
    assert project.result("s/01_coarse/0")["best"] is not None
