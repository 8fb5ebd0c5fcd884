"""W&B sweeps from end to end: the real client and agents, on a stand-in for the service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from caviar.base.result import MARKER, RESULT
from caviar.space.sweep_file import SweepFile
from conftest import ROOT, Start, done
from wandb_standin import Run, Service
from wandb_standin.server import KEY
from wandb_study import SHORT, agents, registered, told, trials

pytestmark = pytest.mark.slow


def test_coarse_refine_fine_confirm_by_two_agents(
    start: Start, service: Service, runs: Path
) -> None:
    coarse = registered(start, "search.num_trials=6", *SHORT)
    printed = done(agents(start, "-n", "2"))
    assert "2 agents for sweep me/p/" in printed
    assert "6 trials: 6 complete" in printed
    found = service.runs_of(coarse)
    assert [run.state for run in found] == ["finished"] * 6
    assert len(service.state.agents) == 2
    for run in found:
        # Natural values in the config, the search coordinate beside them.
        momentum = run.config["optimizer"]["value"]["momentum"]
        assert momentum == pytest.approx(1 - run.config["one_minus.optimizer.momentum"]["value"])
        assert run.config["model"]["value"]["width"] == run.config["model.width"]["value"]
        assert run.summary["val/loss_best"] == min(
            h["val/loss"] for h in run.history if "val/loss" in h
        )
        assert run.summary[MARKER] == told(run)["status"] == "complete"
        folder = runs / "s/01_coarse" / run.name
        assert json.loads((folder / "result.json").read_text())["best"] == told(run)["best"]
        assert (folder / "metrics.csv").exists()
    assert len({told(run)["seed"] for run in found}) == 6

    printed = done(start("caviar", "refine", "search.study=s", "search.num_trials=4"))
    assert "next: caviar sweep search.study=s" in printed
    fine = registered(start)
    done(agents(start, "-n", "2"))
    walls = SweepFile.read(runs / "s/02_fine.yaml").space
    assert walls.names == SweepFile.read(runs / "s/01_coarse.yaml").space.names
    assert len(service.runs_of(fine)) == 4
    assert "from 01_coarse: 6 trials of all stages" in (runs / "s/02_fine.yaml").read_text()

    few = ["search.confirm.default_seeds=2", "search.confirm.top=1"]
    printed = done(start("caviar", "confirm", "search.study=s", *few))
    assert "14 trainings in all" in printed
    assert (runs / "s/verdict.json").exists()
    assert (runs / "s/conf/experiment/s_winner.yaml").exists()
    printed = done(start("caviar", "status", "search.study=s"))
    assert f"W&B sweep {coarse}, finished" in printed
    assert "02_fine: 4 trials: 4 complete" in printed
    for file in [*runs.rglob("*"), *(service.folder / "config").rglob("*")]:
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file
    assert not any(KEY.encode() in content for content in service.files.values())


def test_the_commands_of_wandbs_own_documentation(
    start: Start, service: Service, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A committed file as it is, and an unmodified agent."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    file = "sweeps/digits/02_fine.yaml"
    printed = done(start("-m", "wandb", "sweep", "--project", "p", file))
    path = printed.rpartition("wandb agent ")[2].split()[0]
    done(start("-m", "wandb", "agent", "--count", "1", path))
    (run,) = service.runs_of(path)
    assert run.state == "finished"
    assert (runs / "wandb" / path.rpartition("/")[2] / run.name / "result.json").exists()
    # A study takes it up afterwards, if the file is the one that it was made from.
    adopt = ["search.study=s", "--id", path]
    other = start("caviar", "sweep", *adopt, "search.sweep=sweeps/digits/03_finest.yaml")
    assert "differ" in done(other, 2)
    done(start("caviar", "sweep", *adopt, f"search.sweep={file}"))
    (trial, *to_come) = trials(runs, "02_fine")
    assert (trial.status, len(to_come)) == ("complete", 13)
    assert trial.curve[trial.result.best_epoch or 0] == trial.result.best  # type: ignore[union-attr]
    assert "1 of 14 trials of 02_fine have finished" in done(
        start("caviar", "refine", "search.study=s"), 2
    )


def test_a_distributed_trial_under_an_agent(start: Start, service: Service, runs: Path) -> None:
    path = registered(start, "trainer=ddp_cpu", "search.num_trials=1", *SHORT)
    assert "1 trial: 1 complete" in done(agents(start, "-n", "1"))
    (run,) = service.runs_of(path)
    (trial,) = trials(runs)
    assert trial.result is not None
    assert trial.result.best == run.summary["val/loss_best"] == min(trial.curve.values())
    assert trial.point["model.width"] == run.config["model"]["value"]["width"]
    assert len(list((runs / "s/01_coarse").glob("*/result.json"))) == 1
    assert not (runs / "train").exists()


def test_offline_runs_are_uploaded_later(
    start: Start, service: Service, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ["-m", "search.study=s", "search.num_trials=2", "logger=wandb", *SHORT]
    offline = start("train.py", *stage, WANDB_MODE="offline", WANDB_BASE_URL="http://127.0.0.1:9")
    done(offline)
    assert service.state.runs == {}
    printed = done(start("caviar", "sync", "search.study=s", "--dry-run"))
    assert printed.count("would upload") == 2
    away = start("caviar", "sync", "search.study=s", WANDB_BASE_URL="http://127.0.0.1:9")
    assert "2 of 2 runs could not be uploaded" in done(away, 1)
    assert "uploaded 2 runs" in done(start("caviar", "sync", "search.study=s"))
    for run in service.state.runs.values():
        assert (run.state, run.group, run.summary[MARKER]) == ("finished", "s", "complete")
    assert "nothing to upload" in done(start("caviar", "sync"))


def test_nobody_is_logged_in(start: Start, tmp_path: Path) -> None:
    nobody = {"WANDB_API_KEY": "", "HOME": str(tmp_path), "WANDB_BASE_URL": "http://127.0.0.1:9"}
    printed = done(start("caviar", "sweep", "search.study=s", **nobody), 2)
    assert "log in with wandb login" in printed
    assert "Traceback" not in printed


def test_a_study_is_either_here_or_there(start: Start, service: Service, runs: Path) -> None:
    registered(start, "search.num_trials=2", *SHORT)
    printed = done(start("train.py", "-m", "search.study=s", "search.num_trials=2", *SHORT), 2)
    assert "the stages of study s are W&B sweeps" in printed
    done(start("train.py", "-m", "search.study=local", "search.num_trials=1", *SHORT))
    printed = done(start("caviar", "sweep", "search.study=local", *SHORT), 2)
    assert "study local has trials of its own in 01_coarse" in printed


def test_another_sweep_does_not_take_a_stages_place_unasked(
    start: Start, service: Service, runs: Path, tmp_path: Path
) -> None:
    first = registered(start, "search.num_trials=2", *SHORT)
    again = done(start("caviar", "sweep", "search.study=s"))
    assert f"01_coarse of study s is sweep {first} already" in again
    # The same file in another spelling, registered by W&B's own command.
    text = (runs / "s/01_coarse.yaml").read_text()
    assert "max: 1.0" in text
    other_spelling = text.replace("max: 1.0", "max: 1").replace("min: 16", "min: 16.0")
    (tmp_path / "same.yaml").write_text(other_spelling)
    printed = done(start("-m", "wandb", "sweep", "--project", "p", str(tmp_path / "same.yaml")))
    second = printed.rpartition("wandb agent ")[2].split()[0]
    adopt = ["search.study=s", f"search.sweep={runs / 's/01_coarse.yaml'}", "--id", second]
    assert "whose runs it would forget" in done(start("caviar", "sweep", *adopt), 2)
    done(start("caviar", "sweep", *adopt, "--force"))
    # A file that was edited is not lost unasked.
    (runs / "new").mkdir()
    edited = text.replace("study s", "study new").replace("name: s ", "name: new ")
    (runs / "new/01_coarse.yaml").write_text(edited.replace("run_cap: 2", "run_cap: 3"))
    fresh = start("caviar", "sweep", "search.study=new", "search.num_trials=2", *SHORT)
    assert "says other than what is asked" in done(fresh, 2)
    assert len(service.state.sweeps) == 2
    other = ["search.study=s", "search.stage=01_coarse", "search.num_trials=2", *SHORT]
    refused = start("caviar", "sweep", *other, "model.width=99", "~space.model.width", "--force")
    assert "sweep me/digits/" in done(refused)
    assert len(service.state.sweeps) == 3


def test_what_is_registered_is_not_registered_twice(
    start: Start, service: Service, runs: Path
) -> None:
    stage = ["search.stage=01_coarse", "search.num_trials=2", *SHORT]
    assert registered(start, *stage) == registered(start, *stage)
    printed = done(
        start("caviar", "sweep", "search.study=s", *stage, "model.width=99", "~space.model"), 2
    )
    assert "with another content" in printed
    assert "--force" in printed
    assert len(service.state.sweeps) == 1


def test_a_slip_in_a_sweep_file_registers_nothing(
    start: Start, service: Service, tmp_path: Path
) -> None:
    file = tmp_path / "slip.yaml"
    text = (ROOT / "sweeps/digits/01_coarse.yaml").read_text()
    for slip, said in (
        (("optimizer.lr:", "optimizer.lrr:"), "optimizer.lrr"),
        (("log_uniform_values", "log_uniform_vals"), "log_uniform_vals"),
        (("run_cap: 30", "run_cap: thirty"), "run_cap"),
        (("method: random", "method: randm"), "randm"),
    ):
        file.write_text(text.replace(*slip))
        printed = done(start("caviar", "sweep", "search.study=s", f"search.sweep={file}"), 2)
        assert said in printed
        assert str(file) in printed
    assert service.state.sweeps == {}


def test_five_thousand_runs_are_read_in_few_requests(
    start: Start, service: Service, runs: Path
) -> None:
    path = registered(start, "search.num_trials=5000", *SHORT)
    sweep = service.sweep(path)
    names = sweep.document["parameters"]
    point = {name: {"value": parameter.get("min", 32)} for name, parameter in names.items()}
    result = {"status": "complete", "best": 0.5, "best_epoch": 1, "curve": [[0, 0.7], [1, 0.5]]}
    for number in range(5000):
        run = Run(f"run{number:05}", "me", "p", 1e9 + number, sweep.name, "finished", dict(point))
        run.summary = {MARKER: "complete", RESULT: json.dumps(result), "val/loss_best": 0.5}
        service.state.runs[run.name] = run
        sweep.runs.append(run)
    first, second, third, fourth, fifth, sixth = sweep.runs[:6]
    first.summary = {"val/loss_best": 0.1}  # finished, without a word of its own
    second.summary = {MARKER: "diverged", RESULT: '{"status": "diverged"}', "val/loss": "NaN"}
    third.summary = {MARKER: "complete", RESULT: '{"status": "complete"}'}
    fourth.summary = {MARKER: "complete", RESULT: '{"status": "complete"}', "val/loss_best": "NaN"}
    fifth.config = {}
    sixth.state, sixth.summary = "crashed", {}
    service.operations.clear()
    printed = done(start("caviar", "status", "search.study=s"))
    assert "5000 trials: 4994 complete, 2 diverged, 3 exception, 1 killed" in printed
    assert (
        "trial 0: exception: W&B calls it finished, but it lacks the completion marker" in printed
    )
    assert "trial 2: exception: complete, but val/loss_best is missing" in printed
    assert "trial 4: exception: its config lacks optimizer.lr" in printed
    assert "trial 5: killed: W&B calls it crashed" in printed
    assert len(service.operations) <= 15, service.operations
