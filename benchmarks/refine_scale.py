"""What refining and choosing candidates costs, from 100 trials of ten axes to 10,000.

    python benchmarks/refine_scale.py                  # half a minute
    python benchmarks/refine_scale.py --trials 1000    # one size alone

Each size in a process of its own, with one thread. `refine` and `candidates` are the seconds of one
call, and behind the stroke those that the processor worked on it: on a busy machine the others are
spent in waiting. `memory` is what the peak of the process grew by since its imports. A trial's loss
depends on four of the ten axes and on luck, and some diverge.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
WEIGHTS = np.array([1, 0.5, 0.5, 0.1, 0, 0, 0, 0, 0, 0])
GOALS = {100: 1.0, 10_000: 5.0}  # seconds, of each call


def peak() -> float:
    """The most memory that this process ever held, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def timed(call: Callable[[], object]) -> str:
    """Seconds that a call takes, and those of the processor."""
    start, worked = time.perf_counter(), time.process_time()
    call()
    return f"{time.perf_counter() - start:.2f} / {time.process_time() - worked:.2f} s"


def measure(trials: int) -> str:
    """A line of the table."""
    import scipy.linalg
    import scipy.optimize
    import scipy.special  # noqa: F401  what refine imports is not its own time

    from caviar.refine import candidates, refine
    from caviar.space import Axis, Log, Space

    space = Space(tuple(Axis(f"x{j}", Log(1e-4, 1.0)) for j in range(len(WEIGHTS))))
    columns = space.draw(0, "01_coarse", trials)
    units = space.to_unit(columns)
    luck = 0.3 * np.random.default_rng(0).standard_normal(trials)
    losses = np.exp(2 * (WEIGHTS * (units - 0.4) ** 2).sum(axis=1) + luck)
    losses[(units[:, 0] > 0.85) & (units[:, 1] > 0.3)] = np.inf
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    points = [dict(zip(columns, row, strict=True)) for row in rows]

    before = peak()
    refined = timed(lambda: refine(space, space, points, losses.tolist()))
    chosen = timed(lambda: candidates(space, points, losses.tolist(), 3))
    goal = f"{GOALS[trials]:g} s" if trials in GOALS else "–"
    memory = f"{peak() - before:.0f} MiB | {peak():.0f} MiB"
    return f"| {trials:,} | {refined} | {chosen} | {goal} | {memory} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 2000, 10_000])
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(measure(*options.trials))
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| trials | refine | candidates | goal of each | memory | of the process |")
    print("|---|---|---|---|---|---|", flush=True)
    for trials in options.trials:
        command = [sys.executable, __file__, "--alone", "--trials", str(trials)]
        subprocess.run(command, env={**os.environ, **ONE_THREAD}, check=True)


if __name__ == "__main__":
    main()
