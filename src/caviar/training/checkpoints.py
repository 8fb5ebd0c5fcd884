"""Checkpoints: the best epoch's, also over a resume; and what to know before one is loaded.

A trial that goes on does so in its own folder, so what it had logged in `metrics.csv` before the
checkpoint has to stay there, and what it had logged after it has to go.
"""

from __future__ import annotations

import csv
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelCheckpoint

from caviar.base.errors import UserError
from caviar.training.callbacks import LOGGED, BestMetric
from caviar.training.optim import optimizer_arguments
from caviar.training.package import is_a

__all__ = ["LOGGED"]

# What a cyclic schedule sets by itself, and what it leaves in the optimizer's groups as its mark.
CYCLED = {"lr": "max_lr", "momentum": "max_momentum", "betas": "max_momentum"}


class BestCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, whose best survives a resume into another folder.

    Every run has a folder of its own. Lightning then forgets the score to beat and calls the
    first epoch after the resume the best; this copies the best so far into the new folder.
    """

    trusted = False
    """Whether the files may hold anything; set from the config's `trust_checkpoints`."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        before = Path(state_dict["best_model_path"])
        if self.dirpath is None or state_dict["best_model_score"] is None or not before.is_file():
            return  # nothing to go on from: the best since the resume will be kept
        # The file may hold another epoch than the state speaks of: a process that was killed wrote
        # `best.ckpt` after the `last.ckpt` that the run goes on from.
        score = read_checkpoint(before, self.trusted).get("metrics", {}).get(self.monitor)
        if score is not None and score != float(state_dict["best_model_score"]):
            return
        here = Path(self.dirpath) / before.name
        if here != before.absolute():
            here.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(before, here)
        moved = {
            "dirpath": self.dirpath,
            "best_model_path": str(here),
            "best_k_models": {str(here): state_dict["best_model_score"]},
            "kth_best_model_path": str(here),
        }
        super().load_state_dict({**state_dict, **moved})


class LastCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint of the last epoch, left out where it would take too much time.

    To write one takes some 10 ms, which is an epoch of a small model. What a kill may lose is at
    most so much of the training that writing takes `SHARE` of the time. That of the first and of
    the last epoch are always written.
    """

    SHARE = 0.1
    _free = 0.0  # by time.monotonic(): when the next one is written

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        begun = time.monotonic()
        ends = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        steps = trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps
        # Several processes would have to agree on the time, and write together.
        if begun < self._free and not (ends or steps) and trainer.world_size == 1:
            return
        super().on_train_epoch_end(trainer, pl_module)
        now = time.monotonic()
        self._free = now + (now - begun) * (1 / self.SHARE - 1)


def best_checkpoint(trainer: pl.Trainer, best: BestMetric) -> str | None:
    """The checkpoint that holds the best epoch's weights; None if there is no such file.

    A callback that keeps the best of another metric, or of too few epochs, does not count.
    """
    callbacks: list[Any] = [c for c in trainer.checkpoint_callbacks if is_a(c, "ModelCheckpoint")]
    for callback in callbacks:
        if callback.monitor == best.metric:
            score = callback.best_model_score
            if score is not None and float(score) == best.best:
                return callback.best_model_path or None
    return None


def read_checkpoint(path: Path, trusted: bool = False) -> dict[str, Any]:
    """A Lightning checkpoint, as plain containers.

    Arguments:
        path: of the file.
        trusted: it may hold anything, and what it holds may run anything.

    Raises:
        UserError: the file is missing, damaged, or holds more than plain containers.
    """
    # Lightning itself silently starts anew where `last` finds nothing.
    if not path.is_file():
        raise UserError(f"ckpt_path={path}: there is no such file")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=not trusted, mmap=True)
    except Exception as error:  # torch raises many kinds, by where the damage is; some say nothing
        words = str(error).partition("\n")[0] or type(error).__name__
        if named := re.search(r"Unsupported global: GLOBAL (\S+)", str(error)):
            words = f"it holds a {named[1]}; if nobody else can have written the file, write "
            words += "trust_checkpoints=true"
        raise UserError(
            f"ckpt_path={path} is no checkpoint that loads safely (weights_only=True): {words}"
        ) from None
    if not isinstance(checkpoint, dict) or not {"state_dict", "epoch"} <= set(checkpoint):
        raise UserError(f"ckpt_path={path} is no checkpoint of Lightning's")
    return checkpoint


def plainly(action: Any, checkpoint: Path | str | None, trusted: bool) -> dict[str, bool]:
    """What tells `trainer.fit` or `.test` to load a checkpoint as plain containers, unless trusted.

    Lightning before 2.6 has no argument for it and would run what a pickle says, so that the file
    is read here first.
    """
    if "weights_only" in signature(action).parameters:
        return {"weights_only": not trusted}
    if checkpoint is not None and not trusted and Path(checkpoint).is_file():
        read_checkpoint(Path(checkpoint))
    return {}


def check_resume(
    path: Path, checkpoint: dict[str, Any], max_epochs: int | None, optimizer: DictConfig | None
) -> list[str]:
    """Refuse what cannot be resumed; what of the config's optimizer will not be in force.

    On resume the states of optimizer and schedule are the checkpoint's, its lr and momentum and
    the length of a cosine included. (`caviar.training.schedule` looks at the schedule itself, whose
    length may follow from the data.)

    Arguments:
        path: of the checkpoint.
        checkpoint: as `read_checkpoint` gives it.
        max_epochs: that are asked for.
        optimizer: the config's, if the model has the one that it declares.

    Raises:
        UserError: the run was finished, or trained with another optimizer.
    """
    # An epoch that was interrupted counts as none.
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    if max_epochs is not None and 0 <= max_epochs <= epochs:
        raise UserError(
            f"ckpt_path={path} is the end of epoch {epochs - 1}, and trainer.max_epochs="
            f"{max_epochs} leaves nothing to train; write trainer.max_epochs={2 * epochs}"
        )
    lines = []
    for state in checkpoint.get("optimizer_states", [])[:1]:
        if optimizer is None:  # the model's own, of which the config need not say anything
            break
        group = state["param_groups"][0]
        asked = optimizer_arguments(optimizer)
        unknown = [k for k in asked if k not in group and not k.startswith("_")]
        if unknown:
            raise UserError(
                f"ckpt_path={path} was trained with another optimizer, which has no "
                f"{', '.join(unknown)}; resume with that one, or begin anew without ckpt_path"
            )
        # What a cycle sets says nothing of the config: OneCycleLR begins far below its max_lr.
        cycled = [k for k, mark in CYCLED.items() if mark in group]
        kept = {k: group.get(f"initial_{k}", group.get(k)) for k in asked if k not in cycled}
        lines += not_applied("optimizer", kept, asked)
    return lines


def not_applied(node: str, kept: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """A line for each value that the checkpoint has otherwise."""
    lines = []
    for key, value in asked.items():
        if key.startswith("_") or key not in kept or value is None or kept[key] is None:
            continue
        old = list(kept[key]) if isinstance(kept[key], tuple | list) else kept[key]
        if old != value:
            lines.append(
                f"resuming goes on with the checkpoint's {key}={old}; {node}.{key}={value} is not "
                "applied"
            )
    return lines


Rows = list[dict[str, Any]]  # of metrics.csv, by column


def rows_before(folder: Path, checkpoint: Mapping[str, Any]) -> Rows:
    """The rows of `metrics.csv` that a run which resumes from a checkpoint does not log again.

    Lightning logs an epoch's training metrics after its checkpoint. A process that was killed
    between the two left a checkpoint that knows more than the file; that is added as a row.

    Arguments:
        folder: of the run.
        checkpoint: as `read_checkpoint` gives it; of a step between two epochs, or inside of one.
    """
    path, step = folder / "metrics.csv", checkpoint["global_step"]
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # A row that a kill has cut off has no step.
    kept = [row for row in rows if (row.get("step") or "").isdigit() and int(row["step"]) < step]
    row = missing_row(kept, checkpoint)
    return kept if row is None else [*kept, row]


def missing_row(rows: Rows, checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a checkpoint at an epoch's end knows of the epoch and the rows before it lack.

    Arguments:
        rows: before the checkpoint's step, each with its `step`.
        checkpoint: one inside of an epoch lacks nothing, since nothing was logged of it yet.
    """
    step = checkpoint["global_step"]
    # The rows of an epoch are all of its last step: its validation, the best so far, its training.
    of_epoch = [row for row in rows if int(row["step"]) == step - 1]
    written = {name for row in of_epoch for name, value in row.items() if value != ""}
    logged = checkpoint.get(LOGGED) or {}
    missing = {name: value for name, value in logged.items() if name not in written}
    if not of_epoch or not missing:
        return None
    epoch = {"epoch": of_epoch[0]["epoch"]} if "epoch" in written else {}
    return {**epoch, **missing, "step": step - 1}


def put_back(loggers: Iterable[Any], rows: Rows) -> None:
    """Hand the rows to the CSV logger, which begins with an empty file."""
    for logger in loggers:
        if rows and is_a(logger, "CSVLogger"):
            logger.experiment.metrics = [*rows]
            logger.save()
