"""What early stopping saves: epochs trained, and the best that is found, with each pruner.

    python benchmarks/pruners.py                      # 30 trials, 5 searches each: ten minutes
    python benchmarks/pruners.py --trials 8 --searches 1 --pruners none asha

Every search is a real `python train.py -m` on digits. Its best trial is trained again by itself,
with fresh seeds and all its epochs, because the best of many flatters: `confirmed` is the mean of
these, and what two pruners should be compared by. The same settings are drawn for every pruner.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from caviar.base.result import PRUNED
from caviar.config.overrides import point_overrides
from caviar.ledger import Ledger
from caviar.screen.view import best_trials

ROOT = Path(__file__).resolve().parents[1]
TRAIN = [sys.executable, str(ROOT / "train.py")]
QUIET = ["logger=none", "callbacks=none"]


def search(runs: str, pruner: str, seed: int, trials: int) -> tuple[int, int, float, list[str]]:
    """One stage: epochs trained, trials pruned, best value, and the setting that gave it."""
    study = f"{pruner}_{seed}"
    asked = [f"search.study={study}", f"search.pruner={pruner}", f"search.seed={seed}"]
    run(runs, "-m", *asked, f"search.num_trials={trials}", *QUIET)
    found = Ledger.open(f"{runs}/{study}/study.journal", study).trials("01_coarse")
    (best,) = best_trials(found, "min", 1)
    assert best.result is not None
    assert best.result.best is not None
    epochs = sum(len(t.curve) for t in found)
    pruned = sum(t.status == PRUNED for t in found)
    return epochs, pruned, best.result.best, point_overrides(best.point)


def confirmed(runs: str, setting: list[str], seeds: int) -> float:
    """Mean best value of a setting over fresh seeds."""
    values = []
    for seed in range(1000, 1000 + seeds):
        folder = Path(runs) / "fresh"
        run(runs, *setting, *QUIET, f"seed={seed}", f"hydra.run.dir={folder}")
        values.append(json.loads((folder / "result.json").read_text())["best"])
    return statistics.mean(values)


def run(runs: str, *arguments: str) -> None:
    """A real process; its failure is ours."""
    environment = {**os.environ, "CAVIAR_RUNS": runs}
    done = subprocess.run([*TRAIN, *arguments], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} left with {done.returncode}:\n{done.stderr}")


def mean(values: list[float]) -> str:
    """Mean ± standard error."""
    spread = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.4g} ± {spread:.2g}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pruners", nargs="+", default=["none", "asha", "median", "hyperband"])
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3, help="to train each winner again with")
    options = parser.parse_args()
    print("| pruner | epochs | of none | pruned | best val/loss | confirmed |")
    print("|---|---|---|---|---|---|")
    whole = 0.0
    with tempfile.TemporaryDirectory() as runs:
        for pruner in options.pruners:
            found = [search(runs, pruner, s, options.trials) for s in range(options.searches)]
            epochs = statistics.mean(f[0] for f in found)
            whole = whole or epochs
            fresh = [confirmed(runs, f[3], options.seeds) for f in found]
            print(
                f"| {pruner} | {epochs:.0f} | {epochs / whole:.0%} | "
                f"{statistics.mean(f[1] for f in found):.1f} of {options.trials} | "
                f"{mean([f[2] for f in found])} | {mean(fresh)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
