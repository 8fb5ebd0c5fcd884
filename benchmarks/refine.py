"""Does refine help on real training? Searches of 60 trainings each, scored over fresh seeds.

    python benchmarks/refine.py            # both data sets, 64 searches of each kind
    python benchmarks/refine.py --quick    # a minute: 4 searches of each kind

Every trial trains a small MLP on scikit-learn's digits or wine over four wide axes: learning
rate, momentum, weight decay and learning-rate decay. A search gets 60 trainings in all,
confirmation included, and hands over one setting; its score is the mean validation loss of that
setting over ten fresh seeds, each capped at 3 where training diverges. The default form of
refine, `surrogate`, must win or tie (METHOD: "coarse to fine").

Searches of different arms with the same seed share their points, training seeds and fresh seeds,
so that differences between arms are paired. Trials train side by side as one stacked model, with
the answers of trials run alone; every run of this file checks that first, against torch.optim.SGD.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
import optuna
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits
from torch import nn

from caviar.refine import candidates, refine
from caviar.space import Space
from caviar.space.sampling import trial_seed

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
CAP = 3.0
CHUNK = 8  # searches that train side by side
STACK = 64  # trials in one stacked model, at most; more no longer fit the cache


# ---------------------------------------------------------------------------- training
class Task(NamedTuple):
    """Data and the sizes of the model; features are standardised by the training half."""

    x: torch.Tensor  # (n, features)
    y: torch.Tensor  # (n,)
    x_val: torch.Tensor
    y_val: torch.Tensor
    hidden: int
    batch: int
    epochs: int


class Job(NamedTuple):
    """One training: a setting by search coordinates, in the order of SPACE, and its seed."""

    point: tuple[float, ...]
    seed: int


@functools.cache
def task(name: str) -> Task:
    load, per_feature, n_train, hidden, batch, epochs = TASKS[name]
    x, y = load(return_X_y=True)
    x, x_val, y, y_val = train_test_split(x, y, train_size=n_train, stratify=y, random_state=0)
    mean, std = x.mean(axis=0), x.std(axis=0) if per_feature else x.std()
    x, x_val = (torch.tensor((a - mean) / std, dtype=torch.float32) for a in (x, x_val))
    return Task(x, torch.tensor(y), x_val, torch.tensor(y_val), hidden, batch, epochs)


TASKS: dict[str, tuple[Callable[..., Any], bool, int, int, int, int]] = {
    "digits": (load_digits, False, 600, 32, 64, 10),
    "wine": (load_wine, True, 100, 16, 16, 12),
}


def initial(data: Task, rng: torch.Generator) -> list[torch.Tensor]:
    """Weights and biases of one MLP, uniform in ±1/sqrt(inputs) as in nn.Linear."""
    sizes = (data.x.shape[1], data.hidden, int(data.y.max()) + 1)
    shapes = [s for i, o in itertools.pairwise(sizes) for s in ((i, i, o), (i, 1, o))]
    return [(torch.rand(rows, out, generator=rng) * 2 - 1) / n**0.5 for n, rows, out in shapes]


def forward(weights: Sequence[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    w1, b1, w2, b2 = weights  # (T, in, hidden), (T, 1, hidden), (T, hidden, out), (T, 1, out)
    return torch.baddbmm(b2, torch.baddbmm(b1, x, w1).relu(), w2)  # (T, batch, out)


def losses_by_trial(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    each = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
    return each.view(y.shape).mean(dim=1)  # (T,)


def train_stacked(data: Task, jobs: Sequence[Job]) -> list[float]:
    """Final validation loss of each job, trained as one model with a leading axis of trials."""
    rngs = [torch.Generator().manual_seed(job.seed) for job in jobs]
    parts = zip(*(initial(data, rng) for rng in rngs), strict=True)
    weights = [torch.stack(part).requires_grad_() for part in parts]
    velocity = [torch.zeros_like(w) for w in weights]
    settings = torch.tensor([job.point for job in jobs], dtype=torch.float64).T[:, :, None, None]
    lr, momentum, decay = settings[0], (1 - settings[1]).float(), settings[2].float()
    for epoch in range(data.epochs):
        rate = (lr / (1 + settings[3] * epoch)).float()
        order = torch.stack([torch.randperm(len(data.y), generator=rng) for rng in rngs])
        for rows in order.split(data.batch, dim=1):  # (T, batch)
            loss = losses_by_trial(forward(weights, data.x[rows]), data.y[rows]).sum()
            gradients = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for w, v, g in zip(weights, velocity, gradients, strict=True):
                    v.mul_(momentum).add_(g + decay * w)
                    w.sub_(rate * v)
    with torch.no_grad():
        x = data.x_val.expand(len(jobs), *data.x_val.shape)
        final = losses_by_trial(forward(weights, x), data.y_val.expand(len(jobs), -1))
    return torch.nan_to_num(final, nan=torch.inf).tolist()


def train_alone(data: Task, job: Job) -> float:
    """The same training as anyone would write it: one nn.Sequential and torch.optim.SGD."""
    rng = torch.Generator().manual_seed(job.seed)
    w1, b1, w2, b2 = initial(data, rng)
    model = nn.Sequential(nn.Linear(*w1.shape), nn.ReLU(), nn.Linear(*w2.shape))
    for parameter, value in zip(model.parameters(), (w1.T, b1[0], w2.T, b2[0]), strict=True):
        parameter.data.copy_(value)
    lr, complement, decay, lr_decay = job.point
    optimizer = torch.optim.SGD(model.parameters(), lr, 1 - complement, weight_decay=decay)
    for epoch in range(data.epochs):
        optimizer.param_groups[0]["lr"] = lr / (1 + lr_decay * epoch)
        for rows in torch.randperm(len(data.y), generator=rng).split(data.batch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(data.x[rows]), data.y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        return nn.functional.cross_entropy(model(data.x_val), data.y_val).item()


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
    axes = {a.name: optuna.distributions.FloatDistribution(*ends(a), log=True) for a in SPACE}
    jobs, losses = list[Job](), list[float]()
    for number in range(BUDGET - CONFIRM * SEEDS):
        trial = study.ask(axes)
        new = Job(
            tuple(trial.params[name] for name in SPACE.names), trial_seed(seed, "tpe", number)
        )
        losses += yield [new]
        jobs.append(new)
        study.tell(trial, losses[-1])
    return (yield from confirm(seed, jobs, losses, "top_k"))


def ends(axis: Any) -> tuple[float, float]:
    return axis.scale.low, axis.scale.high


BUDGET = sum(STAGES.values()) + CONFIRM * SEEDS
DEFAULT = "30 + 14 + 10, `surrogate`, confirm 3 × 2"
ARMS: dict[str, Callable[[int], Arm]] = {
    "random 60, best one taken": random_best,
    "random 54 + confirm 3 × 2": random_confirmed,
    "TPE 54 + confirm 3 × 2": tpe_confirmed,
    "30 + 14 + 10, `top_k`, confirm 3 × 2": functools.partial(coarse_to_fine, "top_k"),
    DEFAULT: functools.partial(coarse_to_fine, "surrogate"),
}


# ---------------------------------------------------------------------------- benchmark
def train(data: Task, jobs: Sequence[Job], known: dict[Job, float]) -> None:
    """Losses of all jobs into `known`; arms with the same seed share most of their jobs."""
    new = list(dict.fromkeys(job for job in jobs if job not in known))
    for i in range(0, len(new), STACK):
        part = new[i : i + STACK]
        known.update(zip(part, train_stacked(data, part), strict=True))


def scores(name: str, seeds: Sequence[int]) -> np.ndarray:
    """Mean capped loss over fresh seeds, shape (seeds, arms). All searches go in lockstep."""
    data, known = task(name), dict[Job, float]()
    searches = {(seed, arm): make(seed) for seed in seeds for arm, make in ARMS.items()}
    asked = {key: next(search) for key, search in searches.items()}
    chosen: dict[tuple[int, str], list[Job]] = {}
    while asked:
        train(data, [job for jobs in asked.values() for job in jobs], known)
        for key, jobs in list(asked.items()):
            try:
                asked[key] = searches[key].send([known[job] for job in jobs])
            except StopIteration as done:
                del asked[key]
                fresh = [trial_seed(key[0], "score", i) for i in range(FRESH)]
                chosen[key] = [Job(done.value, s) for s in fresh]
    train(data, [job for jobs in chosen.values() for job in jobs], known)
    capped = {key: np.mean([min(known[j], CAP) for j in jobs]) for key, jobs in chosen.items()}
    return np.array([[capped[seed, arm] for arm in ARMS] for seed in seeds])


def one_thread() -> None:
    """Of torch and of the Gaussian process: two threads slow small matrices down."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    threadpool_limits(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def job_of_pool(work: tuple[str, list[int]]) -> tuple[str, list[int], np.ndarray]:
    return *work, scores(*work)


def check(name: str) -> float:
    """Largest difference between trials trained side by side and alone, losses capped."""
    jobs = draw(SPACE, 0, "check", 16)
    alone = [train_alone(task(name), job) for job in jobs]
    both = np.nan_to_num([alone, train_stacked(task(name), jobs)], nan=CAP)
    return float(np.abs(np.diff(np.minimum(both, CAP), axis=0)).max())


def table(results: dict[str, np.ndarray]) -> str:
    """Mean ± s.e. for each arm, and the paired difference to the default form."""
    names = [c for n in results for c in (n, f"{n}: minus the default", f"{n}: default better")]
    lines = ["| search | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for i, arm in enumerate(ARMS):
        cells = [f"**{arm}**" if arm == DEFAULT else arm]
        for score in results.values():
            minus = score[:, i] - score[:, list(ARMS).index(DEFAULT)]
            pair = "–", "–"
            if arm != DEFAULT:
                pair = mean_and_error(minus, "+"), f"{(minus > 0).sum()} of {len(minus)}"
            cells += [mean_and_error(score[:, i]), *pair]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


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
    for name in TASKS:
        print(f"{name}: trials side by side differ from trials alone by {check(name):.1e} at most")
    seeds = list(range(args.seed, args.seed + count))
    work = [(name, seeds[i : i + CHUNK]) for name in TASKS for i in range(0, count, CHUNK)]
    results = {name: np.full((count, len(ARMS)), np.nan) for name in TASKS}
    with multiprocessing.get_context("spawn").Pool(args.workers, one_thread) as pool:
        for done, (name, part, score) in enumerate(pool.imap_unordered(job_of_pool, work), 1):
            results[name][np.array(part) - args.seed] = score
            seconds = time.perf_counter() - start
            print(f"{seconds:5.0f} s  {done} of {len(work)} parts  ({name})", flush=True)

    print(f"\n{count} searches of each kind, {BUDGET} trainings each; mean ± standard error\n")
    print(table(results))
    minutes = (time.perf_counter() - start) / 60
    print(f"\n{minutes:.1f} minutes, {args.workers} workers. The same numbers again:")
    print(f"    python benchmarks/refine.py --searches {count} --seed {args.seed}")


if __name__ == "__main__":
    main()
