"""One stage: `train.py -m` inside this process."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from hydra.test_utils.launcher_common_tests import LauncherTestSuite

from caviar.space.sweep_file import SweepFile
from conftest import FAST, Main, trials

STAGE = ["-m", *FAST, "search.study=s"]
HERE = "hydra/launcher=basic"  # trials inside this process


def lines(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line]


@pytest.mark.slow
def test_a_stage_leaves_trials_folders_and_a_sweep_file(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*STAGE, "search.num_trials=2") == 0
    printed = capsys.readouterr().out
    found = trials(runs)
    assert [t.status for t in found] == ["complete", "complete"]
    for trial in found:
        folder = runs / "s/01_coarse" / str(trial.number)
        result = json.loads((folder / "result.json").read_text())
        assert result["best"] == trial.result.best == min(trial.curve.values())
        assert len(trial.curve) == 2
    assert "01_coarse: the best two" in printed
    assert "next: caviar refine search.study=s" in printed
    sweep = SweepFile.read(runs / "s/01_coarse.yaml")
    assert sweep.num_trials == 2
    assert set(sweep.overrides) == set(FAST)


@pytest.mark.slow
def test_running_again_runs_nothing_and_a_larger_number_only_the_new(
    main: Main, runs: Path
) -> None:
    assert main(*STAGE, "search.num_trials=2") == 0
    first = {p: p.stat().st_mtime_ns for p in (runs / "s").glob("01_coarse/*/result.json")}
    assert main(*STAGE, "search.num_trials=2") == 0
    assert main(*STAGE, "search.num_trials=3") == 0
    assert len(trials(runs)) == 3
    assert all(path.stat().st_mtime_ns == time for path, time in first.items())
    assert SweepFile.read(runs / "s/01_coarse.yaml").num_trials == 3


@pytest.mark.slow
def test_the_dry_run_prints_commands_that_reproduce_the_trials(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*STAGE, "search.num_trials=3", "search.dry_run=true") == 0
    commands = lines(capsys.readouterr().out)
    assert not runs.exists()
    assert len(commands) == 3
    assert main(*STAGE, "search.num_trials=2") == 0
    for number, trial in enumerate(trials(runs)):
        program, script, *overrides = shlex.split(commands[number])
        assert (program, script) == ("python", "train.py")
        assert any(o.startswith("one_minus.optimizer.momentum=") for o in overrides)
        assert main(*overrides) == 0
        again = json.loads((runs / "train" / str(number) / "result.json").read_text())
        assert again["best"] == trial.result.best


@pytest.mark.slow
def test_a_failing_trial_does_not_end_the_stage(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*STAGE, "search.num_trials=5", "model._target_=broken_models.Raises") == 0
    found = trials(runs)
    wide = [t.point["model.width"] > 64 for t in found]
    assert [t.status == "exception" for t in found] == wide
    assert 0 < sum(wide) < 5
    failed = found[wide.index(True)]
    assert failed.result.error == "ValueError: too wide for me"
    assert "Traceback" in (runs / f"s/01_coarse/{failed.number}/error.txt").read_text()
    assert "too wide for me" in capsys.readouterr().out


@pytest.mark.slow
def test_when_all_trials_fail_the_reason_is_said_once(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*STAGE, "search.num_trials=2", "model._target_=broken_models.Exits") == 1
    assert [t.status for t in trials(runs)] == ["exception", "exception"]
    printed = capsys.readouterr().err
    assert printed.count("SystemExit: 3") == 1
    assert "error.txt" in printed


@pytest.mark.slow
def test_a_diverged_trial_is_a_result(main: Main, runs: Path) -> None:
    wild = "space.optimizer.lr=${log:1e5,1e6}"
    assert main(*STAGE, "search.num_trials=2", wild) == 0
    assert [t.status for t in trials(runs)] == ["diverged", "diverged"]


@pytest.mark.slow
def test_other_settings_are_not_mixed_into_a_stage(
    main: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*STAGE, "search.num_trials=1") == 0
    for other in ("search.seed=1", "search.sampler=sobol", "space=tier_1", "model.dropout=0.1"):
        assert main(*STAGE, "search.num_trials=1", other) == 2
        assert "begun with another" in capsys.readouterr().err


def test_the_test_set_stays_closed(main: Main, runs: Path) -> None:
    assert main(*STAGE, "search.num_trials=1", HERE) == 0
    assert list(runs.rglob("result.json"))
    for file in runs.rglob("result.json"):
        assert not any(name.startswith("test") for name in json.loads(file.read_text())["metrics"])
    assert main(*STAGE, "test=true") == 2


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["space.optimizer.lr=${log:1,0.1}"], ["command line: optimizer.lr", "swap them"]),
        (["space.optimizer.momentum=${one_minus_log:0.9,1}"], ["inside [0, 1)"]),
        (["+space.model.widht=${integer:1,2}"], ["model.widht", "did you mean model.width?"]),
        (
            ["optimizer.weight_decay=0.5", "+space.optimizer.weight_decay=${integer:0,1}"],
            ["whole numbers"],
        ),
        (
            ["+space.data.split_seed=${integer:0,3}", "+space.model.dropout=${choice:}"],
            ["model.dropout", "the choice is empty"],
        ),
        (
            ["optimizer=adam"],
            ["conf/space/tier_2.yaml: optimizer.momentum", "'~space.optimizer.momentum'"],
        ),
        (["optimizer.lr=0.1,0.2"], ["it makes no grid", "choice:0.1,0.2"]),
        (["optimizer.lr=0.1"], ["fixes an axis", "~space.optimizer.lr"]),
        (["seed=1"], ["search.seed=1"]),
        (["trainer=ddp_cpu", "hydra/launcher=basic"], ["BasicLauncher", "hydra/launcher=pool"]),
        (["trainer.devices=-1", "hydra/launcher=basic"], ["hydra/launcher=pool"]),
        (["hydra.launcher.num_workers=0"], ["num_workers=0 should be 1 or more"]),
        (["hydra.launcher.num_workers=x"], ["num_workers"]),
        (["hydra.launcher.timeout=0.1"], ["timeout=0.1 should be seconds, 1 or more"]),
        (["hydra.launcher.gpus_per_trial=64"], ["this machine shows"]),
        (["search.pruner=magic"], ["one of none, asha, median, hyperband"]),
        (["++seed=1"], ["write search.seed=1"]),
        (["search.stage=03_finest"], ["caviar refine search.study=s search.stage=03_finest"]),
        (["search.action=search", "search.stage=01_coarse"], ["caviar search runs all"]),
        (["search.action=search", "search.num_trials=3"], ["search.stages.coarse.num_trials"]),
        (
            [
                "search.action=search",
                'search.stages.fine.overrides=["trainer.max_epochs=1"]',
                "search.stages.fine.num_trials=1",
            ],
            ["search.stages.fine.num_trials=1: finest would be refined from 1 trial, and"],
        ),
        (["search.action=search", "callbacks=none"], ["confirm must test one"]),
        (
            ["search.action=search", 'search.stages.finest.overrides=["model.widht=3"]'],
            ["search.stages", "no key model.widht", "did you mean model.width?"],
        ),
        (
            ['search.stages.coarse.overrides=["model.widht=3"]'],
            ["search.stages.coarse.overrides", "did you mean model.width?"],
        ),
        (["search.action=worker", "search.dry_run=true"], ["there is no study s"]),
        (["search.storage=postgresql://me:secret@h/d"], ["PGPASSWORD"]),
        (["search.storage='postgresql://h/d?password=secret'"], ["PGPASSWORD"]),
        (["search.storage=mysql://me:secret@h/d"], ["search.storage=mysql://me@h/d", "sqlite:///"]),
        (["ckpt_path=a.ckpt"], ["trained from its own start"]),
        (["fit=false"], ["trained from its own start"]),
        (["metric.mode=maximum"], ["metric.mode=maximum should be one of min, max"]),
        (["threads=0"], ["threads=0 should be a whole number from 1 on"]),
        (["scheduler=null"], ["scheduler=null: a group needs a choice", "scheduler=none"]),
        (["+space.seed=${integer:0,100}"], ["a seed is no hyperparameter"]),
        (["space.optimizer.momentum=${linear:0.9,1.2}"], ["leaves [0, 1)"]),
        (["+space.model.dropout=${linear:0,0.5,3}"], ["model.dropout: ${linear:…} takes two"]),
        (["search.action=search", "debug=fast"], ["fast_dev_run"]),
        (["search.num_trial=3"], ["did you mean search.num_trials?"]),
        (["search.num_trials=0"], ["search.num_trials=0 should be 1 or more"]),
        (["search.num_trials=x"], ["search.num_trials"]),
        (["search.study=a/b"], ["names a folder"]),
        (["search.storage=nosuch://h/d"], ["search.storage=nosuch://h/d"]),
        (["search.sweep=nowhere.yaml"], ["nowhere.yaml"]),
        (["~space.optimizer", "~space.model", "~space.data", "~space.scheduler"], ["empty"]),
    ],
)
def test_a_bad_search_is_refused_before_anything_runs(
    main: Main,
    runs: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    messages: list[str],
) -> None:
    few = [] if "search.action=search" in arguments else ["search.num_trials=1"]
    assert main("-m", "search.study=s", *few, *arguments) == 2
    printed = capsys.readouterr().err
    for message in messages:
        assert message in printed
    assert "secret" not in printed
    assert "Traceback" not in printed
    assert not list(runs.rglob("result.json"))


@pytest.mark.slow
@pytest.mark.parametrize("refine", ["surrogate", "top_k"])
def test_a_stage_too_small_to_be_refined_is_refused_with_what_to_write(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str], refine: str
) -> None:
    search = ["-m", "search.action=search", "search.study=s", f"search.refine={refine}"]
    search += ["search.stages.finest.num_trials=1", "search.dry_run=true"]
    assert main(*search, "search.stages.coarse.num_trials=4") == 2
    said = capsys.readouterr().err
    assert "search.stages.coarse.num_trials=4: fine would be refined from 4 trials, and" in said
    assert main(*search, said.rstrip().rpartition("write ")[2]) == 0
    # All stages so far count: two trials are enough for the second one.
    assert main(*search, "search.stages.fine.num_trials=2") == 0
    assert main(*search, "~search.stages.fine", "~search.stages.finest") == 0


def test_linear_over_decades_is_warned_of(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    wide = "space.optimizer.lr=${linear:1e-4,1}"
    assert main("-m", wide, "search.dry_run=true", "search.num_trials=1") == 0
    printed = capsys.readouterr()
    assert "warning: command line: optimizer.lr" in printed.err
    assert len(lines(printed.out)) == 1


@pytest.mark.parametrize("name", ["search.study=2024", "name=2024"])
def test_a_study_may_be_named_by_a_number(main: Main, runs: Path, name: str) -> None:
    assert main("-m", *FAST, "trainer.max_epochs=1", "search.num_trials=1", name, HERE) == 0
    assert (runs / "2024/01_coarse/0/result.json").exists()


@pytest.mark.slow
def test_overrides_in_another_order_are_the_same(main: Main) -> None:
    assert main(*STAGE, "search.num_trials=1", HERE) == 0
    assert main("-m", *reversed(FAST), "search.study=s", "search.num_trials=1", HERE) == 0


def test_the_sweeper_is_found_by_hydra() -> None:
    from hydra.core.plugins import Plugins
    from hydra.plugins.sweeper import Sweeper

    names = [plugin.__name__ for plugin in Plugins.instance().discover(Sweeper)]
    assert "CaviarSweeper" in names


class TestHydrasOwnSuite:
    """The one test of Hydra's launcher suite that a sweeper without grids can meet: the others
    expect `a=0,1` to mean two jobs, which this sweeper refuses."""

    pytestmark = pytest.mark.usefixtures("hydra_restore_singletons")

    def test_not_sweeping_hydra_overrides(self, hydra_sweep_runner: Any, tmpdir: Path) -> None:
        suite = LauncherTestSuite()
        overrides = ["hydra/sweeper=caviar"]
        suite.test_not_sweeping_hydra_overrides(hydra_sweep_runner, "basic", overrides, tmpdir)
