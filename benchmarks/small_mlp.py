"""Small MLPs on scikit-learn's digits and wine, many settings trained as one stacked model.

    python benchmarks/small_mlp.py     # are the answers those of trials run alone, how much faster

For the benchmarks, which need thousands of real trainings. A step of such a small model costs
mostly overhead, and a stack of 64 shares it. Initial weights and data order come from each
trial's own seed, so a loss depends neither on its neighbours in the stack nor on their number.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import train_test_split
from torch import nn

STACK = 64  # trials in one stacked model, at most; larger ones are no faster
CAP = 3.0  # of a loss that diverges

# loader, standardise each feature by itself, training examples, hidden units, batch, epochs
TASKS: dict[str, tuple[Callable[..., Any], bool, int, int, int, int]] = {
    "digits": (load_digits, False, 600, 32, 64, 10),
    "wine": (load_wine, True, 100, 16, 16, 12),
}


class Task(NamedTuple):
    """Standardised data, and the sizes of the model."""

    x: torch.Tensor  # (n, features)
    y: torch.Tensor  # (n,)
    x_val: torch.Tensor
    y_val: torch.Tensor
    hidden: int
    batch: int
    epochs: int


class Job(NamedTuple):
    """One training: its setting, and the seed of its initial weights and data order."""

    point: tuple[float, ...]
    """Learning rate, 1 - momentum, weight decay, learning-rate decay per epoch."""
    seed: int


@functools.cache
def task(name: str) -> Task:
    """The task of this name; the split is the same in every search."""
    load, per_feature, n_train, hidden, batch, epochs = TASKS[name]
    x, y = load(return_X_y=True)
    x, x_val, y, y_val = train_test_split(x, y, train_size=n_train, stratify=y, random_state=0)
    mean, std = x.mean(axis=0), x.std(axis=0) if per_feature else x.std()
    x, x_val = (torch.tensor((a - mean) / std, dtype=torch.float32) for a in (x, x_val))
    return Task(x, torch.tensor(y), x_val, torch.tensor(y_val), hidden, batch, epochs)


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


def train_stack(data: Task, jobs: Sequence[Job]) -> list[float]:
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
    return torch.nan_to_num(final, nan=torch.inf, posinf=torch.inf).tolist()


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


def train(data: Task, jobs: Sequence[Job]) -> list[float]:
    """Final validation loss of each job, infinite where training diverged."""
    stacks = (jobs[i : i + STACK] for i in range(0, len(jobs), STACK))
    return [loss for stack in stacks for loss in train_stack(data, stack)]


def difference(data: Task, jobs: Sequence[Job]) -> float:
    """Largest difference between trials of a stack and trials alone, losses capped."""
    both = np.array([train(data, jobs), [train_alone(data, job) for job in jobs]])
    both = np.minimum(np.nan_to_num(both, nan=CAP), CAP)
    return float(np.abs(both[0] - both[1]).max())


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    points = 10 ** rng.uniform([-4, -3, -6, -3], [0, 0, 0, 1], (STACK, 4))
    jobs = [Job(tuple(point), seed) for seed, point in enumerate(points.tolist())]
    for name in TASKS:
        data = task(name)
        start = time.perf_counter()
        train(data, jobs)
        middle = time.perf_counter()
        for job in jobs[:8]:
            train_alone(data, job)
        alone, stacked = (time.perf_counter() - middle) / 8, (middle - start) / len(jobs)
        print(
            f"{name}: {1e3 * stacked:.1f} ms a trial in a stack of {STACK}, {1e3 * alone:.0f} ms "
            f"alone; losses differ by {difference(data, jobs[:16]):.1e} at most"
        )


if __name__ == "__main__":
    main()
