"""Nine small trainings, each with a space of its own, and their curves by the thousand.

    python benchmarks/quality/tasks.py       # milliseconds a training, by task

Data ship with scikit-learn, are generated, or are Python's own source; networks, optimizers and
schedules are the project's, and so is the stack that trains them. They differ in what a search may
meet: images, tables of classes and of numbers, text; two to eight axes, whole numbers and choices
among them; wide and narrow walls; noisy labels; small and large validation sets.
"""

from __future__ import annotations

import functools
import math
import sys
import sysconfig
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from caviar.config import resolvers
from caviar.space import Space
from caviar.stacked.members import Member
from caviar.stacked.run import train_all
from caviar.training import models
from caviar.training.callbacks import BestMetric
from caviar.training.data import DataModule
from caviar.training.streams import random_states

Array = NDArray[np.float64]

CONF = Path(__file__).resolve().parents[2] / "conf"
STACK = 128  # trainings in one stack, at most
GROUPS = ("data=digits", "model=mlp", "trainer=cpu", "callbacks=none", "logger=none")
LR = "optimizer.lr"
DECAY = "scheduler.rate"


def log(low: float, high: float) -> dict[str, Any]:
    return {"scale": "log", "low": low, "high": high}


def one_minus(low: float, high: float) -> dict[str, Any]:
    return {"scale": "one_minus_log", "low": low, "high": high}


def whole(low: int, high: int, scale: str = "integer") -> dict[str, Any]:
    return {"scale": scale, "low": low, "high": high}


def among(*values: Any) -> dict[str, Any]:
    return {"scale": "choice", "values": list(values)}


@dataclass(frozen=True)
class Task:
    """What is trained, and where a search may look."""

    load: Callable[[], tuple[Any, Any]]
    """Inputs and labels."""
    parts: tuple[int, int]
    """Examples to train on and to validate on; the rest is left alone."""
    space: dict[str, Any]
    epochs: int
    default: dict[str, Any]
    """Of what the space, or the network, asks for."""
    cap: float
    """The loss that a training which diverges counts as."""
    optimizer: str = "sgd"
    model: Any = models.MLP
    classes: int | None = 10
    """None for numbers."""

    @functools.cached_property
    def searched(self) -> Space:
        return Space.parse(self.space)


@dataclass(frozen=True)
class Job:
    """One training: its setting in search coordinates, by the space's order, and its seed."""

    point: tuple[Any, ...]
    seed: int


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


# ---------------------------------------------------------------------------- data
def sklearn(name: str) -> tuple[Any, Any]:
    from sklearn import datasets

    inputs, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    if name == "diabetes":
        labels = (labels - labels.mean()) / labels.std()
    return inputs, labels


digits, wine, cancer, diabetes = (
    functools.partial(sklearn, name) for name in ("digits", "wine", "breast_cancer", "diabetes")
)


def noisy() -> tuple[Any, Any]:
    """Five classes, a fifth of whose labels are drawn anew."""
    from sklearn.datasets import make_classification

    return make_classification(
        1600, 20, n_informative=8, n_classes=5, flip_y=0.2, class_sep=1.2, random_state=0
    )


def friedman() -> tuple[Any, Any]:
    """A number that follows from five of ten columns, with noise."""
    from sklearn.datasets import make_friedman1

    inputs, numbers = make_friedman1(900, 10, noise=1.0, random_state=0)
    return inputs, (numbers - numbers.mean()) / numbers.std()


PACKAGES = ("asyncio", "email", "json", "tkinter", "unittest", "xml")
HASHED = 128  # columns


def source() -> tuple[Any, Any]:
    """Of which package some lines of Python's own source are, by counts of hashed letter pairs."""
    library = Path(sysconfig.get_paths()["stdlib"])
    rows, labels = [], []
    for label, package in enumerate(PACKAGES):
        text = "\n".join(
            path.read_text(errors="replace") for path in sorted((library / package).rglob("*.py"))
        )
        pieces = [text[i : i + 200] for i in range(0, len(text), 200)]
        chosen = np.random.default_rng(label).permutation(len(pieces))[:250]
        for piece in (pieces[i] for i in chosen):
            places = [zlib.crc32(piece[i : i + 2].encode()) % HASHED for i in range(len(piece))]
            rows.append(np.bincount(places, minlength=HASHED))
            labels.append(label)
    return np.sqrt(np.array(rows)), np.array(labels)


# ---------------------------------------------------------------------------- tasks
WIDE = {
    "optimizer": {
        "lr": log(1e-6, 10),
        "momentum": one_minus(0, 0.999),
        "weight_decay": log(1e-6, 1),
    },
    "scheduler": {"rate": log(1e-3, 10)},
}
SGD = {LR: 0.01, "optimizer.momentum": 0.9, "optimizer.weight_decay": 0.0, DECAY: 0.05}
ADAM = {LR: 0.001, "optimizer.weight_decay": 0.0, DECAY: 0.0}


def sizes(width: int, depth: int, batch_size: int) -> dict[str, Any]:
    return {"model.width": width, "model.depth": depth, "data.batch_size": batch_size}


TASKS = {
    "digits": Task(digits, (600, 1196), WIDE, 10, SGD | sizes(32, 1, 64), cap=3.0),
    "wine": Task(wine, (100, 77), WIDE, 12, SGD | sizes(16, 1, 16), cap=3.0, classes=3),
    "narrow": Task(
        digits,
        (400, 300),
        {"optimizer": {"lr": log(1e-3, 1), "momentum": one_minus(0.9, 0.999)}},
        8,
        SGD | sizes(32, 2, 32),
        cap=3.0,
    ),
    "cancer": Task(
        cancer,
        (340, 60),
        {
            "optimizer": {
                "lr": log(1e-4, 1),
                "momentum": one_minus(0.9, 0.999),
                "weight_decay": log(1e-5, 1e-1),
            },
            "model": {"width": whole(4, 64, "log_integer")},
            "data": {"batch_size": among(16, 64)},
            "scheduler": {"rate": log(1e-3, 1)},
        },
        12,
        SGD | sizes(32, 1, 32),
        cap=1.5,
        classes=2,
    ),
    "diabetes": Task(
        diabetes,
        (260, 120),
        {
            "optimizer": {
                "lr": log(1e-5, 1),
                "beta1": one_minus(0.5, 0.99),
                "weight_decay": log(1e-5, 1),
            },
            "model": {"width": whole(8, 64)},
            "scheduler": {"rate": log(1e-3, 1)},
        },
        15,
        ADAM | sizes(32, 2, 32),
        cap=2.0,
        optimizer="adamw",
        model=models.MLPRegressor,
        classes=None,
    ),
    "noisy": Task(
        noisy,
        (500, 600),
        {
            "optimizer": {
                "lr": log(1e-4, 1),
                "momentum": one_minus(0.5, 0.999),
                "weight_decay": log(1e-5, 1e-1),
            },
            "model": {"width": whole(8, 64)},
            "scheduler": {"rate": log(1e-3, 1)},
        },
        10,
        SGD | sizes(32, 1, 32),
        cap=3.0,
        classes=5,
    ),
    "image": Task(
        digits,
        (200, 400),
        {
            "optimizer": {"lr": log(1e-5, 1), "weight_decay": log(1e-5, 1)},
            "model": {"channels": whole(2, 4)},
        },
        6,
        ADAM
        | {"model.channels": 4, "model.depth": 1, "model.kernel_size": 3}
        | {"data.batch_size": 32},
        cap=3.0,
        optimizer="adamw",
        model=models.ConvNet,
    ),
    "text": Task(
        source,
        (700, 400),
        {
            "optimizer": {
                "lr": log(1e-5, 1),
                "beta1": one_minus(0.5, 0.99),
                "beta2": one_minus(0.9, 0.9999),
                "weight_decay": log(1e-4, 10),
            },
            "model": {"width": whole(4, 64, "log_integer")},
            "scheduler": {"rate": log(1e-3, 10)},
        },
        8,
        ADAM | sizes(32, 1, 64),
        cap=3.0,
        optimizer="adamw",
        classes=len(PACKAGES),
    ),
    "numbers": Task(
        friedman,
        (400, 200),
        {
            "optimizer": {
                "lr": log(1e-4, 1),
                "momentum": one_minus(0.5, 0.99),
                "weight_decay": log(1e-5, 1e-1),
            },
            "model": {"width": whole(8, 64), "depth": whole(1, 2)},
            "data": {"batch_size": among(16, 64)},
            "scheduler": {"rate": log(1e-3, 1)},
            "trainer": {"gradient_clip_val": log(0.1, 10)},
        },
        10,
        SGD | sizes(32, 1, 32),
        cap=2.0,
        model=models.MLPRegressor,
        classes=None,
    ),
}


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
