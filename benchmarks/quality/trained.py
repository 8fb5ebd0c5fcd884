"""Trainings of the nine tasks, by the thousand, as the library stacks them; and their curves.

python benchmarks/quality/trained.py       # milliseconds a training, by task
"""

from __future__ import annotations

import functools
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from tasks import DECAY, TASKS, Job, Task

from caviar.config import resolvers
from caviar.stacked.members import Member
from caviar.stacked.run import train_all
from caviar.training.callbacks import BestMetric
from caviar.training.data import DataModule
from caviar.training.streams import random_states

Array = NDArray[np.float64]

CONF = Path(__file__).resolve().parents[2] / "conf"
STACK = 128  # trainings in one stack, at most
GROUPS = ("data=digits", "model=mlp", "trainer=cpu", "callbacks=none", "logger=none")


class Loaded(DataModule):
    """A task's data, of a fixed split."""

    def __init__(self, task: Task, **split: Any) -> None:
        inputs, labels = _loaded(task.load)
        rest = len(labels) - sum(task.parts)
        shares = [part / len(labels) for part in (*task.parts, rest)]
        kind = {"num_classes": task.classes} if task.classes else {"num_outputs": 1}
        super().__init__(num_features=inputs.shape[1], fractions=shares, **kind, **split)
        self.task = task

    def load(self) -> tuple[Any, Any]:
        return _loaded(self.task.load)


@functools.cache
def _loaded(load: Callable[[], tuple[Any, Any]]) -> tuple[Any, Any]:
    return load()


@functools.cache
def _config(optimizer: str, epochs: int) -> DictConfig:
    """Of all trainings of a task; `curves` changes what a setting changes."""
    resolvers.register()
    words = [*GROUPS, f"optimizer={optimizer}", "scheduler=inverse_time", "paths.output=?"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=[*words, f"trainer.max_epochs={epochs}"])
    for node in (config.data, config.model):
        OmegaConf.resolve(node)
    return config


def curves(task: Task, jobs: Sequence[Job]) -> list[Array]:
    """Validation loss of each job, the best up to each epoch, (epochs,); infinite from where it
    diverged."""
    found: dict[int, list[float]] = {place: [] for place in range(len(jobs))}
    diverged: set[int] = set()

    def report(points: Sequence[Any]) -> Sequence[Member]:
        for member, _, value, _ in points:
            found[member.number].append(value)
        return []

    def ended(members: Sequence[Member]) -> None:
        for member in members:
            if member.result is None or member.result.status != "complete":
                diverged.add(member.number)

    with tempfile.TemporaryDirectory() as folder:
        config = _config(task.optimizer, task.epochs)
        config.paths.output = folder

        def member(place: int) -> Member:
            return _member(task, jobs[place], place, config, Path(folder))

        groups: dict[Any, list[int]] = {}
        for place, job in enumerate(jobs):
            groups.setdefault(_form(task, job), []).append(place)
        for places in groups.values():
            # One alone is not stacked: it is given a companion, which is itself.
            numbers = places if len(places) > 1 else places * 2
            even = math.ceil(len(numbers) / math.ceil(len(numbers) / STACK))  # nor one left over
            left = train_all(
                numbers, lambda i, n=numbers: member(n[i]), config, ended, report, even
            )
            assert not left, left[0].why
            if len(places) == 1:
                found[places[0]] = found[places[0]][::2]
    return [_best(found[i], task.epochs, i in diverged) for i in range(len(jobs))]


def _best(values: list[float], epochs: int, diverged: bool) -> Array:
    curve = np.full(epochs, np.inf)
    curve[: len(values)] = np.where(np.isfinite(values), values, np.inf)
    ends = np.flatnonzero(~np.isfinite(curve))
    curve = np.minimum.accumulate(curve)
    if len(ends) or diverged:
        curve[ends[0] if len(ends) else -1 :] = np.inf
    return curve


def _natural(task: Task, job: Job) -> dict[str, Any]:
    point = dict(zip(task.searched.names, job.point, strict=True))
    return {**task.default, **task.searched.natural(point)}


def _form(task: Task, job: Job) -> Any:
    """What trainings of a stack have in common."""
    setting = _natural(task, job)
    return setting["data.batch_size"], setting.get("model.depth")


def _member(task: Task, job: Job, place: int, config: DictConfig, folder: Path) -> Member:
    setting = _natural(task, job)
    torch.manual_seed(job.seed)
    data = Loaded(task, batch_size=setting["data.batch_size"], seed=job.seed)
    outputs = {"num_classes": task.classes} if task.classes else {"num_outputs": 1}
    sizes = {k.removeprefix("model."): v for k, v in setting.items() if k.startswith("model.")}
    model = task.model(in_features=data.num_features, **outputs, **sizes)
    optimizer = {k: v for k, v in setting.items() if k.startswith("optimizer.")}
    model.optimizer_config = OmegaConf.to_container(config.optimizer, resolve=True)
    own = {k.removeprefix("optimizer."): v for k, v in optimizer.items()}
    if "betas" in model.optimizer_config:
        betas = [own.pop("beta1", 0.9), own.pop("beta2", 0.999)]
        own["betas"] = betas
        for name in ("beta1", "beta2"):
            model.optimizer_config.pop(name, None)
    model.optimizer_config = OmegaConf.create({**model.optimizer_config, **own})
    rate = setting.get(DECAY, 0.0)
    model.scheduler_config = OmegaConf.create({**config.scheduler, "rate": rate})
    best = BestMetric("val/loss", "min")
    clip = setting.get("trainer.gradient_clip_val")
    form = str(_form(task, job))
    made = Member(job.seed, folder, model, best, clip, random_states(), form, data)
    made.number = place
    return made


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for name in sys.argv[1:] or TASKS:
        task = TASKS[name]
        columns = task.searched.draw(0, "01_coarse", STACK)
        points = zip(*(column.tolist() for column in columns.values()), strict=True)
        jobs = [Job(point, seed) for seed, point in enumerate(points)]
        curves(task, jobs[:4])
        start = time.process_time()
        last = np.array([curve[-1] for curve in curves(task, jobs)])
        each = (time.process_time() - start) / len(jobs)
        part = np.quantile(np.where(np.isfinite(last), last, 9e9), (0, 0.1, 0.5, 0.9)).round(4)
        print(
            f"{name:9} {1e3 * each:5.1f} ms  {len(task.searched)} axes  best, 10 %, median, 90 %:"
            f" {part.tolist()}  {np.isinf(last).mean():.0%} diverged",
            flush=True,
        )


if __name__ == "__main__":
    main()
