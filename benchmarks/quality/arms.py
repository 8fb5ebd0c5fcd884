"""Ways to search. Each is a generator: it asks for trainings, is sent their curves, and returns the
setting that it chose.

An arm may stop a training after some epochs, and go on with it later; what it costs is the epochs
that it has seen. All confirm alike: the best few again with fresh seeds, lowest mean wins.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
import optuna
from numpy.typing import NDArray
from tasks import Job, Task

from caviar.ledger.trials import distribution
from caviar.refine import candidates, picked, refine
from caviar.space import Space
from caviar.space.sampling import trial_seed

Array = NDArray[np.float64]


class Ask(NamedTuple):
    """A training, up to the end of an epoch."""

    job: Job
    epochs: int


ASKED: dict[Any, list[Job]] = {}  # of each kind and search, what its sampler has asked for
Arm = Generator[list[Ask], list[Array], Job]


class Search(NamedTuple):
    """What an arm is given."""

    task: Task
    seed: int
    budget: int
    """In full trainings, confirmation included."""

    @property
    def confirms(self) -> tuple[int, int]:
        """Settings that get a fresh seed, and how many of them another one."""
        return (2, 2) if self.budget < 40 else (4, 2) if self.budget < 100 else (6, 3)

    @property
    def trials(self) -> int:
        """Full trainings before the confirmation."""
        return self.budget - sum(self.confirms)

    @property
    def space(self) -> Space:
        return self.task.searched

    def whole(self, jobs: Sequence[Job]) -> list[Ask]:
        """Trainings of full length."""
        return [Ask(job, self.task.epochs) for job in jobs]


def draw(
    search: Search, space: Space, stage: str, count: int, sampler: str = "random"
) -> list[Job]:
    columns = space.draw(search.seed, stage, count, sampler=sampler)
    names = search.space.names
    points = zip(*(columns[name].tolist() for name in names), strict=True)
    return [Job(point, trial_seed(search.seed, stage, i)) for i, point in enumerate(points)]


def as_points(search: Search, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    return [dict(zip(search.space.names, job.point, strict=True)) for job in jobs]


def confirm(search: Search, jobs: list[Job], losses: Sequence[float], method: str) -> Arm:
    """The best few again with a fresh seed, the better half of them with another one; the lowest
    mean wins."""
    first, second = search.confirms
    few = candidates(search.space, as_points(search, jobs), losses, first, method)
    if not few:
        return jobs[0]
    seeds = [trial_seed(search.seed, "confirm", i) for i in range(2)]
    once = yield search.whole([Job(jobs[i].point, seeds[0]) for i in few])
    ends = [float(curve[-1]) for curve in once]
    better = np.argsort(ends, kind="stable")[:second]
    twice = yield search.whole([Job(jobs[few[i]].point, seeds[1]) for i in better])
    means = [(ends[i] + curve[-1]) / 2 for i, curve in zip(better, twice, strict=True)]
    return jobs[few[better[int(np.argmin(means))]]]


# ---------------------------------------------------------------------------- peers
def drawn(sampler: str, factor: int, search: Search) -> Arm:
    """All at once."""
    jobs = draw(search, search.space, "01_coarse", factor * search.trials, sampler)
    losses = [curve[-1] for curve in (yield search.whole(jobs))]
    return (yield from confirm(search, jobs, losses, "top_k"))


def by_optuna(name: str, search: Search) -> Arm:
    """One after the other, by a sampler of Optuna's."""
    key = name, search.task.epochs, search.space, search.seed
    jobs, losses = list[Job](), list[float]()
    if len(ASKED.get(key, ())) >= search.trials:  # the beginning of a larger search
        jobs = ASKED[key][: search.trials]
        losses = [float(curve[-1]) for curve in (yield search.whole(jobs))]
        return (yield from confirm(search, jobs, losses, "top_k"))
    study = _study(SAMPLERS[name](search.seed))
    for number in range(search.trials):
        trial, job = _asked(study, search, number)
        (curve,) = yield search.whole([job])
        jobs.append(job)
        losses.append(float(curve[-1]))
        # A diverged one is told as the worst there is, which these samplers can use.
        study.tell(trial, min(losses[-1], search.task.cap))
    ASKED[key] = jobs
    return (yield from confirm(search, jobs, losses, "top_k"))


def by_smac(search: Search) -> Arm:
    """One after the other, by SMAC3. A small search is not the beginning of a larger one: how many
    trials there will be decides after how many the forest takes over."""
    from forest import Forest  # not everybody has SMAC3

    forest = Forest(search.space, search.seed, search.trials)
    jobs, losses = list[Job](), list[float]()
    for number in range(search.trials):
        job = Job(forest.ask(), trial_seed(search.seed, "trial", number))
        (curve,) = yield search.whole([job])
        jobs.append(job)
        losses.append(float(curve[-1]))
        forest.tell(min(losses[-1], search.task.cap))
    return (yield from confirm(search, jobs, losses, "top_k"))


def hyperband(search: Search) -> Arm:
    """TPE, and Hyperband's brackets of asynchronous halving, until the epochs are spent."""
    epochs = search.task.epochs
    pruner = optuna.pruners.HyperbandPruner(1, epochs, reduction_factor=3)
    study = _study(optuna.samplers.TPESampler(seed=search.seed), pruner)
    jobs, losses, left, number = list[Job](), list[float](), search.trials * epochs, 0
    while left >= epochs:
        trial, job = _asked(study, search, number)
        number += 1
        seen = 0
        while True:
            seen += 1
            (curve,) = yield [Ask(job, seen)]
            trial.report(min(curve[-1], search.task.cap), seen)
            if seen == epochs or trial.should_prune():
                break
        jobs.append(job)
        losses.append(curve[-1])
        left -= seen
        pruned = optuna.trial.TrialState.PRUNED
        study.tell(trial, *([None, pruned] if seen < epochs else [min(curve[-1], search.task.cap)]))
    return (yield from confirm(search, jobs, losses, "top_k"))


def _study(sampler: Any, pruner: Any = None) -> optuna.Study:
    # Hyperband deals trials out to its brackets by the study's name, which would be a random one.
    return optuna.create_study(study_name="search", sampler=sampler, pruner=pruner)


def _asked(study: optuna.Study, search: Search, number: int) -> tuple[optuna.Trial, Job]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trial = study.ask({axis.name: distribution(axis) for axis in search.space})
    point = [trial.params[axis.name] for axis in search.space]
    return trial, Job(tuple(point), trial_seed(search.seed, "trial", number))


# ---------------------------------------------------------------------------- ours
def rounds(search: Search, rung: float = 0.33, keep: float = 0.33, acquisition: bool = True) -> Arm:
    """As `caviar search`: shares of 30, 14 and 10, each round in a box that is read from all trials
    before it, and picked there by expected improvement; those of the first are drawn, and wait at a
    rung, from which the best third goes on."""
    epochs, space = search.task.epochs, search.space
    jobs, losses = list[Job](), list[float]()
    spent, total = 0, search.trials * epochs
    for stage, share in (("01_coarse", 30 / 54), ("02_fine", 44 / 54), ("03_finest", 1.0)):
        if jobs:
            points = as_points(search, jobs)
            space = refine(search.space, space, points, losses, seed=search.seed).space
        first = math.ceil(rung * epochs) if rung and not jobs else epochs
        left = share * total - spent
        count = max(2, int(left / (first + keep * (epochs - first))))
        if jobs and acquisition:
            rows = picked(search.space, space, points, losses, count, search.seed, stage)
            values = [tuple(row.values()) for row in rows]
            new = [Job(v, trial_seed(search.seed, stage, i)) for i, v in enumerate(values)]
        else:
            new = draw(search, space, stage, count)
        ends = [float(curve[-1]) for curve in (yield [Ask(job, first) for job in new])]
        spent += first * count
        if first < epochs:
            best = [int(i) for i in np.argsort(ends, kind="stable") if np.isfinite(ends[i])]
            going = best[: max(1, round(keep * count))]
            for i, curve in zip(going, (yield search.whole([new[i] for i in going])), strict=True):
                ends[i] = float(curve[-1])
            spent += (epochs - first) * len(going)
        jobs += new
        losses += ends
    return (yield from confirm(search, jobs, losses, "surrogate"))


SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "TPE": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "CMA-ES": lambda seed: optuna.samplers.CmaEsSampler(seed=seed),
    "GP": lambda seed: optuna.samplers.GPSampler(seed=seed),
}
OURS, DRAWN = "Caviar", "Caviar, drawn"
ARMS: dict[str, Callable[[Search], Arm]] = {
    "random": functools.partial(drawn, "random", 1),
    "random × 2": functools.partial(drawn, "random", 2),
    "Sobol": functools.partial(drawn, "sobol", 1),
    **{name: functools.partial(by_optuna, name) for name in SAMPLERS},
    "SMAC3": by_smac,
    "TPE + Hyperband": hyperband,
    OURS: rounds,
    DRAWN: functools.partial(rounds, acquisition=False),
}
# Trainings up to which a kind is compared: beyond, the arithmetic of Optuna's GP would take as long
# as everything else, and SMAC3's 23 CPU-seconds for each search of eight axes (12 for 60).
MOST = {"GP": 60, "SMAC3": 60}
# What a kind needs that is not installed with Caviar.
PACKAGES = {"CMA-ES": "cmaes", "SMAC3": "smac"}
