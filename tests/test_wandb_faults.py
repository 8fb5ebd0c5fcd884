"""What becomes of a sweep when its runs, its agents or the service fail, or somebody edits it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import yaml

from caviar.base.result import MARKER
from conftest import Start, awaited, done
from wandb_standin import Service
from wandb_study import SHORT, agents, below, child_of, named, registered, told, trials

pytestmark = pytest.mark.slow


def test_whatever_becomes_of_a_run_is_counted_and_shown(
    start: Start, service: Service, runs: Path
) -> None:
    """One that diverges, one that raises, one that SIGTERM ends, one that SIGKILL ends."""
    slow = ["model._target_=slow_models.ByWidth", "trainer.max_epochs=12", "search.num_trials=6"]
    path = registered(
        start,
        *slow,
        "~space.data",
        "~space.scheduler",
        "~space.model",
        "+space.model.width=${choice:32,64,96,99,100}",
    )
    plain = {"optimizer.lr": 0.01, "model.width": 32}
    service.sweep(path).scripted = [
        plain | {"optimizer.lr": 1.0e30, "model.width": 32},
        plain | {"model.width": 96},
        plain | {"model.width": 100},
        plain | {"model.width": 100},
        plain | {"model.width": 99},
        plain,
    ]
    process = agents(start, "-n", "1")
    for index, number in ((2, signal.SIGTERM), (3, signal.SIGKILL)):
        awaited(
            lambda i=index: (
                len(service.sweep(path).runs) > i and bool(service.sweep(path).runs[i].history)
            )
        )
        os.kill(child_of(process, "train.py", "model.width=100"), number)
        awaited(lambda i=index: len(service.sweep(path).runs) > i + 1)
    printed = done(process)
    diverged, raised, terminated, killed, unbuilt, complete = service.runs_of(path)
    assert (diverged.state, diverged.exit_code, diverged.summary[MARKER]) == (
        "finished",
        0,
        "diverged",
    )
    assert (raised.state, raised.exit_code, told(raised)["error"]) == (
        "failed",
        1,
        "ValueError: too wide for me",
    )
    assert (terminated.state, told(terminated)["error"]) == ("failed", "killed by SIGTERM")
    assert MARKER not in killed.summary
    assert unbuilt.state == "failed"
    assert "99 cannot be built" in str(told(unbuilt)["error"])
    assert (complete.state, complete.summary[MARKER]) == ("finished", "complete")
    assert [t.status for t in trials(runs)] == [
        "diverged",
        "exception",
        "killed",
        "killed",
        "exception",
        "complete",
    ]
    printed = done(start("caviar", "status", "search.study=s"))
    assert "1 complete, 1 diverged, 2 exception, 2 killed" in printed
    assert "trial 1: exception: ValueError: too wide for me" in printed
    assert "trial 2: killed: killed by SIGTERM" in printed
    assert "trial 3: killed: W&B calls it crashed" in printed
    assert "at least 5" in done(start("caviar", "refine", "search.study=s"), 2)


def test_an_agent_that_is_killed_is_started_again(
    start: Start, service: Service, runs: Path
) -> None:
    """And its run is left to end by itself."""
    path = registered(start, "model._target_=slow_models.Slow", "search.num_trials=2", *SHORT)
    process = agents(start, "-n", "1")
    awaited(lambda: any(run.history for run in service.sweep(path).runs))
    os.kill(child_of(process, "wandb", "agent"), signal.SIGKILL)
    assert "2 trials: 2 complete" in done(process)
    assert len(service.state.agents) == 2


def test_ctrl_c_ends_agents_and_runs(start: Start, service: Service, runs: Path) -> None:
    path = registered(
        start, "model._target_=slow_models.Slow", "trainer.max_epochs=500", "~space.data"
    )
    process = agents(start, "-n", "2")
    awaited(lambda: sum(bool(run.history) for run in service.sweep(path).runs) == 2)
    started = below(process.popen.pid)
    os.kill(process.popen.pid, signal.SIGINT)
    done(process, 130, timeout=30)
    awaited(lambda: not any(named(p, "train.py") or named(p, "wandb") for p in started), 20)
    assert [(run.state, told(run)["error"]) for run in service.runs_of(path)] == [
        ("failed", "killed by SIGTERM")
    ] * 2
    for run in service.runs_of(path):
        assert (runs / "s/01_coarse" / run.name / "checkpoints/last.ckpt").exists()


def test_a_sweep_that_is_cancelled(start: Start, service: Service, runs: Path) -> None:
    path = registered(
        start, "model._target_=slow_models.Slow", "trainer.max_epochs=500", "~space.data"
    )
    process = agents(start, "-n", "1")
    awaited(lambda: any(run.history for run in service.sweep(path).runs))
    done(start("-m", "wandb", "sweep", "--cancel", path))
    printed = done(process, 0)
    assert "1 trial: 1 killed" in printed
    printed = done(agents(start))
    assert f"sweep {path} is canceled: it starts no more runs" in printed
    assert f"{path}, canceled" in done(start("caviar", "status", "search.study=s"))


def test_a_service_that_does_not_answer_for_25_seconds(
    start: Start, service: Service, runs: Path
) -> None:
    path = registered(start, "search.num_trials=2", *SHORT)
    process = agents(start, "-n", "1")
    awaited(lambda: any(run.history for run in service.sweep(path).runs))
    service.freeze()
    time.sleep(25)  # that long nothing is answered
    service.thaw()
    assert "2 trials: 2 complete" in done(process)


def edited(service: Service, path: str, **changes: object) -> None:
    """Change the sweep on the server, as somebody with access to the project can."""
    sweep = service.sweep(path)
    document = sweep.document
    for key, value in changes.items():
        document[key] = {**document[key], **value} if isinstance(value, dict) else value
    sweep.config = yaml.safe_dump(document)


def test_a_sweep_that_was_changed_on_the_server_starts_no_agent(
    start: Start, service: Service, runs: Path
) -> None:
    path = registered(start, "search.num_trials=2", *SHORT)
    edited(service, path, command=["/bin/sh", "-c", "id > /tmp/owned"])
    printed = done(agents(start, "-n", "1"), 2)
    assert "-command: ${program}" in printed
    assert "+command: /bin/sh" in printed
    assert service.state.agents == {}


def test_a_sweep_may_set_only_what_the_space_declares(
    start: Start, service: Service, runs: Path
) -> None:
    path = registered(start, "search.num_trials=9", *SHORT)
    process = agents(start, "-n", "1")
    awaited(lambda: bool(service.state.agents))
    edited(service, path, parameters={"model._target_": {"value": "os.system"}})
    printed = done(process, 1)
    assert "gave up after 3 failed runs in a row" in printed
    (path_of_log,) = (runs / "s/01_coarse").glob("agent-*.log")
    log = path_of_log.read_text()
    assert f"sweep {path.rpartition('/')[2]} sets model._target_, which the file" in log
    assert (
        "caviar.base.errors" not in log
    )  # one clear message; the client has tracebacks of its own
    refused = [run for run in service.runs_of(path) if "model._target_" in run.config]
    assert len(refused) == 3
    assert not any((runs / "s/01_coarse" / run.name).exists() for run in refused)
    assert all("sets model._target_" in str(told(run)["error"]) for run in refused)
