"""W&B sweeps from end to end: the real client and agents, on a stand-in for the service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from caviar.base.result import MARKER, RESULT
from caviar.ledger import Ledger
from caviar.space.sweep_file import SweepFile
from conftest import ROOT, Main, Start, done
from wandb_standin import Service
from wandb_standin.server import KEY
from wandb_study import SHORT, SWEEP, agents, called, registered, told, trained, trials

pytestmark = pytest.mark.slow


@pytest.mark.nightly
def test_coarse_refine_fine_confirm_by_two_agents(
    start: Start, service: Service, runs: Path
) -> None:
    coarse = registered("search.num_trials=6", *SHORT)
    trained(service, coarse, [0.9, 0.7, 0.5, 0.8])  # refine wants five; two more are trained here
    printed = done(agents(start, "-n", "2"))
    assert "2 agents for sweep me/p/" in printed
    assert "6 trials: 6 complete" in printed
    finished = service.runs_of(coarse)[-2:]
    assert [run.state for run in finished] == ["finished"] * 2
    assert len(service.state.agents) == 2
    for run in finished:
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
    assert len({told(run)["seed"] for run in finished}) == 2

    printed = called("refine", "search.study=s", "search.num_trials=1")
    assert "next: caviar sweep search.study=s" in printed
    fine = registered()
    done(agents(start, "-n", "1"))
    walls = SweepFile.read(runs / "s/02_fine.yaml").space
    assert walls.names == SweepFile.read(runs / "s/01_coarse.yaml").space.names
    assert [run.state for run in service.runs_of(fine)] == ["finished"]
    assert "from 01_coarse: 6 trials of all stages" in (runs / "s/02_fine.yaml").read_text()

    few = ["search.confirm.budget=4", "search.confirm.top=1"]
    printed = done(start("caviar", "confirm", "search.study=s", *few))
    assert "11 trainings in all" in printed
    assert (runs / "s/verdict.json").exists()
    assert (runs / "s/conf/experiment/s_winner.yaml").exists()
    printed = called("status", "search.study=s")
    assert f"W&B sweep {coarse}, finished" in printed
    assert "02_fine: 1 trial: 1 complete" in printed
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
    other = "search.sweep=sweeps/digits/03_finest.yaml"
    assert "differ" in called("sweep", *adopt, other, code=2)
    called("sweep", *adopt, f"search.sweep={file}")
    (trial, *to_come) = trials(runs, "02_fine")
    assert (trial.status, len(to_come)) == ("complete", 13)
    assert trial.curve[trial.result.best_epoch or 0] == trial.result.best  # type: ignore[union-attr]
    refused = called("refine", "search.study=s", code=2)
    assert "1 of 14 trials of 02_fine have finished" in refused


@pytest.mark.nightly
def test_a_distributed_trial_under_an_agent(start: Start, service: Service, runs: Path) -> None:
    path = registered("trainer=ddp_cpu", "search.num_trials=1", *SHORT)
    assert "1 trial: 1 complete" in done(agents(start, "-n", "1"))
    (run,) = service.runs_of(path)
    (trial,) = trials(runs)
    assert trial.result is not None
    assert trial.result.best == run.summary["val/loss_best"] == min(trial.curve.values())
    assert trial.point["model.width"] == run.config["model"]["value"]["width"]
    assert len(list((runs / "s/01_coarse").glob("*/result.json"))) == 1
    assert not (runs / "train").exists()


@pytest.mark.nightly
def test_offline_runs_are_uploaded_later(
    main: Main, service: Service, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as nowhere:
        nowhere.setenv("WANDB_MODE", "offline")
        nowhere.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        nowhere.setenv("WANDB_X_GRAPHQL_RETRY_MAX", "1")
        stage = ["-m", "search.study=s", "search.num_trials=2", "logger=wandb", *SHORT]
        assert main(*stage) == 0
        assert service.state.runs == {}
        printed = called("sync", "search.study=s", "--dry-run")
        assert printed.count("would upload") == 2
        nowhere.delenv("WANDB_MODE")
        printed = called("sync", "search.study=s", code=1)
        assert "2 of 2 runs could not be uploaded" in printed
    assert "uploaded 2 runs" in called("sync", "search.study=s")
    for run in service.state.runs.values():
        assert (run.state, run.group, run.summary[MARKER]) == ("finished", "s", "complete")
    assert "nothing to upload" in called("sync")


@pytest.mark.usefixtures("runs")
def test_nobody_is_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert "log in with wandb login" in called("sweep", "search.study=s", code=2)


def test_a_study_is_either_here_or_there(
    service: Service, main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registered("search.num_trials=2", *SHORT)
    capsys.readouterr()
    assert main("-m", "search.study=s", "search.num_trials=2", *SHORT) == 2
    assert "the stages of study s are W&B sweeps" in capsys.readouterr().err
    local = Ledger.open(str(runs / "local/study.journal"), "local")
    local.begin("01_coarse", {"sweep": SWEEP.text()}, "min")
    printed = called("sweep", "search.study=local", *SHORT, code=2)
    assert "study local has trials of its own in 01_coarse" in printed


def test_another_sweep_does_not_take_a_stages_place_unasked(service: Service, runs: Path) -> None:
    first = registered("search.num_trials=2", *SHORT)
    assert f"01_coarse of study s is sweep {first} already" in called("sweep", "search.study=s")
    # The same file in another spelling, registered by W&B's own command.
    text = (runs / "s/01_coarse.yaml").read_text()
    assert "max: 1.0" in text
    second = service.register(text.replace("max: 1.0", "max: 1").replace("min: 16", "min: 16.0"))
    adopt = ["search.study=s", f"search.sweep={runs / 's/01_coarse.yaml'}", "--id", second]
    assert "whose runs it would forget" in called("sweep", *adopt, code=2)
    called("sweep", *adopt, "--force")
    # A file that was edited is not lost unasked.
    (runs / "new").mkdir()
    edited = text.replace("study s", "study new").replace("name: s ", "name: new ")
    (runs / "new/01_coarse.yaml").write_text(edited.replace("run_cap: 2", "run_cap: 3"))
    fresh = ["search.study=new", "search.num_trials=2", *SHORT]
    assert "says other than what is asked" in called("sweep", *fresh, code=2)
    assert len(service.state.sweeps) == 2
    # What is registered is not registered twice; and another content is, if that is meant.
    stage = ["search.study=s", "search.stage=01_coarse", "search.num_trials=2", *SHORT]
    assert f"sweep {second} already, with this content" in called("sweep", *stage)
    other = [*stage, "model.width=99", "~space.model.width"]
    printed = called("sweep", *other, code=2)
    assert "with another content" in printed
    assert "-parameters.model.width.max: 128" in printed
    assert "--force" in printed
    assert len(service.state.sweeps) == 2
    assert "sweep me/digits/" in called("sweep", *other, "--force")
    assert len(service.state.sweeps) == 3


def test_a_slip_in_a_sweep_file_registers_nothing(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "slip.yaml"
    text = (ROOT / "sweeps/digits/01_coarse.yaml").read_text()
    for slip, shown in (
        (("optimizer.lr:", "optimizer.lrr:"), "optimizer.lrr"),
        (("log_uniform_values", "log_uniform_vals"), "log_uniform_vals"),
        (("run_cap: 30", "run_cap: thirty"), "run_cap"),
        (("method: random", "method: randm"), "randm"),
    ):
        file.write_text(text.replace(*slip))
        printed = called("sweep", "search.study=s", f"search.sweep={file}", code=2)
        assert shown in printed
        assert str(file) in printed
    assert service.state.sweeps == {}


def test_five_thousand_runs_are_read_in_few_requests(service: Service, runs: Path) -> None:
    path = registered("search.num_trials=5000", *SHORT)
    trained(service, path, [0.5] * 5000)
    first, second, third, fourth, fifth, sixth = service.sweep(path).runs[:6]
    first.summary = {"val/loss_best": 0.1}  # finished, without a word of its own
    second.summary = {MARKER: "diverged", RESULT: '{"status": "diverged"}', "val/loss": "NaN"}
    third.summary = {MARKER: "complete", RESULT: '{"status": "complete"}'}
    fourth.summary = {MARKER: "complete", RESULT: '{"status": "complete"}', "val/loss_best": "NaN"}
    fifth.config = {}
    sixth.state, sixth.summary = "crashed", {}
    service.operations.clear()
    printed = called("status", "search.study=s")
    assert "5000 trials: 4994 complete, 2 diverged, 3 exception, 1 killed" in printed
    assert (
        "trial 0: exception: W&B calls it finished, but it lacks the completion marker" in printed
    )
    assert "trial 2: exception: complete, but val/loss_best is missing" in printed
    assert "trial 4: exception: its config lacks optimizer.lr" in printed
    assert "trial 5: killed: W&B calls it crashed" in printed
    assert len(service.operations) <= 15, service.operations
