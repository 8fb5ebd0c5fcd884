"""Does refine help on real training? Searches of 60 trainings each, scored over fresh seeds.

    python benchmarks/refine.py            # 64 searches of each kind on each data set
    python benchmarks/refine.py --quick    # 4 of each, two minutes

Every trial trains a small MLP (`trainings.py`) on digits or wine over four wide axes. A search
has 60 trainings in all, confirmation included, and hands over one setting. Its score is the mean
validation loss of that setting over ten fresh seeds, each capped at 3 where training diverges.
The default form of refine, `surrogate`, must win or tie.

Searches of different kinds with the same seed share their coarse points, training seeds and
fresh seeds: their differences are paired, and common trials are trained once.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

import numpy as np
import optuna
import torch
from threadpoolctl import threadpool_limits

from caviar.refine import candidates, refine
from caviar.space import Space
from caviar.space.sampling import trial_seed
from trainings import CAP, TASKS, Job, train

SPACE = Space.parse(
    {
        "lr": {"scale": "log", "low": 1e-6, "high": 10},
        "momentum": {"scale": "one_minus_log", "low": 0, "high": 0.999},
        "weight_decay": {"scale": "log", "low": 1e-6, "high": 1},
        "lr_decay": {"scale": "log", "low": 1e-3, "high": 10},
    }
)
ENDS = {axis.name: (axis.scale.low, axis.scale.high) for axis in SPACE}
STAGES = {"01_coarse": 30, "02_fine": 14, "03_finest": 10}
CONFIRM, SEEDS = 3, 2  # settings, fresh seeds each
FRESH = 10  # seeds of the score
BUDGET = sum(STAGES.values()) + CONFIRM * SEEDS
DECIDES = 16  # searches, at least, for a verdict; fewer have no standard error worth the name
CHUNK = 16  # searches that run in lockstep, so that their trials fill a stack

# ---------------------------------------------------------------------------- arms
# An arm is a generator: it yields jobs, is sent their losses, and returns the setting it chose.
Arm = Generator[list[Job], list[float], tuple[float, ...]]


def draw(space: Space, seed: int, stage: str, count: int) -> list[Job]:
    columns = space.draw(seed, stage, count)
    points = zip(*(columns[name].tolist() for name in SPACE.names), strict=True)
    return [Job(point, trial_seed(seed, stage, i)) for i, point in enumerate(points)]


def as_points(jobs: Sequence[Job]) -> list[dict[str, float]]:
    return [dict(zip(SPACE.names, job.point, strict=True)) for job in jobs]


def confirm(seed: int, jobs: list[Job], losses: list[float], method: str) -> Arm:
    """The best few again; the lowest mean over the fresh seeds wins."""
    few = candidates(SPACE, as_points(jobs), losses, CONFIRM, method)
    seeds = [trial_seed(seed, "confirm", i) for i in range(SEEDS)]
    again = yield [Job(jobs[i].point, s) for i in few for s in seeds]
    means = np.reshape(again, (len(few), SEEDS)).mean(axis=1)
    return jobs[few[int(means.argmin())]].point


def random_best(seed: int) -> Arm:
    jobs = draw(SPACE, seed, "01_coarse", BUDGET)
    losses = yield jobs
    return jobs[int(np.argmin(losses))].point


def random_confirmed(seed: int) -> Arm:
    jobs = draw(SPACE, seed, "01_coarse", BUDGET - CONFIRM * SEEDS)
    losses = yield jobs
    return (yield from confirm(seed, jobs, losses, "top_k"))


def coarse_to_fine(method: str, seed: int) -> Arm:
    space, jobs, losses = SPACE, list[Job](), list[float]()
    for stage, count in STAGES.items():
        if jobs:
            space = refine(SPACE, space, as_points(jobs), losses, method=method, seed=seed).space
        new = draw(space, seed, stage, count)
        losses += yield new
        jobs += new
    return (yield from confirm(seed, jobs, losses, method))


def tpe_confirmed(seed: int) -> Arm:
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    jobs, losses = list[Job](), list[float]()
    for number in range(BUDGET - CONFIRM * SEEDS):
        trial = study.ask()
        point = [trial.suggest_float(name, *ends, log=True) for name, ends in ENDS.items()]
        new = Job(tuple(point), trial_seed(seed, "tpe", number))
        losses += yield [new]
        jobs.append(new)
        study.tell(trial, losses[-1])
    return (yield from confirm(seed, jobs, losses, "top_k"))


DEFAULT = "30 + 14 + 10, `surrogate`, confirm 3 × 2"
ARMS: dict[str, Callable[[int], Arm]] = {
    "random 60, best one taken": random_best,
    "random 54 + confirm 3 × 2": random_confirmed,
    "TPE 54 + confirm 3 × 2": tpe_confirmed,
    "30 + 14 + 10, `top_k`, confirm 3 × 2": functools.partial(coarse_to_fine, "top_k"),
    DEFAULT: functools.partial(coarse_to_fine, "surrogate"),
}


# ---------------------------------------------------------------------------- benchmark
def learn(name: str, asked: Iterable[Sequence[Job]], known: dict[Job, float]) -> None:
    """Train what is asked and not yet known; searches with the same seed share many trials."""
    new = list(dict.fromkeys(job for jobs in asked for job in jobs if job not in known))
    known.update(zip(new, train(name, new), strict=True))


def scores(
    name: str, seeds: Sequence[int], arms: Mapping[str, Callable[[int], Arm]] = ARMS
) -> tuple[np.ndarray, int]:
    """Mean capped loss over fresh seeds, shape (seeds, arms), and how many trainings it took.

    All searches go in lockstep, so that their trials fill a stack.
    """
    known = dict[Job, float]()
    searches = {(seed, arm): make(seed) for seed in seeds for arm, make in arms.items()}
    asked = {key: next(search) for key, search in searches.items()}
    chosen: dict[tuple[int, str], list[Job]] = {}
    while asked:
        learn(name, asked.values(), known)
        for key, jobs in list(asked.items()):
            try:
                asked[key] = searches[key].send([known[job] for job in jobs])
            except StopIteration as done:
                del asked[key]
                fresh = [trial_seed(key[0], "score", i) for i in range(FRESH)]
                chosen[key] = [Job(done.value, s) for s in fresh]
    learn(name, chosen.values(), known)
    capped = {key: np.mean([min(known[j], CAP) for j in jobs]) for key, jobs in chosen.items()}
    return np.array([[capped[seed, arm] for arm in arms] for seed in seeds]), len(known)


def one_thread() -> None:
    """Of torch and of the Gaussian process: two threads slow small matrices down."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    threadpool_limits(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def job_of_pool(work: tuple[str, list[int]]) -> tuple[str, list[int], np.ndarray]:
    return *work, scores(*work)[0]


def table(results: dict[str, np.ndarray]) -> str:
    """For each kind of search its mean and median, and paired with the default the difference
    and in how many searches the default was better and worse."""
    heads = ("{}", "median", "minus default", "default better : worse")
    names = [head.format(name) for name in results for head in heads]
    lines = ["| search | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for i, arm in enumerate(ARMS):
        cells = [f"**{arm}**" if arm == DEFAULT else arm]
        for score in results.values():
            minus = score[:, i] - score[:, list(ARMS).index(DEFAULT)]
            cells += [mean_and_error(score[:, i]), f"{np.median(score[:, i]):.4f}"]
            wins = f"{(minus > 0).sum()} : {(minus < 0).sum()}"
            cells += ["–", "–"] if arm == DEFAULT else [mean_and_error(minus, "+"), wins]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdict(score: np.ndarray) -> str:
    """Which arms beat the default by more than two standard errors."""
    minus = score - score[:, [list(ARMS).index(DEFAULT)]]
    clear = minus.mean(axis=0) < -2 * minus.std(axis=0, ddof=1) / len(minus) ** 0.5
    better = [arm for arm, beats in zip(ARMS, clear, strict=True) if beats]
    return f"beaten by {', '.join(better)}" if better else "wins or ties"


def mean_and_error(x: np.ndarray, sign: str = "") -> str:
    return f"{x.mean():{sign}.4f} ± {x.std(ddof=1) / len(x) ** 0.5:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="4 searches of each kind")
    parser.add_argument("--searches", type=int, help="of each kind and data set (default 64)")
    parser.add_argument("--seed", type=int, default=0, help="of the first search (default 0)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    args = parser.parse_args()
    count = args.searches or (4 if args.quick else 64)
    if count < 2:
        parser.error(f"--searches {count}: a standard error takes at least 2")

    start = time.perf_counter()
    one_thread()
    seeds = list(range(args.seed, args.seed + count))
    work = [(name, seeds[i : i + CHUNK]) for name in TASKS for i in range(0, count, CHUNK)]
    results = {name: np.full((count, len(ARMS)), np.nan) for name in TASKS}
    with multiprocessing.get_context("spawn").Pool(args.workers, one_thread) as pool:
        for done, (name, part, score) in enumerate(pool.imap_unordered(job_of_pool, work), 1):
            results[name][np.array(part) - args.seed] = score
            seconds = time.perf_counter() - start
            print(f"{seconds:5.0f} s  {done} of {len(work)} parts  ({name})", flush=True)

    print(f"\n{count} searches of each kind, {BUDGET} trainings each; mean ± standard error\n")
    print(table(results) + "\n")
    for name, score in results.items() if count >= DECIDES else ():
        print(f"{name}: the default, {DEFAULT}, {verdict(score)} (two standard errors)")
    minutes = (time.perf_counter() - start) / 60
    print(f"\n{minutes:.1f} minutes, {args.workers} workers. The same numbers again:")
    print(f"    python benchmarks/refine.py --searches {count} --seed {args.seed}")


if __name__ == "__main__":
    main()
