"""Which runs may share a stack, by their configs alone; and how a thousand configs are composed."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf, open_dict

from caviar.config.alike import differ_in_values, is_value, key_of, write_values
from caviar.config.keys import LIGHTNING, Keys

# Settings of Lightning's Trainer that mean the same for a stack as for each of its members.
TRAINER = {
    "_target_",
    "accelerator",
    "barebones",
    "benchmark",
    "default_root_dir",
    "deterministic",
    "devices",
    "enable_checkpointing",
    "enable_model_summary",
    "enable_progress_bar",
    "gradient_clip_algorithm",
    "gradient_clip_val",
    "inference_mode",
    "limit_test_batches",
    "limit_train_batches",
    "limit_val_batches",
    "log_every_n_steps",
    "logger",
    "max_epochs",
    "num_sanity_val_steps",
    "precision",
    "use_distributed_sampler",
}
LOGGERS = ("pytorch_lightning.loggers.CSVLogger", "lightning.pytorch.loggers.CSVLogger")
UNEVEN = 16  # members of a stack of several widths; of fewer, the step itself would cost too much
# Keys whose values only change numbers in a training, never the shape of its model.
NUMBERS = ("optimizer.", "scheduler.", "seed=", "trial.", "one_minus.optimizer.")


def why_not(config: DictConfig) -> str | None:
    """Why a run cannot share a stack, as the end of a sentence; None where the config allows it."""
    if Keys.of(config).kind != LIGHTNING:
        return "a function, or a task, trains one model"
    if not config.fit or config.test or config.ckpt_path is not None:
        return "they test, or go on from a checkpoint"
    for key in config.trainer:  # not its values: some follow the run's folder, not known yet
        if key not in TRAINER and config.trainer[key] is not None:
            return f"trainer.{key}={config.trainer[key]} is not stacked"
    if config.trainer.get("devices", 1) not in (1, "1"):
        return f"trainer.devices={config.trainer.devices}"
    if config.trainer.get("max_epochs") in (None, -1):
        return "trainer.max_epochs is open"
    for name in config.logger or ():
        if config.logger[name] is not None and config.logger[name]._target_ not in LOGGERS:
            return f"logger.{name} has a run of its own for each model"
    return None


def by_overrides(jobs: Sequence[Sequence[str]]) -> list[list[int]]:
    """The numbers of jobs, together where overrides alone tell that their models and batches are of
    one shape."""
    groups: dict[frozenset[str], list[int]] = {}
    for number, job in enumerate(jobs):
        shapes = frozenset(w for w in job if not w.lstrip("+").startswith(NUMBERS))
        groups.setdefault(shapes, []).append(number)
    return [*groups.values()]


@dataclass(frozen=True)
class Form:
    """Of a job's model and data: what decides whom it can share a stack with."""

    build: str
    """The same for jobs that are alike but for the sizes of their tensors."""
    size: int
    """Numbers in the model's parameters."""
    work: float | None = None
    """Multiplications of a forward pass of a batch; None where nobody knows."""


def dealt(
    forms: Sequence[Form | None],
    workers: int,
    least: int,
    begun: Sequence[Sequence[int]] = (),
    most: int = 64,
) -> list[list[int]]:
    """Which jobs are trained together; those of one, alone.

    Arguments:
        forms: of each job; None for one that cannot be stacked.
        workers: that train side by side; a crowd is divided among them.
        least: jobs of a stack.
        begun: jobs that are in one stack already, which a kill has left.
        most: jobs of a stack.

    Returns:
        The numbers of jobs: stacks, those with most work first, and then those alone, in order.
    """
    taken = {number for stack in begun for number in stack}
    crowds: dict[str, list[int]] = {}
    parts = [sorted(stack) for stack in begun]
    sizes = {number: form.size for number, form in enumerate(forms) if form is not None}
    for number, form in enumerate(forms):
        if number in taken:
            continue
        if form is None:
            parts.append([number])
        else:
            crowds.setdefault(form.build, []).append(number)
    for crowd in crowds.values():
        if len(crowd) < least:
            parts += [[number] for number in crowd]
            continue
        pieces = max(min(workers, len(crowd) // least), -(-len(crowd) // most))
        if len({sizes[number] for number in crowd}) == 1:
            parts += [crowd[piece::pieces] for piece in range(pieces)]
            continue
        # Those of about one size together: the narrow ones are computed as if they were as wide as
        # the widest.
        crowd.sort(key=lambda number: (-sizes[number], number))
        pieces = max(pieces, len(crowd) // UNEVEN)
        ends = [len(crowd) * piece // pieces for piece in range(pieces + 1)]
        parts += [sorted(crowd[a:b]) for a, b in itertools.pairwise(ends)]
    heavy = {number: form.work or form.size for number, form in enumerate(forms) if form}
    stacks = sorted(
        (part for part in parts if len(part) > 1),
        key=lambda part: -sum(heavy.get(n, 0) for n in part),
    )
    return [*stacks, *sorted(part for part in parts if len(part) == 1)]


def stored(folder: Path, numbers: Sequence[int]) -> dict[Path, list[int]]:
    """The stacks that a kill has left: the file of each, and the places of its members.

    Arguments:
        folder: of the files.
        numbers: of the runs that there are, by place. A file with others in it is of no use.
    """
    places = {number: place for place, number in enumerate(numbers)}
    found = {}
    for names in sorted(folder.glob("*.json")):
        inside = json.loads(names.read_text(encoding="utf-8"))
        file = names.with_suffix(".ckpt")
        if file.exists() and places.keys() >= {*inside}:
            found[file] = [places[number] for number in inside]
    return found


class Configs:
    """The configs of many jobs that differ in values alone, from one composition.

    Hydra takes a tenth of a second for a config. What differs between two jobs is written into the
    config of the first one, as Hydra itself does last of all.

    Arguments:
        compose: gives a job's whole config.
        jobs: overrides of each.
    """

    def __init__(self, compose: Any, jobs: Sequence[Sequence[str]]) -> None:
        self.compose, self.jobs = compose, [list(job) for job in jobs]
        self.config: DictConfig = copy.deepcopy(compose(self.jobs[0]))
        first = set(self.jobs[0])
        self._same = first.intersection(*self.jobs[1:])
        self._text: str | None = None
        self._other: DictConfig | None = None  # the last that was composed by itself

    def of(self, number: int) -> DictConfig:
        """A job's config; it is the same object every time, so nothing may keep it."""
        job = self.jobs[number]
        own = self._own(job)
        if differ_in_values(self.jobs[0], job) is None or not all(map(is_value, own)):
            self._other = self.compose(job)
            return self._other
        self._other = None
        write_values(self.config, own)
        return self.config

    def _own(self, job: Sequence[str]) -> list[str]:
        return [word for word in job if word not in self._same]

    def text(self, number: int) -> str:
        """A job's config as Hydra writes it into `.hydra/config.yaml`; of the job that `of` was
        called with last."""
        if self._other is not None:
            return OmegaConf.to_yaml(_without_hydra(self._other))
        keys = [key_of(word) for word in self._own(self.jobs[number])]
        if self._text is None:
            marked = _without_hydra(self.config)
            for key in keys:
                OmegaConf.update(marked, key, _mark(key), force_add=True)
            self._text = OmegaConf.to_yaml(marked)
        text = self._text
        for key in keys:
            raw: Any = OmegaConf.to_container(_without_value(self.config, key), resolve=False)
            text = text.replace(_mark(key), _yaml(raw))
        return text


def _mark(key: str) -> str:
    return f"CAVIAR[{key}]"


def _without_hydra(config: DictConfig) -> DictConfig:
    plain = copy.deepcopy(config)
    with open_dict(plain):
        plain.pop("hydra", None)
    return plain


def _without_value(config: DictConfig, key: str) -> Any:
    parent, _, name = key.rpartition(".")
    node: Any = OmegaConf.select(config, parent) if parent else config
    return OmegaConf.create({"value": node._get_node(name)._value()})


def _yaml(raw: dict[str, Any]) -> str:
    return yaml.safe_dump(raw["value"], default_flow_style=True).removesuffix("...\n").strip()
