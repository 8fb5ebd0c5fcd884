"""What one may expect of n trials, and where the seconds went."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from typing import Any

from caviar.charts import Chart, layers, metric_channel, table
from caviar.charts.parts import Spec
from caviar.expected import BAND, expected_best
from caviar.ledger import Trial
from caviar.report.facts import Facts
from caviar.report.points import by_stage
from caviar.report.section import Section, Table
from caviar.view import counts, duration

ROW = 36


def budget_section(facts: Facts) -> Section:
    """Expected best against trials, within each stage; seconds by stage and status."""
    words = []
    charts = []
    curve = _expected(facts)
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
        words.append(f"No trial has come to a value of {facts.metric} yet.")
    seconds = _seconds(facts)
    if seconds is not None:
        charts.append(seconds)
    return Section("budget", "Budget", words, charts, [_table(facts)], aside=True)


def _expected(facts: Facts) -> Chart | None:
    columns: dict[str, list[Any]] = {k: [] for k in ("stage", "n", "best", "biased", "low", "high")}
    sign = 1 if facts.mode == "min" else -1
    for stage in facts.stages:
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
    up = metric_channel("best", f"expected best {facts.metric}", values, facts.mode, clamp=False)
    colour = by_stage(facts)["color"]
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


def _spent(facts: Facts) -> dict[tuple[str, str], float]:
    """Seconds by stage and status; those of running trials so far."""
    now = time.time()
    found: defaultdict[tuple[str, str], float] = defaultdict(float)
    for trial in facts.everything:
        found[trial.stage, trial.status] += _of(trial, now)
    return dict(found)


def _of(trial: Trial, now: float) -> float:
    if trial.result:
        return trial.result.seconds
    return trial.seconds_running(now) if trial.running else 0.0


def _seconds(facts: Facts) -> Chart | None:
    spent = {key: seconds for key, seconds in _spent(facts).items() if seconds > 0}
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


def _table(facts: Facts) -> Table:
    rows = []
    spent = _spent(facts)
    for stage in dict.fromkeys(t.stage for t in facts.everything):
        trials = [t for t in facts.everything if t.stage == stage]
        seconds = sum(s for (name, _), s in spent.items() if name == stage)
        rows.append([stage, str(len(trials)), counts(trials), duration(seconds)])
    whole = duration(sum(spent.values()))
    rows.append(["all", str(len(facts.everything)), counts(facts.everything), whole])
    return Table(["stage", "trials", "became", "training"], rows)
