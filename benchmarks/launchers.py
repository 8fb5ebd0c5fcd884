"""What a launcher costs: the same 24 short trials with the pool, and with Hydra's others.

    pip install hydra-joblib-launcher hydra-submitit-launcher
    python benchmarks/launchers.py                       # some minutes
    python benchmarks/launchers.py --launchers pool basic --trials 8

`start` is the time until the first trial trains. `overhead` is the mean time that a worker takes
from the end of one training to the begin of its next: while all workers have work, which is from
when the last of them first trains until the last trial trains, it is the time in which they do not
train. Memory is the most that all processes together hold at a time, shared pages counted once
(PSS, Linux only).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from caviar.ledger import Ledger
from caviar.pool.machine import cores

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = {  # what must be installed, and how many workers are asked for
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "hydra.launcher.n_jobs={workers}"),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", ""),
    "pool": ("caviar", "hydra.launcher.num_workers={workers}"),
    "basic": ("caviar", ""),
}


class Memory:
    """The most memory that the processes of one run hold together, in MiB."""

    def __init__(self, mark: str) -> None:
        self.mark, self.peak = f"CAVIAR_RUNS={mark}".encode(), 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(2.0):  # a look costs the processes time
            self.peak = max(self.peak, sum(map(self._held, Path("/proc").glob("[0-9]*"))) / 1024)

    def _held(self, process: Path) -> int:
        """KiB, of a process that was started for this run; 0 for others."""
        try:
            if self.mark not in (process / "environ").read_bytes().split(b"\0"):
                return 0
            rollup = (process / "smaps_rollup").read_text()
        except OSError:  # it has ended, or is somebody else's
            return 0
        return int(rollup.partition("Pss:")[2].split()[0])


def measure(launcher: str, trials: int, epochs: int, workers: int) -> str:
    """One stage in a real process; a line of the table."""
    with tempfile.TemporaryDirectory() as runs, Memory(runs) as memory:
        command = [sys.executable, "train.py", "-m", "search.study=s", f"hydra/launcher={launcher}"]
        setting = PLUGINS[launcher][1].format(workers=workers)
        command += [setting] if setting else []
        command += [f"search.num_trials={trials}", f"trainer.max_epochs={epochs}", "logger=none"]
        began = time.time()
        environment = {**os.environ, "CAVIAR_RUNS": runs}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        wall = time.time() - began
        if done.returncode:
            sys.exit(f"{' '.join(command)} left with {done.returncode}:\n{done.stderr}")
        found = Ledger.open(f"{runs}/s/study.journal", "s").trials("01_coarse")
        ends = [(Path(runs) / f"s/01_coarse/{t.number}/result.json").stat().st_mtime for t in found]
    seconds = [t.result.seconds for t in found if t.result]
    begins = [end - took for end, took in zip(ends, seconds, strict=True)]
    at_once = {"basic": 1, "submitit_local": trials}.get(launcher, workers)
    shown = "-"
    if trials > at_once:
        shown = f"{1000 * between(begins, ends, at_once):.0f} ms"
    return (
        f"| {launcher} | {at_once} | {wall:.1f} s | {min(begins) - began:.1f} s | {shown} | "
        f"{60 * trials / wall:.0f} | {memory.peak:.0f} MiB |"
    )


def between(begins: list[float], ends: list[float], workers: int) -> float:
    """Mean seconds that a worker takes from one training to its next."""
    first, last = sorted(begins)[workers - 1], max(begins)
    trained = sum(
        max(0.0, min(end, last) - max(begin, first))
        for begin, end in zip(begins, ends, strict=True)
    )
    return ((last - first) * workers - trained) / (len(begins) - workers)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--launchers", nargs="+", choices=PLUGINS, default=list(PLUGINS))
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--workers", type=int, default=cores())
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| launcher | at once | wall | start | overhead a trial | trials a minute | memory |")
    print("|---|---|---|---|---|---|---|")
    for launcher in options.launchers:
        if importlib.util.find_spec(PLUGINS[launcher][0]) is None:
            print(f"| {launcher} | not installed |", flush=True)
            continue
        print(measure(launcher, options.trials, options.epochs, options.workers), flush=True)


if __name__ == "__main__":
    main()
