"""What becomes of a sweep when its runs, its agents or the service fail, or somebody edits it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import yaml

from caviar.base.errors import SearchFailed
from caviar.base.result import MARKER
from caviar.wandb.ledger import SweepLedger
from conftest import Start, awaited, done
from wandb_standin import Service
from wandb_study import SHORT, agents, below, called, child_of, named, registered, told, trials

pytestmark = pytest.mark.slow

SLOW = ["model._target_=slow_models.Slow", "~space.data"]


def awaited_run(service: Service, path: str, index: int) -> None:
    """Wait until a run of a sweep has told a metric."""
    runs = service.sweep(path).runs
    awaited(lambda: len(runs) > index and bool(runs[index].history))


@pytest.mark.nightly
def test_whatever_becomes_of_a_run_is_counted_and_shown(
    start: Start, service: Service, runs: Path
) -> None:
    """One that diverges, one that raises, one that SIGTERM ends, one that SIGKILL ends, and one
    that fails before it has a logger. Each of these leaves the agent at work."""
    path = registered(
        "model._target_=slow_models.ByWidth",
        "trainer.max_epochs=6",
        "search.num_trials=5",
        "~space.data",
        "~space.scheduler",
        "~space.model",
        "+space.model.width=${choice:32,64,96,99,100}",
    )
    plain = {"optimizer.lr": 0.01, "model.width": 32}
    service.sweep(path).scripted = [
        plain | {"optimizer.lr": 1.0e30},
        plain | {"model.width": 96},
        plain | {"model.width": 100},
        plain | {"model.width": 100},
        plain | {"model.width": 99},
    ]
    process = agents(start, "-n", "1")
    for index, number in ((2, signal.SIGTERM), (3, signal.SIGKILL)):
        awaited_run(service, path, index)
        os.kill(child_of(process, "train.py", "model.width=100"), number)
    done(process)
    diverged, raised, terminated, killed, unbuilt = service.runs_of(path)
    assert (diverged.state, diverged.exit_code) == ("finished", 0)
    assert diverged.summary[MARKER] == "diverged"
    assert (raised.state, raised.exit_code) == ("failed", 1)
    assert told(raised)["error"] == "ValueError: too wide for me"
    assert (terminated.state, told(terminated)["error"]) == ("failed", "killed by SIGTERM")
    assert MARKER not in killed.summary
    assert unbuilt.state == "failed"
    assert "99 cannot be built" in str(told(unbuilt)["error"])
    statuses = ["diverged", "exception", "killed", "killed", "exception"]
    assert [t.status for t in trials(runs)] == statuses
    printed = called("status", "search.study=s")
    assert "5 trials: 1 diverged, 2 exception, 2 killed" in printed
    assert "trial 1: exception: ValueError: too wide for me" in printed
    assert "trial 2: killed: killed by SIGTERM" in printed
    assert "trial 3: killed: W&B calls it crashed" in printed
    assert "at least 5" in called("refine", "search.study=s", code=2)
    refused = called("retry", "search.study=s", "01_coarse/1", code=2)
    assert "01_coarse/1 stays as it is: its stage is a W&B sweep" in refused
    assert "caviar refine search.study=s" in refused


@pytest.mark.nightly
def test_an_agent_that_is_killed_and_a_service_that_does_not_answer(
    start: Start, service: Service, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent is started again, once its run has ended by itself; and agent and run ask on
    until they are answered, beyond the time that their client waits for an answer."""
    for requests in ("GRAPHQL", "FILE_STREAM"):
        monkeypatch.setenv(f"WANDB_X_{requests}_TIMEOUT_SECONDS", "2")
    path = registered(*SLOW, "search.num_trials=2", "trainer.max_epochs=15")
    process = agents(start, "-n", "1")
    awaited_run(service, path, 0)
    os.kill(child_of(process, "wandb", "agent"), signal.SIGKILL)
    awaited_run(service, path, 1)
    assert len(service.state.agents) == 2
    service.freeze()
    awaited(lambda: service.asked_again("/graphql") and service.asked_again("/file_stream"))
    service.thaw()
    printed = done(process)
    assert "2 trials: 2 complete" in printed, printed


def test_what_was_read_is_shown_on_while_the_service_is_away(
    service: Service, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    path = registered("search.num_trials=2", *SHORT)
    ledger = SweepLedger(runs / "s", "s")
    assert ledger.note("01_coarse") == f"W&B sweep {path}, running"
    wandb.teardown()
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_X_GRAPHQL_RETRY_MAX", "1")
    monkeypatch.setenv("WANDB_X_GRAPHQL_RETRY_WAIT_MAX_SECONDS", "0.1")
    for _ in range(2):
        ledger.refresh()
        assert ledger.note("01_coarse") == f"W&B sweep {path}, running when W&B last answered"
        assert [trial.waiting for trial in ledger.trials("01_coarse")] == [True, True]
    with pytest.raises(SearchFailed, match="W&B"):
        trials(runs)
    wandb.teardown()


def test_ctrl_c_ends_agents_and_runs(start: Start, service: Service, runs: Path) -> None:
    path = registered(*SLOW, "trainer.max_epochs=500")
    process = agents(start, "-n", "2")
    for index in range(2):
        awaited_run(service, path, index)
    started = below(process.popen.pid)
    os.kill(process.popen.pid, signal.SIGINT)
    done(process, 130, timeout=30)
    awaited(lambda: not any(named(p, "train.py") or named(p, "wandb") for p in started), 20)
    assert [(run.state, told(run)["error"]) for run in service.runs_of(path)] == [
        ("failed", "killed by SIGTERM")
    ] * 2
    for run in service.runs_of(path):
        assert (runs / "s/01_coarse" / run.name / "checkpoints/last.ckpt").exists()


@pytest.mark.nightly
def test_a_sweep_that_is_cancelled(start: Start, service: Service, runs: Path) -> None:
    path = registered(*SLOW, "trainer.max_epochs=500")
    process = agents(start, "-n", "1")
    awaited_run(service, path, 0)
    service.sweep(path).state = "CANCELED"
    assert "1 trial: 1 killed" in done(process)
    printed = called("agent", "search.study=s")
    assert f"sweep {path} is canceled: it starts no more runs" in printed
    assert f"{path}, canceled" in called("status", "search.study=s")


def edited(service: Service, path: str, **changes: object) -> None:
    """Change the sweep on the server, as somebody with access to the project can."""
    sweep = service.sweep(path)
    document = sweep.document
    for key, value in changes.items():
        document[key] = {**document[key], **value} if isinstance(value, dict) else value
    sweep.config = yaml.safe_dump(document)


def test_a_sweep_that_was_changed_on_the_server_starts_no_agent(
    service: Service, runs: Path
) -> None:
    path = registered("search.num_trials=2", *SHORT)
    edited(service, path, command=["/bin/sh", "-c", "id > /tmp/owned"])
    printed = called("agent", "search.study=s", "-n", "1", code=2)
    assert "-command: ${program}" in printed
    assert "+command: /bin/sh" in printed
    assert service.state.agents == {}


def test_a_sweep_may_set_only_what_the_space_declares(
    start: Start, service: Service, runs: Path
) -> None:
    path = registered("search.num_trials=9", *SHORT)
    service.sweep(path).state = "PAUSED"  # so that no run begins before the edit
    process = agents(start, "-n", "1")
    awaited(lambda: bool(service.state.agents))
    edited(service, path, parameters={"model._target_": {"value": "os.system"}})
    service.sweep(path).state = "RUNNING"
    printed = done(process, 1)
    assert "gave up after 3 failed runs in a row" in printed
    (path_of_log,) = (runs / "s/01_coarse").glob("agent-*.log")
    log = path_of_log.read_text()
    assert f"sweep {path.rpartition('/')[2]} sets model._target_, which the file" in log
    # One clear message; the client has tracebacks of its own.
    assert "caviar.base.errors" not in log
    refused = service.runs_of(path)
    assert len(refused) == 3
    assert not any((runs / "s/01_coarse" / run.name).exists() for run in refused)
    assert all("sets model._target_" in str(told(run)["error"]) for run in refused)
