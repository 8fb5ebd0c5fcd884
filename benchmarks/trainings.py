"""Small trainings on scikit-learn's digits and wine, by the thousand, as the library stacks them.

    python benchmarks/trainings.py     # milliseconds a training, by the number of jobs in a call

For the benchmarks, which need thousands of real trainings: `train` is what `hydra/launcher=stacked`
does with the trials of a stage, without its ledger and its files. Data, network, optimizer and
schedule are those of conf/: an MLP, SGD with momentum and weight decay, lr / (1 + rate · epoch).

Different from conf/ are the sizes, which keep a training short: one hidden layer, and 600 examples
of digits and 100 of wine to train on. All others validate, but for one: the test set, which nobody
opens here, may not be empty. The split is the same for all jobs; weights and data order come from
each job's own seed, so a loss depends neither on its neighbours in the stack nor, but for the last
digits, on their number.
"""

from __future__ import annotations

import functools
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from caviar.base.result import DIVERGED, Result
from caviar.config import resolvers
from caviar.stacked.members import Member, built
from caviar.stacked.run import train_all
from caviar.training import train as train_alone

CONF = Path(__file__).resolve().parents[1] / "conf"
STACK = 128  # trainings in one stack, at most; larger ones are hardly faster
CAP = 3.0  # of a loss that diverges
GROUPS = (
    "data=digits",
    "model=mlp",
    "model.depth=1",
    "optimizer=sgd",
    "scheduler=inverse_time",
    "trainer=cpu",
    "callbacks=none",
    "logger=none",
    "paths.output=?",
)


class Task(NamedTuple):
    """A data set, and the sizes of its network and of a training."""

    examples: int
    trained: int
    """Examples to train on."""
    features: int
    classes: int
    width: int
    batch_size: int
    epochs: int


TASKS = {
    "digits": Task(1797, 600, 64, 10, width=32, batch_size=64, epochs=10),
    "wine": Task(178, 100, 13, 3, width=16, batch_size=16, epochs=12),
}


class Job(NamedTuple):
    """One training: its setting, and the seed of its initial weights and data order."""

    point: tuple[float, ...]
    """Learning rate, 1 - momentum, weight decay, learning-rate decay per epoch."""
    seed: int


@functools.cache
def config_of(name: str) -> DictConfig:
    """The config of all jobs on a task, composed once; `write` turns it into that of one."""
    task = TASKS[name]
    parts = (task.trained, task.examples - task.trained - 1, 1)
    sizes = {
        "data.name": name,
        "data.num_features": task.features,
        "data.num_classes": task.classes,
        "data.fractions": [part / task.examples for part in parts],
        "data.batch_size": task.batch_size,
        "model.width": task.width,
        "trainer.max_epochs": task.epochs,
    }
    resolvers.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        words = [*GROUPS, *(f"{key}={value}" for key, value in sizes.items())]
        config = compose("train", overrides=words)
    for node in (config.data, config.model):  # here once, and not for every job
        OmegaConf.resolve(node)
    return config


def write(config: DictConfig, job: Job) -> None:
    """Write a job's numbers into the config of its task."""
    lr, complement, decay, rate = map(float, job.point)
    config.seed = config.data.seed = job.seed
    config.optimizer.lr, config.optimizer.momentum = lr, 1 - complement
    config.optimizer.weight_decay, config.scheduler.rate = decay, rate


def train(name: str, jobs: Sequence[Job]) -> list[float]:
    """Final validation loss of each job on a task, infinite where training diverged."""
    config, found = config_of(name), dict[int, float]()
    with tempfile.TemporaryDirectory() as folder:
        config.paths.output = folder

        def member(place: int) -> Member:
            write(config, jobs[place])
            one = built(config, Path(folder))
            one.number = place
            return one

        def ended(members: Sequence[Member]) -> None:
            found.update((one.number, loss_of(one.result)) for one in members)

        for left in train_all(range(len(jobs)), member, config, ended, max_stack=STACK):
            assert len(jobs) % STACK == 1, left.why  # the only one of its stack, and nothing else
            write(config, jobs[left.place])
            found[left.place] = loss_of(train_alone(config, Path(folder)))
    return [found[place] for place in range(len(jobs))]


def loss_of(result: Result | None) -> float:
    """The loss of the last epoch, infinite where training diverged."""
    assert result is not None
    last = math.nan if result.last is None else result.last
    return last if result.status != DIVERGED and math.isfinite(last) else math.inf


def main() -> None:
    torch.set_flush_denormal(True)
    rng = np.random.default_rng(0)
    points = 10 ** rng.uniform([-4, -3, -6, -3], [0, 0, 0, 1], (2 * STACK, 4))
    jobs = [Job(tuple(point), seed) for seed, point in enumerate(points.tolist())]
    for name in TASKS:
        train(name, jobs[:2])
        for count in (1, 8, 64, len(jobs)):
            # Of the processor, which does not count what else the machine does.
            start = time.process_time()
            train(name, jobs[:count])
            each = 1e3 * (time.process_time() - start) / count
            print(f"{name}: {each:.0f} ms a training, {count} in a call")


if __name__ == "__main__":
    main()
