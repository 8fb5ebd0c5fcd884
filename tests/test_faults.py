"""What becomes of a search when something dies: a trial, its process, the driver, a rank."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from caviar.ledger import Trial
from conftest import ROOT, Main, Start, awaited, meanwhile, trials

pytestmark = pytest.mark.slow

SLOW = [
    "model._target_=slow_models.Slow",
    "model.dropout=0.2",
    "~space.model",
    "data.batch_size=32",
]
POOL = "hydra/launcher=pool"  # a process each, for these faults to strike one
STAGE = ["-m", "search.study=s", "search.num_trials=4", "~space.data", POOL, *SLOW]
EPOCHS = "trainer.max_epochs=8"
TIGHT = "hydra.launcher.num_workers=2"


def alive(pid: int | None) -> bool:
    assert pid is not None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat").read_text()
    return status.rpartition(")")[2].split()[0] != "Z"


def running(runs: Path, count: int, epochs: int = 2) -> list[Trial]:
    """Wait until so many trials have trained so many epochs; those trials."""

    def found() -> list[Trial]:
        if not (runs / "s/study.journal").exists():
            return []
        return [t for t in trials(runs) if t.running and len(t.curve) >= epochs]

    awaited(lambda: len(found()) >= count)
    return found()


def metrics(runs: Path) -> list[list[dict[str, str]]]:
    """Every trial's metrics.csv."""
    files = [runs / "s/01_coarse" / str(n) / "metrics.csv" for n in range(4)]
    return [list(csv.DictReader(file.read_text().splitlines())) for file in files]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, str]]]:
    """The metrics of a stage that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    environment = {**os.environ, "CAVIAR_RUNS": str(folder), "PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "train.py", *STAGE, EPOCHS, TIGHT]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return metrics(folder)


def test_a_killed_worker_is_tried_again_from_its_last_checkpoint(
    main: Main,
    runs: Path,
    undisturbed: list[list[dict[str, str]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def kill() -> int:
        victim = running(runs, 1)[0]
        os.killpg(victim.pid or 0, signal.SIGKILL)
        return victim.number

    with meanwhile(kill) as killed:
        assert main(*STAGE, EPOCHS, TIGHT) == 0
    victim = killed.result()
    assert f"trial {victim}: killed by SIGKILL; it is tried again" in capsys.readouterr().out
    after = trials(runs)
    assert [t.status for t in after] == ["complete"] * 4
    assert after[victim].faults == ("killed by SIGKILL",)
    assert metrics(runs) == undisturbed


def test_a_checkpoint_that_is_cut_off_is_no_reason_to_fail(
    main: Main, runs: Path, undisturbed: list[list[dict[str, str]]]
) -> None:
    def cut() -> Path:
        victim = running(runs, 1)[0]
        os.kill(victim.pid or 0, signal.SIGSTOP)
        folder = runs / "s/01_coarse" / str(victim.number)
        os.truncate(folder / "checkpoints/last.ckpt", 1000)
        os.killpg(victim.pid or 0, signal.SIGKILL)
        return folder

    with meanwhile(cut) as done:
        assert main(*STAGE, EPOCHS, TIGHT) == 0
    assert "begins anew" in (done.result() / "output.txt").read_text()
    assert metrics(runs) == undisturbed


def test_the_second_kill_is_a_result(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def kill_twice() -> int:
        victim = running(runs, 1)[0]
        os.killpg(victim.pid or 0, signal.SIGKILL)

        def again() -> Trial:
            return trials(runs)[victim.number]

        awaited(lambda: again().running and again().pid != victim.pid)
        os.killpg(again().pid or 0, signal.SIGKILL)
        return victim.number

    with meanwhile(kill_twice) as killed:
        assert main(*STAGE, EPOCHS, TIGHT) == 0
    printed = capsys.readouterr().out
    assert "3 complete, 1 killed" in printed
    assert f"trial {killed.result()}: killed: killed by SIGKILL" in printed


def results_written(runs: Path) -> list[int]:
    """Trial ids in the order in which they were given a result; an id twice was run twice."""
    lines = (runs / "s/study.journal").read_text().splitlines()
    complete = 1  # optuna's TrialState.COMPLETE
    return [e["trial_id"] for e in map(json.loads, lines) if e.get("state") == complete]


def test_a_killed_driver_loses_nothing_and_repeats_nothing(
    start: Start, main: Main, runs: Path, undisturbed: list[list[dict[str, str]]]
) -> None:
    """One worker dies with it; the other outlives it until its trial is written. The next driver
    waits for that one, takes the other's trial up again, and does the rest."""
    process = start("train.py", *STAGE, EPOCHS, TIGHT)
    awaited(lambda: process.popen.poll() is None and (runs / "s/study.journal").exists())
    awaited(lambda: any(t.finished for t in trials(runs)))
    dies, orphan = running(runs, 2)
    process.send(signal.SIGKILL)
    os.killpg(dies.pid or 0, signal.SIGKILL)
    process.wait()
    assert process.code == -signal.SIGKILL
    before = {t.number: t.result for t in trials(runs) if t.finished}
    assert before
    assert main(*STAGE, EPOCHS, TIGHT) == 0
    assert not alive(orphan.pid)
    after = trials(runs)
    assert [t.status for t in after] == ["complete"] * 4
    assert {n: after[n].result for n in before} == before
    assert after[orphan.number].pid == orphan.pid
    assert after[dies.number].pid != dies.pid
    assert sorted(results_written(runs)) == list(range(4))
    assert metrics(runs) == undisturbed


@pytest.mark.parametrize("number", [signal.SIGTERM])  # SIGINT: test_process.py
def test_an_interrupt_checkpoints_and_leaves(
    start: Start,
    main: Main,
    runs: Path,
    number: signal.Signals,
    undisturbed: list[list[dict[str, str]]],
) -> None:
    process = start("train.py", *STAGE, EPOCHS, TIGHT)
    interrupted = running(runs, 2)
    began = time.monotonic()
    process.popen.send_signal(number)
    printed = process.wait()
    assert time.monotonic() - began < 10
    assert process.code == 128 + number, printed
    assert "the same command continues" in printed
    assert not any(alive(t.pid) for t in interrupted)
    assert all(t.status in ("complete", "waiting") for t in trials(runs))
    assert main(*STAGE, EPOCHS, TIGHT) == 0
    assert metrics(runs) == undisturbed  # also inside of the epoch that was cut in two


@pytest.mark.nightly
def test_a_second_interrupt_kills(start: Start, runs: Path) -> None:
    process = start("train.py", *STAGE, EPOCHS, TIGHT, "model._target_=slow_models.Hangs")
    awaited(lambda: (runs / "s/study.journal").exists() and any(t.running for t in trials(runs)))
    pids = [t.pid for t in trials(runs) if t.running]
    process.popen.send_signal(signal.SIGINT)
    time.sleep(1)  # between two key presses of a person
    process.popen.send_signal(signal.SIGINT)
    process.wait(10)
    assert not any(alive(pid) for pid in pids)
    assert not any(t.running for t in trials(runs))


def test_the_server_of_the_workers_may_die(
    main: Main, runs: Path, undisturbed: list[list[dict[str, str]]]
) -> None:
    def kill_server() -> int:
        running(runs, 1)
        here = os.getpid()
        children = Path(f"/proc/{here}/task/{here}/children").read_text().split()
        commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
        servers = [pid for pid, command in commands.items() if b"forkserver" in command]
        for pid in servers:
            os.kill(pid, signal.SIGKILL)
        return len(servers)

    with meanwhile(kill_server) as killed:
        assert main(*STAGE, EPOCHS, TIGHT) == 0
    assert killed.result() == 1
    assert metrics(runs) == undisturbed


@pytest.mark.nightly
def test_a_killed_rank_does_not_change_the_result(
    main: Main, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A distributed trial goes on from the end of its last epoch, in all its processes."""
    distributed = [*STAGE, "search.num_trials=1", "trainer=ddp_cpu", "trainer.max_epochs=4"]

    def kill() -> list[str]:
        leader = running(runs, 1)[0].pid
        ranks = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
        os.kill(int(ranks[0]), signal.SIGKILL)
        return ranks

    with meanwhile(kill) as killed:
        assert main(*distributed) == 0
    assert "rank 1 was killed by SIGKILL; it is tried again" in capsys.readouterr().out
    assert not any(alive(int(rank)) for rank in killed.result())
    (trial,) = trials(runs)
    monkeypatch.setenv("CAVIAR_RUNS", str(runs / "undisturbed"))
    assert main(*distributed) == 0
    (undisturbed,) = trials(runs / "undisturbed")
    assert trial.curve == undisturbed.curve
    assert trial.result is not None
    assert undisturbed.result is not None
    assert trial.result.metrics == undisturbed.result.metrics
