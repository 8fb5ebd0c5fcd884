"""What becomes of a search when something dies: a trial, its process, the driver, a rank."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from caviar.ledger import Ledger, Trial
from conftest import ROOT, Start, awaited, trials

pytestmark = pytest.mark.slow

SLOW = [
    "model._target_=slow_models.Slow",
    "model.dropout=0.2",
    "~space.model",
    "data.batch_size=32",
]
STAGE = ["-m", "search.study=s", "search.num_trials=4", "~space.data", *SLOW]
EPOCHS = "trainer.max_epochs=12"
TIGHT = "hydra.launcher.num_workers=2"


def ledger(runs: Path) -> Ledger:
    return Ledger.open(str(runs / "s/study.journal"), "s")


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
    start: Start, runs: Path, undisturbed: list[list[dict[str, str]]]
) -> None:
    process = start("train.py", *STAGE, EPOCHS, TIGHT)
    victim = running(runs, 1)[0]
    os.killpg(victim.pid or 0, signal.SIGKILL)
    printed = process.wait()
    assert process.code == 0, printed
    assert f"trial {victim.number}: killed by SIGKILL; it is tried again" in printed
    after = trials(runs)
    assert [t.status for t in after] == ["complete"] * 4
    assert after[victim.number].faults == ("killed by SIGKILL",)
    assert metrics(runs) == undisturbed


def test_a_checkpoint_that_is_cut_off_is_no_reason_to_fail(
    start: Start, runs: Path, undisturbed: list[list[dict[str, str]]]
) -> None:
    process = start("train.py", *STAGE, EPOCHS, TIGHT)
    victim = running(runs, 1)[0]
    os.kill(victim.pid or 0, signal.SIGSTOP)
    last = runs / "s/01_coarse" / str(victim.number) / "checkpoints/last.ckpt"
    os.truncate(last, 1000)
    os.killpg(victim.pid or 0, signal.SIGKILL)
    printed = process.wait()
    assert process.code == 0, printed
    assert "begins anew" in (last.parents[1] / "output.txt").read_text()
    assert metrics(runs) == undisturbed


def test_the_second_kill_is_a_result(start: Start, runs: Path) -> None:
    process = start("train.py", *STAGE, EPOCHS, TIGHT)
    victim = running(runs, 1)[0]
    os.killpg(victim.pid or 0, signal.SIGKILL)

    def again() -> Trial:
        return trials(runs)[victim.number]

    awaited(lambda: again().running and again().pid != victim.pid)
    os.killpg(again().pid or 0, signal.SIGKILL)
    printed = process.wait()
    assert process.code == 0, printed
    assert "3 complete, 1 killed" in printed
    assert f"trial {victim.number}: killed: killed by SIGKILL" in printed


def test_workers_outlive_their_driver_until_their_trial_is_written(
    start: Start, runs: Path, undisturbed: list[list[dict[str, str]]]
) -> None:
    """And a new driver waits for them, and does the rest."""
    process = start("train.py", *STAGE, EPOCHS, TIGHT)
    orphans = running(runs, 2)
    process.popen.kill()
    process.wait()
    again = start("train.py", *STAGE, EPOCHS, TIGHT)
    printed = again.wait()
    assert again.code == 0, printed
    assert not any(alive(t.pid) for t in orphans)
    after = trials(runs)
    assert [t.status for t in after] == ["complete"] * 4
    assert [after[t.number].pid for t in orphans] == [t.pid for t in orphans]
    assert metrics(runs) == undisturbed


@pytest.mark.parametrize("number", [signal.SIGTERM])  # SIGINT: test_process.py
def test_an_interrupt_checkpoints_and_leaves(
    start: Start, runs: Path, number: signal.Signals, undisturbed: list[list[dict[str, str]]]
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
    again = start("train.py", *STAGE, EPOCHS, TIGHT)
    assert again.wait()
    assert again.code == 0
    assert metrics(runs) == undisturbed  # also inside of the epoch that was cut in two


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
    start: Start, runs: Path, undisturbed: list[list[dict[str, str]]]
) -> None:
    process = start("train.py", *STAGE, EPOCHS, TIGHT)
    running(runs, 2)
    children = f"/proc/{process.popen.pid}/task/{process.popen.pid}/children"
    for pid in Path(children).read_text().split():
        if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(int(pid), signal.SIGKILL)
    printed = process.wait()
    assert process.code == 0, printed
    assert metrics(runs) == undisturbed


def test_a_killed_rank_does_not_change_the_result(start: Start, runs: Path) -> None:
    """A distributed trial goes on from the end of its last epoch, in all its processes."""
    distributed = [*STAGE, "search.num_trials=1", "trainer=ddp_cpu", "trainer.max_epochs=6"]
    process = start("train.py", *distributed)
    leader = running(runs, 1)[0].pid
    ranks = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
    os.kill(int(ranks[0]), signal.SIGKILL)
    printed = process.wait()
    assert process.code == 0, printed
    assert "rank 1 was killed by SIGKILL; it is tried again" in printed
    assert not any(alive(int(rank)) for rank in ranks)
    (trial,) = trials(runs)
    other = start("train.py", *distributed, CAVIAR_RUNS=str(runs / "undisturbed"))
    other.wait()
    journal = runs / "undisturbed/s/study.journal"
    (undisturbed,) = Ledger.open(str(journal), "s").trials("01_coarse")
    assert trial.curve == undisturbed.curve
    assert trial.result is not None
    assert undisturbed.result is not None
    assert trial.result.metrics == undisturbed.result.metrics
