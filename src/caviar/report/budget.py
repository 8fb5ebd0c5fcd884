"""What one may expect of n trials, and where the seconds went."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from typing import Any

from caviar.ledger import Trial
from caviar.refine.expected import BAND, expected_best
from caviar.report.marks import Chart, Spec, by_stage, layers, metric_channel, table
from caviar.report.page import Section, Table
from caviar.report.snapshot import Snapshot
from caviar.screen.view import counts, duration

ROW = 36


def budget_section(snapshot: Snapshot) -> Section:
    """Expected best against trials, within each stage; seconds by stage and status."""
    words = []
    charts = []
    curve = _expected(snapshot)
    if curve is not None:
        charts.append(curve)
        low, high = (f"{q:.0%}" for q in BAND)
        words.append(
            "The best of n trials that one may expect within a stage: would more of them help? "
            "Unbiased (Tang 2020, solid) and biased (Dodge 2019, dashed); the band holds the best "
            f"of n from its {low} to its {high} quantile. A diverged trial counts as the stage's "
            "worst."
        )
    else:
        words.append(f"No trial has come to a value of {snapshot.metric} yet.")
    seconds = _seconds(snapshot)
    if seconds is not None:
        charts.append(seconds)
    return Section("budget", "Budget", words, charts, [_table(snapshot)], aside=True)


def _expected(snapshot: Snapshot) -> Chart | None:
    columns: dict[str, list[Any]] = {k: [] for k in ("stage", "n", "best", "biased", "low", "high")}
    sign = 1 if snapshot.mode == "min" else -1
    for stage in snapshot.stages:
        if not any(map(math.isfinite, stage.losses)):
            continue
        found = expected_best(stage.losses)
        ends = (found.low, found.high) if sign > 0 else (found.high, found.low)
        shown = (found.unbiased, found.biased, *ends)
        rows = zip(found.n.tolist(), *((sign * x).tolist() for x in shown), strict=True)
        for row in rows:
            for name, value in zip(columns, (stage.name, *row), strict=True):
                columns[name].append(value)
    if not columns["n"]:
        return None
    across: Spec = {
        "field": "n",
        "type": "quantitative",
        "title": "number of trials",
        "scale": {"type": "log", "nice": False},
        "axis": {"tickCount": 6, "labelExpr": "format(datum.value, '~g')", "grid": False},
    }
    values = [v for k in ("best", "low", "high", "biased") for v in columns[k]]
    up = metric_channel(
        "best", f"expected best {snapshot.metric}", values, snapshot.mode, clamp=False
    )
    colour = by_stage(snapshot)["color"]
    tooltip = [
        {"field": "stage", "type": "nominal"},
        {"field": "n", "type": "quantitative", "title": "trials"},
        *(
            {"field": f, "type": "quantitative", "title": t, "format": ".4~g"}
            for f, t in (
                ("best", "unbiased"),
                ("biased", "biased"),
                ("low", "10 %"),
                ("high", "90 %"),
            )
        ),
    ]
    band: Spec = {
        "mark": {"type": "area", "opacity": 0.15, "clip": True},
        "encoding": {"x": across, "y": {**up, "field": "low"}, "y2": {"field": "high"}}
        | {"color": colour},
    }
    unbiased: Spec = {
        "mark": {"type": "line", "strokeWidth": 2.2, "clip": True, "point": {"size": 12}},
        "encoding": {"x": across, "y": up, "color": colour, "tooltip": tooltip},
    }
    biased: Spec = {
        "mark": {"type": "line", "strokeWidth": 1.4, "strokeDash": [5, 4], "clip": True},
        "encoding": {"x": across, "y": {**up, "field": "biased"}, "color": colour},
    }
    return Chart(
        "expected_best",
        "Expected best after n trials, stage by stage",
        layers(band, biased, unbiased, data=table(columns), height=320),
    )


def _spent(snapshot: Snapshot) -> dict[tuple[str, str], float]:
    """Seconds by stage and status; those of running trials so far."""
    now = time.time()
    found: defaultdict[tuple[str, str], float] = defaultdict(float)
    for trial in snapshot.everything:
        found[trial.stage, trial.status] += _of(trial, now)
    return dict(found)


def _of(trial: Trial, now: float) -> float:
    if trial.result:
        return trial.result.seconds
    return trial.seconds_running(now) if trial.running else 0.0


def _seconds(snapshot: Snapshot) -> Chart | None:
    spent = {key: seconds for key, seconds in _spent(snapshot).items() if seconds > 0}
    if not spent:
        return None
    stages = list(dict.fromkeys(stage for stage, _ in spent))
    data = table(
        {
            "stage": [stage for stage, _ in spent],
            "status": [status for _, status in spent],
            "seconds": list(spent.values()),
        }
    )
    bars: Spec = {
        "mark": {"type": "bar"},
        "encoding": {
            "x": {"field": "seconds", "type": "quantitative", "title": "seconds of training"},
            "y": {"field": "stage", "type": "nominal", "title": None, "sort": stages},
            "color": {"field": "status", "type": "nominal"},
            "tooltip": [
                {"field": "stage", "type": "nominal"},
                {"field": "status", "type": "nominal"},
                {"field": "seconds", "type": "quantitative", "format": ".1f"},
            ],
        },
    }
    return Chart(
        "seconds",
        "Where the seconds went",
        layers(bars, data=data, height=max(80, ROW * len(stages))),
    )


def _table(snapshot: Snapshot) -> Table:
    rows = []
    spent = _spent(snapshot)
    for stage in dict.fromkeys(t.stage for t in snapshot.everything):
        trials = [t for t in snapshot.everything if t.stage == stage]
        seconds = sum(s for (name, _), s in spent.items() if name == stage)
        rows.append([stage, str(len(trials)), counts(trials), duration(seconds)])
    whole = duration(sum(spent.values()))
    rows.append(["all", str(len(snapshot.everything)), counts(snapshot.everything), whole])
    return Table(["stage", "trials", "became", "training"], rows)
