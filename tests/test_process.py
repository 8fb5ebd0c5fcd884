"""Whole processes: kills, Ctrl-C, two drivers, distributed training, from any folder."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from caviar.ledger import Ledger
from conftest import FAST, ROOT, Main, Start, trials

pytestmark = pytest.mark.slow

STAGE = ["-m", *FAST, "trainer.max_epochs=12", "search.study=s", "search.num_trials=8"]


def journal(runs: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (runs / "s/study.journal").read_text().splitlines()]


def finishes(runs: Path) -> list[object]:
    """Trial ids in the order in which they were finished; a number twice was run twice."""
    complete = 1  # optuna's TrialState.COMPLETE
    return [e["trial_id"] for e in journal(runs) if e.get("state") == complete]


def test_kill_9_in_the_middle_loses_nothing_and_repeats_nothing(
    start: Start, main: Main, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start("train.py", *STAGE)
    process.wait_for_line("01_coarse 3/8")
    process.send(signal.SIGKILL)
    process.wait()
    assert process.code == -signal.SIGKILL
    before = {t.number: t.result for t in trials(runs) if t.finished}
    assert 3 <= len(before) < 8
    assert main(*STAGE) == 0
    after = trials(runs)
    assert [t.status for t in after] == ["complete"] * 8
    assert {n: after[n].result for n in before} == before
    assert sorted(finishes(runs)) == sorted(set(finishes(runs)))
    assert len(finishes(runs)) == 8

    # The same eight as a stage that nobody killed.
    monkeypatch.setenv("CAVIAR_RUNS", str(runs / "whole"))
    assert main(*STAGE) == 0
    untouched = Ledger.open(str(runs / "whole/s/study.journal"), "s").trials("01_coarse")
    assert [t.result.best for t in untouched if t.result] == [
        t.result.best for t in after if t.result
    ]


@pytest.mark.parametrize("number", [signal.SIGINT])  # SIGTERM: test_faults.py
def test_an_interrupted_stage_says_so_and_continues(
    start: Start, main: Main, runs: Path, number: signal.Signals
) -> None:
    process = start("train.py", *STAGE)
    process.wait_for_line("01_coarse 2/8")
    process.send(number)
    printed = process.wait()
    assert process.code == 128 + number, printed
    assert "the same command continues" in printed
    assert "Traceback" not in printed
    done = sum(t.finished for t in trials(runs))
    assert 2 <= done < 8
    assert all(t.status in ("complete", "waiting") for t in trials(runs))
    assert main(*STAGE) == 0
    assert {t.status for t in trials(runs)} == {"complete"}
    assert len(finishes(runs)) == 8


def test_an_interrupted_run_says_how_to_go_on(start: Start, runs: Path) -> None:
    process = start("train.py", "trainer.max_epochs=100000", "logger=none")
    last = runs / "train/0/checkpoints/last.ckpt"
    until = time.monotonic() + 60
    while not last.exists():
        assert process.popen.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)  # nothing announces a file; the loop awaits it
    process.send(signal.SIGINT)
    printed = process.wait()
    assert process.code == 130
    assert f"go on with ckpt_path={last}" in printed
    assert "Traceback" not in printed


def test_two_drivers_share_a_study(start: Start, runs: Path) -> None:
    """Each trial runs once, and both wait for all and show the same end."""
    first = start("train.py", *STAGE)
    second = start("train.py", *STAGE)
    status = start("caviar", "status", "search.study=s", "--watch")
    printed = [process.wait() for process in (first, second)]
    assert [first.code, second.code] == [0, 0], printed
    assert [t.status for t in trials(runs)] == ["complete"] * 8
    assert sorted(finishes(runs)) == list(range(8))
    again = [line for line in printed[0].splitlines() if line.startswith("the best again")]
    assert again
    assert again[0] in printed[1]
    status.send(signal.SIGINT)
    status.wait()


def test_distributed_training_on_two_cpu_processes(start: Start, runs: Path) -> None:
    process = start(
        "train.py",
        "trainer=ddp_cpu",
        "trainer.max_epochs=2",
        "logger=none",
        "one_minus.optimizer.momentum=0.05",
    )
    printed = process.wait()
    assert process.code == 0, printed
    assert [p.name for p in (runs / "train").iterdir()] == ["0"]
    result = json.loads((runs / "train/0/result.json").read_text())
    assert result["status"] == "complete"
    assert printed.count("val/loss") == 1


def test_train_works_from_any_folder_and_its_commands_reproduce(runs: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "CAVIAR_RUNS": str(runs)}
    environment.pop("CAVIAR_ROOT")
    script = str(ROOT / "train.py")
    dry = [*STAGE, "search.num_trials=1", "search.dry_run=true"]
    printed = subprocess.run(
        [sys.executable, script, *dry],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    overrides = shlex.split(printed)[2:]
    subprocess.run(
        [sys.executable, script, *overrides],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    result = json.loads((runs / "train/0/result.json").read_text())
    assert result["status"] == "complete"
