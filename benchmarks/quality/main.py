"""Which search finds the best setting? Nine really trained tasks, the same epochs for everyone.

    python benchmarks/quality/main.py                  # eight searches of each kind: half an hour
    python benchmarks/quality/main.py --searches 16    # an hour: those of docs/quality.md
    python benchmarks/quality/main.py --quick          # four searches of 20 trainings, minutes
    python benchmarks/quality/main.py --only Caviar random --tasks wine --budgets 60
    python benchmarks/quality/main.py --page           # from the last results, docs/quality.md

CMA-ES takes `pip install cmaes`, SMAC3 `pip install smac`; each is left out without.

A search spends the epochs of 20, 60 or 120 trainings, confirmation included, and hands over one
setting. Its score is the mean validation loss of that setting over ten fresh seeds; one that
diverges counts as a loss that is worse than doing nothing. All searches of a task go in lockstep,
so that the trainings of all of them fill a stack; searches of different kinds with the same seed
share fresh seeds, and those that draw at random share points, so differences are paired.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
import warnings
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from arms import ARMS, MOST, PACKAGES, Ask, Search
from page import tables, write_page
from tasks import TASKS, Job
from threadpoolctl import threadpool_limits
from trained import curves

from caviar.space.sampling import trial_seed

BUDGETS = (20, 60, 120)
FRESH = 10  # seeds of the score
RESULTS = Path(__file__).parent / "results.json"

Scores = dict[str, dict[str, dict[str, list[list[float]]]]]
"""By task, budget and arm: of each search, its score and the share of fresh seeds that diverged."""


def search_all(
    name: str, budgets: Sequence[int], seeds: Sequence[int], arms: Sequence[str]
) -> dict[str, dict[str, list[list[float]]]]:
    """All searches of a task, by budget and arm."""
    task, known = TASKS[name], dict[Job, Any]()

    def learn(jobs: Iterable[Job]) -> None:
        new = list(dict.fromkeys(job for job in jobs if job not in known))
        if new:
            known.update(zip(new, curves(task, new), strict=True))

    found: dict[str, dict[str, list[list[float]]]] = {}
    # The largest first: a smaller search that goes one by one is its beginning.
    for budget in sorted(budgets, reverse=True):
        kinds = [arm for arm in arms if budget <= MOST.get(arm, budget)]
        searches = {(s, arm): ARMS[arm](Search(task, s, budget)) for arm in kinds for s in seeds}
        asked: dict[Any, list[Ask]] = {key: next(search) for key, search in searches.items()}
        seen: dict[Any, dict[Job, int]] = {key: {} for key in searches}
        chosen: dict[Any, Job] = {}
        while asked:
            learn(ask.job for asks in asked.values() for ask in asks)
            for key, asks in list(asked.items()):
                # On, until it asks for a training that nobody has seen: those of all fill a stack.
                while key not in chosen and all(ask.job in known for ask in asks):
                    for job, epochs in asks:
                        seen[key][job] = max(epochs, seen[key].get(job, 0))
                    try:
                        curves_so_far = [known[job][:epochs] for job, epochs in asks]
                        asks = searches[key].send(curves_so_far)
                    except StopIteration as done:
                        chosen[key] = done.value
                asked[key] = asks
            asked = {key: asks for key, asks in asked.items() if key not in chosen}
        for (_, arm), jobs in seen.items():
            allowed = budget * task.epochs * (2 if arm == "random × 2" else 1)
            assert sum(jobs.values()) <= allowed, (arm, sum(jobs.values()), allowed)
        fresh = {
            key: [Job(job.point, trial_seed(key[0], "score", i)) for i in range(FRESH)]
            for key, job in chosen.items()
        }
        learn(job for jobs in fresh.values() for job in jobs)
        scores: dict[str, list[list[float]]] = {arm: [] for arm in kinds}
        for seed, arm in searches:
            ends = np.array([known[job][-1] for job in fresh[seed, arm]])
            capped = float(np.minimum(ends, task.cap).mean())
            scores[arm].append([capped, float(np.isinf(ends).mean())])
        found[str(budget)] = scores
    return found


def one_thread() -> None:
    """Of torch and of the models of all searches."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    threadpool_limits(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")


def part(work: tuple[str, list[int], list[int], list[str]]) -> tuple[str, Any]:
    return work[0], search_all(*work)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="four searches of 20 trainings")
    parser.add_argument("--searches", type=int, default=8, help="of each kind (default 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the first search")
    parser.add_argument("--only", nargs="+", choices=[*ARMS], default=[*ARMS], metavar="KIND")
    parser.add_argument("--tasks", nargs="+", choices=[*TASKS], default=[*TASKS])
    parser.add_argument("--budgets", nargs="+", type=int, default=[*BUDGETS])
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are kept")
    parser.add_argument("--page", action="store_true", help="write docs/quality.md, train nothing")
    args = parser.parse_args()
    if args.page:
        write_page(json.loads(args.results.read_text()))
        return
    if args.quick:
        args.searches, args.budgets = 4, [20]
    for kind, package in PACKAGES.items():
        if find_spec(package) is None and kind in args.only:
            print(f"{kind} is left out: pip install {package}")
            args.only.remove(kind)
    one_thread()
    start = time.perf_counter()
    seeds = list(range(args.seed, args.seed + args.searches))
    work = [(name, args.budgets, seeds, args.only) for name in args.tasks]
    how = {"searches": args.searches, "seed": args.seed}
    scores: Scores = {}
    if args.results.exists():  # of the same searches: other kinds, or other budgets, are added
        before = json.loads(args.results.read_text())
        scores = before["scores"] if before["how"] == how else {}
    os.environ["PYTHONHASHSEED"] = "0"  # of the workers: SMAC3 goes through sets of settings
    with multiprocessing.get_context("spawn").Pool(args.workers, one_thread) as pool:
        for done, (name, found) in enumerate(pool.imap_unordered(part, work), 1):
            for budget, arms in found.items():
                scores.setdefault(name, {}).setdefault(budget, {}).update(arms)
            seconds = time.perf_counter() - start
            print(f"{seconds:5.0f} s  {done} of {len(work)} tasks  ({name})", flush=True)
            ordered = {name: scores[name] for name in TASKS if name in scores}
            args.results.write_text(json.dumps({"how": how, "scores": ordered}) + "\n")
    print(tables(json.loads(args.results.read_text())))


if __name__ == "__main__":
    main()
