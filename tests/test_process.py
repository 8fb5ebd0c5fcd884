"""Whole processes: Ctrl-C, two drivers, from any folder. Kills are in test_faults.py."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import FAST, ROOT, Main, Start, awaited, trials

pytestmark = pytest.mark.slow

FOUR = ["search.study=s", "search.num_trials=4", "hydra/launcher=pool"]
STAGE = ["-m", *FAST, "trainer.max_epochs=20", *FOUR]


@pytest.mark.parametrize("number", [signal.SIGINT])  # SIGTERM: test_faults.py
def test_an_interrupted_stage_says_so(start: Start, runs: Path, number: signal.Signals) -> None:
    """To its whole group, as a terminal sends it; that it continues is shown in test_faults.py."""
    process = start("train.py", *STAGE)
    process.wait_for_line("01_coarse 1/4")
    process.send(number)
    printed = process.wait()
    assert process.code == 128 + number, printed
    assert "the same command continues" in printed
    assert "Traceback" not in printed
    assert 1 <= sum(t.finished for t in trials(runs)) < 4
    assert all(t.status in ("complete", "waiting") for t in trials(runs))


def test_an_interrupted_run_says_how_to_go_on(start: Start, runs: Path) -> None:
    process = start("train.py", "trainer.max_epochs=100000", "logger=none")
    last = runs / "train/0/checkpoints/last.ckpt"
    awaited(lambda: last.exists() or process.popen.poll() is not None)
    process.send(signal.SIGINT)
    printed = process.wait()
    assert process.code == 130
    assert f"go on with ckpt_path={last}" in printed
    assert "Traceback" not in printed


def test_two_drivers_share_a_study(
    start: Start, main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each trial runs once, and both wait for all and show the same end."""
    other = start("train.py", *STAGE)
    awaited(lambda: (runs / "s/study.journal").exists() and any(t.running for t in trials(runs)))
    assert main(*STAGE) == 0
    printed = [other.wait(), capsys.readouterr().out]
    assert other.code == 0, printed
    found = trials(runs)
    assert [t.status for t in found] == ["complete"] * 4
    assert len({t.claim["token"] for t in found}) == 4
    events = [json.loads(line) for line in (runs / "s/study.journal").read_text().splitlines()]
    complete = 1  # optuna's TrialState.COMPLETE
    finished = [e["trial_id"] for e in events if e.get("state") == complete]
    assert sorted(finished) == list(range(4))  # a number twice was run twice
    ends = [[x for x in p.splitlines() if x.startswith("the best again")] for p in printed]
    assert ends[0]
    assert ends[0] == ends[1]


@pytest.mark.nightly
def test_train_works_from_any_folder_and_its_commands_reproduce(
    main: Main, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*STAGE, "search.num_trials=1", "search.dry_run=true") == 0
    overrides = shlex.split(capsys.readouterr().out)[2:]
    environment = {**os.environ, "CAVIAR_RUNS": str(runs)}
    environment.pop("CAVIAR_ROOT")
    subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *overrides],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    result = json.loads((runs / "train/0/result.json").read_text())
    assert result["status"] == "complete"
