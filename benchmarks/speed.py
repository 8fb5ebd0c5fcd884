"""What a user waits for: start-up, one training, one search.

    python benchmarks/speed.py            # some minutes
    python benchmarks/speed.py --quick    # without the search
    python benchmarks/speed.py --first    # seconds to the first line, and to a tab's answer

Every figure is the wall time of a whole process, as typed at a prompt: median, least and most
over several runs, beside the goal. Machines differ and are busy; compare figures of one table.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CAVIAR = [sys.executable, "-c", "from caviar.cli import main; main()"]
TRAIN = [sys.executable, "train.py"]
COMPLETE = "_CAVIAR_COMPLETE"  # caviar.cli.completion


def seconds(command: list[str], runs: str) -> float:
    """Wall time of one process; its failure is ours."""
    environment = {**os.environ, "CAVIAR_RUNS": runs}
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    took = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} left with {done.returncode}:\n{done.stderr}")
    return took


def first_seconds(command: list[str], runs: str) -> float:
    """Wall time until a process has printed its first line."""
    environment = {**os.environ, "CAVIAR_RUNS": runs}
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # what it has started ends with it
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        took = time.perf_counter() - start
        os.killpg(process.pid, signal.SIGKILL)
    if not line.strip():
        sys.exit(f"{' '.join(command)} printed nothing")
    return took


def print_first(times: int, runs: str) -> None:
    """Rows of what is seen first."""
    for what, command in (
        ("`python train.py`: its first line", TRAIN),
        ("`python train.py -m`: its first line", [*TRAIN, "-m"]),
        ("`caviar search`: its first line", [*CAVIAR, "search"]),
    ):
        first_seconds(command, runs)
        row(what, [first_seconds(command, runs) for _ in range(times)], 1)
    for line in ("caviar re", "caviar search optimizer."):
        os.environ[COMPLETE] = line
        row(f"a tab behind `{line}`", [seconds(CAVIAR, runs) for _ in range(times)], 1)
        del os.environ[COMPLETE]


def points_seconds() -> float:
    """Drawing 1,000,000 points of seven axes."""
    from caviar.space import Axis, Choice, Integer, Linear, Log, LogInteger, OneMinusLog, Space

    scales = {
        "optimizer.lr": Log(1e-4, 1.0),
        "optimizer.momentum": OneMinusLog(1e-3, 0.1),
        "model.width": Integer(16, 128),
        "model.depth": LogInteger(1, 8),
        "data.batch_size": Choice((16, 32, 64, 128)),
        "model.dropout": Linear(0.0, 0.5),
        "scheduler.rate": Log(1e-3, 1.0),
    }
    space = Space(tuple(Axis(key, scale) for key, scale in scales.items()))
    start = time.perf_counter()
    columns = space.draw(0, "01_coarse", 1_000_000)
    took = time.perf_counter() - start
    assert all(np.shape(column) == (1_000_000,) for column in columns.values())
    return took


def row(what: str, times: list[float], goal: float) -> None:
    """One line of the table."""
    middle = statistics.median(times)
    print(
        f"| {what} | {middle:.2f} | {min(times):.2f} … {max(times):.2f} | {goal:g} | "
        f"{middle / goal:.2f} |",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="of everything but the search")
    parser.add_argument("--quick", action="store_true", help="leave the search out")
    parser.add_argument("--first", action="store_true", help="only what is seen first")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| process | median s | least … most | goal s | share of the goal |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as runs:
        print_first(options.runs, runs)
    if options.first:
        return
    row("1,000,000 points of 7 axes", [points_seconds() for _ in range(options.runs)], 2)
    with tempfile.TemporaryDirectory() as runs:
        for what, command, goal in (
            ("`caviar --help`", [*CAVIAR, "--help"], 1),
            ("`caviar refine --help`", [*CAVIAR, "refine", "--help"], 1),
            ("dry run of a stage", [*TRAIN, "-m", "search.dry_run=true"], 3),
            ("`python train.py` on digits", TRAIN, 12),
        ):
            seconds(command, runs)  # once uncounted: byte code, caches
            row(what, [seconds(command, runs) for _ in range(options.runs)], goal)
        if options.quick:
            return
        row("`caviar search`, digits, 65 trainings", [seconds([*CAVIAR, "search"], runs)], 180)
        # A confirmed study cannot be refined, so 54 short trials of another.
        stage = ["-m", "search.study=short", "search.num_trials=54", "trainer.max_epochs=1"]
        seconds([*TRAIN, *stage], runs)
        refine = [*CAVIAR, "refine", "search.study=short", "--force"]
        times = [seconds(refine, runs) for _ in range(options.runs)]
        row("`caviar refine`, 54 trials of 6 axes", times, 3)
        again = [seconds([*CAVIAR, "search"], runs) for _ in range(options.runs)]
        row("`caviar search` again: complete", again, 3)


if __name__ == "__main__":
    main()
