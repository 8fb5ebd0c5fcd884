"""Studies of every shape and size, written into a ledger as if their trials had run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from omegaconf import DictConfig

from caviar.base.result import COMPLETE, DIVERGED, PRUNED, Result
from caviar.config.compose import project_composer
from caviar.ledger import Planned
from caviar.ledger import operations as ops
from caviar.ledger.operations import new_trial
from caviar.ledger.trials import optuna_axis, optuna_value
from caviar.search.planned import plan
from caviar.search.settings import SearchSettings, StageSettings
from caviar.search.study import Study
from caviar.space import Axis, Choice, Integer, Log, OneMinusLog, Space
from caviar.space.sweep_file import SweepFile

LR, BETA = Axis("optimizer.lr", Log(1e-4, 1.0)), Axis("optimizer.momentum", OneMinusLog(1e-3, 0.1))
WIDTH, BATCH = Axis("model.width", Integer(16, 128)), Axis("data.batch_size", Choice((16, 32, 64)))
DEPTH, RATE = Axis("model.depth", Integer(1, 4)), Axis("scheduler.rate", Log(1e-3, 1.0))
STAGES = {name: StageSettings() for name in ("coarse", "fine", "finest")}
BEGAN = datetime(2026, 5, 1, tzinfo=UTC)
ALL = Space((LR, BETA, WIDTH, BATCH, DEPTH, RATE))


def made(
    folder: Path,
    space: Space = ALL,
    stages: Mapping[str, int] | None = None,
    fate: Callable[[int], str] = lambda number: COMPLETE,
    mode: str = "min",
    epochs: int = 3,
    reasons: Mapping[str, Sequence[str]] | None = None,
    error: str = "boom",
) -> Study:
    """A study; `fate` says what became of each trial by its number, `waiting` among it.

    Losses are a bowl in unit coordinates, with a little noise.
    """
    study = Study(
        settings=SearchSettings(study=folder.name, stages=STAGES),
        folder=folder,
        storage=str(folder / "study.journal"),
        metric="val/loss" if mode == "min" else "val/acc",
        mode=mode,
        overrides=[],
        launch=lambda jobs, first: None,
        compose=lambda given: _config(tuple(given)),
    )
    for stage, count in (stages or {"01_coarse": 12}).items():
        sweep = SweepFile(folder.name, stage, space, count, study.metric, mode)
        sweep = replace(sweep, reasons=reasons or {})
        spec = {"sweep": sweep.text(), "overrides": [], "shared": []}
        study.ledger.begin(stage, spec, mode)
        planned = plan(sweep, study.settings)
        losses = _bowl(space, [p.point for p in planned])
        with patch("os.fsync"):  # nobody pulls the plug; of 5000 trials they take 10 s
            for number, loss in enumerate(losses):
                value = loss if mode == "min" else 1 - loss
                one = planned[number], number
                _write(study, stage, space, *one, fate(number), value, epochs, error)
    return study


@functools.cache  # the same for every study here; half a second each time
def _config(overrides: tuple[str, ...]) -> DictConfig:
    return project_composer()(overrides)


def _bowl(space: Space, points: Sequence[Mapping[str, Any]]) -> list[float]:
    if not points:
        return []
    units = space.to_unit({name: [p[name] for p in points] for name in space.names})
    noise = np.random.default_rng(0).normal(size=len(points))
    weights = 1.0 / (1 + np.arange(len(space)))
    losses: list[float] = (0.1 + ((units - 0.5) ** 2) @ weights + 0.01 * np.abs(noise)).tolist()
    return losses


def _write(
    study: Study,
    stage: str,
    space: Space,
    planned: Planned,
    number: int,
    status: str,
    value: float,
    epochs: int,
    error: str,
) -> None:
    """One trial in one record, as the ledger leaves a finished one; thousands in seconds."""
    values: dict[str, Any] = {"best": value, "best_epoch": epochs - 1, "last": value}
    failed = status not in (COMPLETE, PRUNED, DIVERGED)
    waits = status == "waiting"
    result = Result(status, seconds=1.5, **({} if status not in (COMPLETE, PRUNED) else values))
    result.error = error if failed else None
    sign = 1 if study.mode == "min" else -1
    curve = {epoch: value + sign / (1 + epoch) for epoch in range(0 if waits else epochs)}
    state = {COMPLETE: ops.COMPLETE, DIVERGED: ops.COMPLETE, PRUNED: ops.PRUNED}.get(
        status, ops.FAIL
    )
    loss = result.loss(study.mode) * sign
    ledger = study.ledger
    operation = new_trial(
        ledger._id(stage),
        attributes=planned.attributes() | ({} if waits else {"result": result.to_dict()}),
        params={axis.name: optuna_value(axis, planned.point[axis.name]) for axis in space},
        distributions={axis.name: optuna_axis(axis) for axis in space},
        curve=curve,
        state=ops.WAITING if waits else state,
        value=None if waits or failed else loss,
    )
    if not waits:  # two at a time, a day for each stage
        began = BEGAN + timedelta(days=int(stage[:2]), seconds=1.5 * (number // 2))
        operation["datetime_start"] = began.isoformat(timespec="microseconds")
    ledger._store.write([operation])
