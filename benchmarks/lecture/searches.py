"""Searches of 60 small trainings, by the project's own refine and confirm, and what they score.

    values, trainings = scores("digits", seeds=range(16), arms={"ours": coarse_to_fine})

Every trial trains a small MLP (`trainings.py`) over four wide axes. A search hands over one
setting; its score is the mean validation loss of that setting over fresh seeds, each capped at
CAP, 3, where training diverges.

Searches of different kinds with the same seed share their coarse points, training seeds and fresh
seeds: their differences are paired, and common trials are trained once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

import numpy as np

from caviar.refine import candidates, refine
from caviar.space import Space
from caviar.space.sampling import trial_seed
from trainings import CAP, Job, train

SPACE = Space.parse(
    {
        "lr": {"scale": "log", "low": 1e-6, "high": 10},
        "momentum": {"scale": "one_minus_log", "low": 0, "high": 0.999},
        "weight_decay": {"scale": "log", "low": 1e-6, "high": 1},
        "lr_decay": {"scale": "log", "low": 1e-3, "high": 10},
    }
)
STAGES = {"01_coarse": 30, "02_fine": 14, "03_finest": 10}
CONFIRM, SEEDS = 3, 2  # settings, fresh seeds each
FRESH = 10  # seeds of the score
BUDGET = sum(STAGES.values()) + CONFIRM * SEEDS

# A search is a generator: it yields jobs, is sent their losses, and returns the setting it chose.
Arm = Generator[list[Job], list[float], tuple[float, ...]]


def draw(space: Space, seed: int, stage: str, count: int) -> list[Job]:
    columns = space.draw(seed, stage, count)
    points = zip(*(columns[name].tolist() for name in SPACE.names), strict=True)
    return [Job(point, trial_seed(seed, stage, i)) for i, point in enumerate(points)]


def as_points(jobs: Sequence[Job]) -> list[dict[str, float]]:
    return [dict(zip(SPACE.names, job.point, strict=True)) for job in jobs]


def random_search(budget: int, confirmed: bool, seed: int) -> Arm:
    """One random round; its trainings, confirmation included, are `budget`."""
    count = budget - (CONFIRM * SEEDS if confirmed else 0)
    jobs = draw(SPACE, seed, "01_coarse", count)
    losses = yield jobs
    if confirmed:
        return (yield from confirm(seed, jobs, losses, "top_k"))
    return jobs[int(np.argmin(losses))].point


def coarse_to_fine(seed: int) -> Arm:
    """Three rounds, and the confirmation: `BUDGET` trainings."""
    space, jobs, losses = SPACE, list[Job](), list[float]()
    for stage, count in STAGES.items():
        if jobs:
            space = refine(SPACE, space, as_points(jobs), losses, seed=seed).space
        new = draw(space, seed, stage, count)
        losses += yield new
        jobs += new
    return (yield from confirm(seed, jobs, losses, "surrogate"))


def confirm(seed: int, jobs: list[Job], losses: list[float], method: str) -> Arm:
    """The best few again; the lowest mean over the fresh seeds wins."""
    few = candidates(SPACE, as_points(jobs), losses, CONFIRM, method)
    seeds = [trial_seed(seed, "confirm", i) for i in range(SEEDS)]
    again = yield [Job(jobs[i].point, s) for i in few for s in seeds]
    means = np.reshape(again, (len(few), SEEDS)).mean(axis=1)
    return jobs[few[int(means.argmin())]].point


def scores(
    name: str, seeds: Sequence[int], arms: Mapping[str, Callable[[int], Arm]]
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


def learn(name: str, asked: Iterable[Sequence[Job]], known: dict[Job, float]) -> None:
    """Train what is asked and not yet known; searches with the same seed share many trials."""
    new = list(dict.fromkeys(job for jobs in asked for job in jobs if job not in known))
    known.update(zip(new, train(name, new), strict=True))
