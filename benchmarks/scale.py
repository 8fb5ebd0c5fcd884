"""What a trial costs in a study of 1,000 trials, and in one of 100,000.

    python benchmarks/scale.py                           # some minutes
    python benchmarks/scale.py --trials 1000             # a smaller study alone
    python benchmarks/scale.py --trials --workers 64     # the database alone

Each study is begun by the command, enqueued in one call, and all but its last trials are finished
as a launcher would that trains 500 at a time, with five points of a curve each. The last ones are
run by the pool. `overhead` is the mean time that a worker takes from the end of one training to the
begin of its next. `open` is a fresh process that asks for one trial; `status` and `report` are the
commands, as typed at a prompt. The database is a PostgreSQL server of its own, on this machine, and
its workers claim as fast as they can, each its own share of the trials and its neighbour's.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from caviar.base.result import Result
from caviar.ledger import Ledger, Planned
from caviar.pool.machine import cores
from caviar.search.planned import plan
from caviar.search.settings import SearchSettings
from caviar.space.sweep_file import SweepFile
from launchers import between

ROOT = Path(__file__).resolve().parents[1]
STAGE = "01_coarse"
TRAIN = ["train.py", "-m", "search.study=s", "train._target_=scale_trial.train", "logger=none"]
CAVIAR = ["-c", "from caviar.cli import main; main()"]
LAST = 24  # trials that the pool runs
TOGETHER = 500  # trials that are claimed and finished in one call
POINTS = 5
OPEN = (
    "import sys; from caviar.ledger import Ledger; import time; t = time.perf_counter(); "
    "Ledger.open(sys.argv[1], 's').trial('01_coarse', 7); print(time.perf_counter() - t)"
)


def timed(call: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def process(arguments: list[str], runs: Path) -> str:
    """What a process prints; its failure is ours."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "CAVIAR_RUNS": str(runs), "PYTHONPATH": path}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} left with {done.returncode}:\n{done.stderr}")
    return done.stdout


def measure(trials: int, workers: int, runs: Path) -> str:
    """One study; a line of the table."""
    process([*TRAIN, "search.num_trials=2", f"hydra.launcher.num_workers={workers}"], runs)
    storage = str(runs / "s/study.journal")
    ledger = Ledger.open(storage, "s")
    sweep = SweepFile.parse(ledger.spec(STAGE)["sweep"], Path(STAGE))
    planned = plan(replace(sweep, num_trials=trials), SearchSettings(study="s"))
    enqueued = timed(lambda: ledger.extend(STAGE, planned, sweep.space))
    values = np.random.default_rng(0).uniform(0.1, 2.3, trials).tolist()
    left = range(trials - LAST, trials)

    def fill() -> None:
        for first in range(2, left[0], TOGETHER):
            numbers = ledger.claim_all(STAGE, range(first, min(first + TOGETHER, left[0])))
            curve = [(n, p, values[n] + 1 / (1 + p)) for p in range(POINTS) for n in numbers]
            ledger.report_all(STAGE, curve)
            results = [Result(best=values[n], best_step=4, last=values[n], unit="step", seconds=0.5)
                       for n in numbers]  # fmt: skip
            ledger.finish_all(STAGE, list(zip(numbers, results, strict=True)))

    filled = timed(fill)
    opened = min(float(process(["-c", OPEN, storage], runs)) for _ in range(3))
    again = [*TRAIN, f"search.num_trials={trials}", f"hydra.launcher.num_workers={workers}"]
    process(again, runs)
    folders = [runs / "s" / STAGE / str(n) for n in left]
    results = [trial.result for trial in ledger.some(STAGE, left)]
    ends = [(folder / "result.json").stat().st_mtime for folder in folders]
    begins = [end - r.seconds for end, r in zip(ends, results, strict=True) if r]
    overhead = between(begins, ends, workers)
    process([*CAVIAR, "status"], runs)  # once uncounted: byte code
    status = timed(lambda: process([*CAVIAR, "status"], runs))
    report = timed(lambda: process([*CAVIAR, "report", "search.study=s"], runs))
    size = (runs / "s/report.html").stat().st_size / 1e6
    return (
        f"| {trials:,} | {enqueued:.1f} s | {1000 * filled / trials:.2f} ms | "
        f"{1000 * opened:.0f} ms | {1000 * overhead:.0f} ms | {status:.1f} s | {report:.1f} s | "
        f"{size:.1f} MB |"
    )


def claim_all(storage: str, trials: int, workers: int, own: int, ready: Any, won: Any) -> None:
    """A worker: claims and finishes what it can of its share, and of its neighbour's."""
    ledger, share = Ledger.open(storage, "s"), trials // workers
    ready.wait()
    start, claimed = time.time(), []
    for step in range(2 * share):
        number = (own * share + step) % trials
        if ledger.claim(STAGE, number):
            claimed.append(number)
            ledger.finish(STAGE, number, Result(best=0.5, best_epoch=0, last=0.5))
    won.put((start, time.time(), claimed))


def database(workers: int, trials: int) -> str:
    """Many workers in PostgreSQL; a sentence."""
    sys.path.append(str(ROOT / "tests"))
    from caviar.space import Axis, Log, Space
    from postgres import Server, programs

    if programs() is None:
        return "PostgreSQL is not installed (no initdb)"
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            storage = server.database("scale")
            ledger = Ledger.open(storage, "s")
            ledger.begin(STAGE, {}, "min")
            space = Space((Axis("lr", Log(1e-4, 1.0)),))
            planned = [Planned({"lr": 0.01}, n) for n in range(trials)]
            enqueued = timed(lambda: ledger.extend(STAGE, planned, space))
            context = multiprocessing.get_context("spawn")
            won, ready = context.SimpleQueue(), context.Barrier(workers)
            started = [
                context.Process(target=claim_all, args=(storage, trials, workers, n, ready, won))
                for n in range(workers)
            ]
            for worker in started:
                worker.start()
            starts, ends, claimed = zip(*(won.get() for _ in started), strict=True)
            for worker in started:
                worker.join()
        finally:
            server.stop()
    numbers = [number for of_worker in claimed for number in of_worker]
    twice, never = len(numbers) - len({*numbers}), trials - len({*numbers})
    speed = len(numbers) / (max(ends) - min(starts))
    return (
        f"{workers} workers, {trials} trials: enqueued in {enqueued:.1f} s; {twice} claimed twice, "
        f"{never} never; {speed:.1f} claimed and finished a second"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--pool", type=int, default=cores(), help="workers of the pool")
    parser.add_argument("--workers", type=int, default=0, help="of the database; 0: none")
    parser.add_argument("--claims", type=int, default=640, help="trials in the database")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    if options.trials:
        print("| trials | enqueue | a trial of 500 | open | overhead | status | report | page |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
    for trials in options.trials:
        with tempfile.TemporaryDirectory() as runs:
            print(measure(trials, options.pool, Path(runs)), flush=True)
    if options.workers:
        print(f"\nPostgreSQL: {database(options.workers, options.claims)}")


if __name__ == "__main__":
    main()
