"""How often "another round is (hardly) worth its trainings" was right, on the nine tasks.

    python benchmarks/quality/stopping.py               # minutes
    python benchmarks/quality/stopping.py --searches 4

Searches of 54 trainings in rounds of 30, 14 and 10 go on with two more rounds of 10. Before each
round but the first, `caviar.refine.stopping` says what it expects; behind it, the best settings of
before and after, by the sum of ranks that confirm chooses by, are trained with ten fresh seeds. A
round was worth it if that gained more than a quarter of the seeds' own standard deviation.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os

import numpy as np
from arms import Search, as_points, draw
from main import one_thread
from tasks import TASKS, Job
from trained import curves

from caviar.refine import candidates, refine
from caviar.refine.stopping import WORTH, expected_gain
from caviar.space.sampling import trial_seed

ROUNDS = (30, 14, 10, 10, 10)
FRESH = 10


def follow(work: tuple[str, list[int]]) -> list[tuple[str, int, float, float, float, float]]:
    """Of each search and round: expected gain and noise, then true gain and noise of seeds."""
    name, seeds = work
    task, found = TASKS[name], []
    jobs: dict[int, list[Job]] = {seed: [] for seed in seeds}
    losses: dict[int, list[float]] = {seed: [] for seed in seeds}
    best: dict[tuple[int, int], Job] = {}
    outlooks = {}
    spaces = dict.fromkeys(seeds, task.searched)
    for number, count in enumerate(ROUNDS):
        new = {}
        for seed in seeds:
            search = Search(task, seed, 60)
            if number:
                points = as_points(search, jobs[seed])
                told = points, losses[seed]
                spaces[seed] = refine(task.searched, spaces[seed], *told, seed=seed).space
                outlooks[seed, number] = expected_gain(
                    task.searched, spaces[seed], *told, count, seed
                )
            new[seed] = draw(search, spaces[seed], f"0{number}", count)
        trained = iter(curves(task, [job for seed in seeds for job in new[seed]]))
        for seed in seeds:
            jobs[seed] += new[seed]
            losses[seed] += [float(next(trained)[-1]) for _ in new[seed]]
            search = Search(task, seed, 60)
            # The most promising one, which is not only the lowest.
            few = candidates(task.searched, as_points(search, jobs[seed]), losses[seed], 2)
            best[seed, number] = jobs[seed][few[-1]]
    fresh = [
        Job(job.point, trial_seed(seed, "score", i))
        for (seed, _), job in best.items()
        for i in range(FRESH)
    ]
    unique = list(dict.fromkeys(fresh))
    ends = dict(zip(unique, (min(c[-1], task.cap) for c in curves(task, unique)), strict=True))
    scores = np.array([ends[job] for job in fresh]).reshape(len(best), FRESH)
    by_key = dict(zip(best, scores, strict=True))
    for (seed, number), outlook in outlooks.items():
        if outlook is None:
            continue
        before, after = by_key[seed, number - 1], by_key[seed, number]
        noise = float(np.sqrt((before.var(ddof=1) + after.var(ddof=1)) / 2))
        gain = float(before.mean() - after.mean())
        found.append((name, number, outlook.gain, outlook.noise, gain, noise))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--searches", type=int, default=12)
    parser.add_argument("--tasks", nargs="+", choices=[*TASKS], default=[*TASKS])
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    args = parser.parse_args()
    one_thread()
    rows = []
    with multiprocessing.get_context("spawn").Pool(args.workers, one_thread) as pool:
        for found in pool.imap_unordered(
            follow, [(name, list(range(args.searches))) for name in args.tasks]
        ):
            rows += found
            print(found[0][0], flush=True)
    print("| round | said worth | and it was | said hardly worth | and it was not |")
    print("|---|---|---|---|---|")
    for number in range(1, len(ROUNDS)):
        part = np.array([row[2:] for row in rows if row[1] == number])
        said, was = part[:, 0] > WORTH * part[:, 1], part[:, 2] > WORTH * part[:, 3]
        yes = f"{was[said].mean():.0%}" if said.any() else "–"
        no = f"{(~was[~said]).mean():.0%}" if (~said).any() else "–"
        print(f"| {number + 1} | {said.sum()} | {yes} | {(~said).sum()} | {no} |")
    every = np.array([row[2:] for row in rows])
    ratio = every[:, :1] / every[:, 1:2], every[:, 2:3] / every[:, 3:4]
    print(
        f"expected and true gain in units of noise: {np.median(ratio[0]):.2f}, "
        f"{np.median(ratio[1]):.2f} (medians); worth in all: "
        f"{(every[:, 2] > WORTH * every[:, 3]).mean():.0%}"
    )
    order = [np.argsort(np.argsort(r[:, 0])) for r in ratio]
    print(f"rank correlation of the two: {np.corrcoef(*order)[0, 1]:.2f}")


if __name__ == "__main__":
    main()
