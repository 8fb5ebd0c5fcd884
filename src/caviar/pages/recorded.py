"""Learning curves for the page: the declared metric of all trials, and what else the best have
left in the `metrics.csv` of their folders.

A curve is (points, values). Long ones are thinned out alike, so that the page stays small.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from caviar.base.result import EPOCH, STEP
from caviar.ledger import Trial
from caviar.pages.channels import metric_domain
from caviar.pages.snapshot import Snapshot, best_value

POINTS = 20_000  # of one metric, at most
FILES = 100  # of each study: whose `metrics.csv` is read, best first
DIGITS = 5  # of a value: more than a screen can show
BOOKKEEPING = ("epoch", "step")  # columns of `metrics.csv` that are no metric

Curve = Sequence[tuple[int, float]]


def unit_of(trials: Sequence[Trial]) -> str:
    """What curves have in common: steps, as soon as one of them counts these."""
    return STEP if any(t.length.unit == STEP for t in trials) else EPOCH


def curve_of(trial: Trial) -> list[tuple[int, float]]:
    """The finite part of a trial's curve; epochs are shown from 0."""
    at = trial.length.at if trial.length.unit == STEP else int
    return [(at(p), v) for p, v in trial.curve.items() if math.isfinite(v)]


def thinned(curve: Curve, step: int) -> list[tuple[int, float]]:
    """One in `step` of its points, and the last one always."""
    last = len(curve) - 1
    return [p for i, p in enumerate(curve) if i % step == 0 or i == last]


def thinning(curves: Collection[Curve]) -> int:
    """Of how many points one is drawn."""
    return max(1, math.ceil(sum(map(len, curves)) / POINTS))


def curves_data(snapshots: Sequence[Snapshot], row_of: Mapping[int, int]) -> dict[str, Any]:
    """All curves of a page, by metric.

    Arguments:
        snapshots: of studies that have the same metric.
        row_of: the row of a trial, by its `id`.
    """
    first = snapshots[0]
    trials = [t for s in snapshots for t in s.trials]
    unit = unit_of([t for t in trials if t.curve])
    whole: dict[int, Curve] = {row_of[id(t)]: curve_of(t) for t in trials}
    whole = {row: curve for row, curve in whole.items() if curve}
    metrics = {first.metric: _columns(whole, first.mode)}
    others: dict[str, dict[int, Curve]] = {}
    for snapshot in snapshots:
        for trial in _best(snapshot):
            path = snapshot.study.folder / trial.stage / str(trial.number) / "metrics.csv"
            for name, curve in read_metrics(path, unit).items():
                others.setdefault(name, {})[row_of[id(trial)]] = curve
    for name in sorted(others):
        if name not in (first.metric, f"{first.metric}_best"):
            metrics[name] = _columns(others[name], "min" if "loss" in name else "max")
    return {"unit": unit, "metrics": metrics}


def _best(snapshot: Snapshot) -> list[Trial]:
    """The first FILES of a study by value."""
    sign = 1 if snapshot.mode == "min" else -1
    valued = [(v, t) for t in snapshot.trials if (v := best_value(t)) is not None]
    ranked = sorted(valued, key=lambda pair: (sign * pair[0], pair[1].stage, pair[1].number))
    return [trial for _, trial in ranked[:FILES]]


def _columns(curves: Mapping[int, Curve], mode: str) -> dict[str, Any]:
    """Rows, points and values; points that count 0, 1, 2, … are said by their number alone."""
    step = thinning(curves.values())
    drawn = {row: thinned(curve, step) for row, curve in curves.items()}
    ends = metric_domain([v for curve in drawn.values() for _, v in curve], mode)
    at = [[x for x, _ in curve] for curve in drawn.values()]
    return {
        "mode": mode,
        "step": step,
        "low": ends[0][0] if ends else None,
        "high": ends[0][1] if ends else None,
        "log": bool(ends and ends[1]),
        "row": [*drawn],
        "x": [len(x) if x == [*range(len(x))] else x for x in at],
        "y": [[float(f"{v:.{DIGITS}g}") for _, v in curve] for curve in drawn.values()],
    }


def read_metrics(path: Path, unit: str) -> dict[str, Curve]:
    """What a trial has logged as CSV, by metric: its last value at each epoch or step.

    A file that is not there, or damaged, has nothing to show.
    """
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    curves: dict[str, dict[int, float]] = {}
    for row in rows:
        at = _number(row.get(unit))
        if at is None:
            continue
        for name, text in row.items():
            value = _number(text) if name and name not in BOOKKEEPING else None
            if value is not None:
                curves.setdefault(name, {})[int(at)] = value
    return {name: sorted(curve.items()) for name, curve in curves.items()}


def _number(text: object) -> float | None:
    try:
        value = float(text) if isinstance(text, str) else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
