"""What one may expect of n trials, and where the seconds went."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from caviar.pages.channels import metric_channel
from caviar.pages.marks import Chart, Spec, layers, stage_colour, table_of_rows, tooltip
from caviar.pages.page import Section, Table
from caviar.pages.snapshot import Snapshot
from caviar.refine.expected import BAND, expected_best
from caviar.screen.view import counted, duration

ROW = 36  # pixels of a stage

Spent = Mapping[tuple[str, str], float]  # seconds, by stage and status


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
        if any(s.spec.get("acquisition", "none") != "none" for s in snapshot.stages):
            words.append(
                "Where a model picked the trials of a stage, most promising first, its curve is of "
                "those trials in any order, and more of them would be less promising ones."
            )
    else:
        words.append(f"No trial has come to a value of {snapshot.metric} yet.")
    # Failed and pruned ones cost as well; of a running one, what it has taken so far.
    spent = {
        (stage.name, status): seconds
        for stage in snapshot.all_stages
        for status, seconds in stage.seconds.items()
    }
    if any(spent.values()):
        charts.append(_seconds(spent))
    return Section("budget", "Budget", words, charts, [_table(snapshot, spent)], aside=True)


def _expected(snapshot: Snapshot) -> Chart | None:
    """A curve and its band for each stage; None without a finite loss."""
    names = ("stage", "n", "best", "biased", "low", "high")
    rows: list[tuple[Any, ...]] = []
    sign = 1 if snapshot.mode == "min" else -1
    for stage in snapshot.stages:
        if not any(map(math.isfinite, stage.losses)):
            continue
        curve = expected_best(stage.losses)
        # Losses of a metric to be maximised are its negative: the lower end is the higher one.
        ends = (curve.low, curve.high) if sign > 0 else (curve.high, curve.low)
        columns = (sign * x for x in (curve.unbiased, curve.biased, *ends))
        numbers = zip(curve.n.tolist(), *(c.tolist() for c in columns), strict=True)
        rows += [(stage.name, *row) for row in numbers]
    if not rows:
        return None
    across: Spec = {
        "field": "n",
        "type": "quantitative",
        "title": "number of trials",
        # Each doubling of the budget is as wide as the one before: what does the next one buy?
        "scale": {"type": "log", "nice": False},
        "axis": {"tickCount": 6, "labelExpr": "format(datum.value, '~g')", "grid": False},
    }
    values = [value for _, _, *of_row in rows for value in of_row]
    title = f"expected best {snapshot.metric}"
    up = metric_channel("best", title, values, snapshot.mode, clamp=False)
    colour = stage_colour(snapshot)
    says = tooltip(
        {"stage": "stage", "n": "trials"},
        {"best": "unbiased", "biased": "biased", "low": "10 %", "high": "90 %"},
    )
    band: Spec = {
        "mark": {"type": "area", "opacity": 0.15, "clip": True},
        "encoding": {"x": across, "y": {**up, "field": "low"}, "y2": {"field": "high"}}
        | {"color": colour},
    }
    unbiased: Spec = {
        "mark": {"type": "line", "strokeWidth": 2.2, "clip": True, "point": {"size": 12}},
        "encoding": {"x": across, "y": up, "color": colour, "tooltip": says},
    }
    biased: Spec = {
        "mark": {"type": "line", "strokeWidth": 1.4, "strokeDash": [5, 4], "clip": True},
        "encoding": {"x": across, "y": {**up, "field": "biased"}, "color": colour},
    }
    return Chart(
        "expected_best",
        "Expected best after n trials, stage by stage",
        layers(band, biased, unbiased, data=table_of_rows(names, rows)),
    )


def _seconds(spent: Spent) -> Chart:
    """A bar for each stage, a colour for each status."""
    rows = [(*key, seconds) for key, seconds in spent.items() if seconds > 0]
    stages = list(dict.fromkeys(stage for stage, *_ in rows))  # as they ran, not by name
    bars: Spec = {
        "mark": {"type": "bar"},
        "encoding": {
            "x": {"field": "seconds", "type": "quantitative", "title": "seconds of training"},
            "y": {"field": "stage", "type": "nominal", "title": None, "sort": stages},
            "color": {"field": "status", "type": "nominal"},
            "tooltip": tooltip(
                {"stage": "stage", "status": "status"}, {"seconds": "seconds"}, form=".1f"
            ),
        },
    }
    data = table_of_rows(("stage", "status", "seconds"), rows)
    height = max(80, ROW * len(stages))
    return Chart("seconds", "Where the seconds went", layers(bars, data=data, height=height))


def _table(snapshot: Snapshot, spent: Spent) -> Table:
    """Trials and seconds of each stage, confirmation and tests among them, and of all."""
    rows = []
    for stage in snapshot.all_stages:
        if not stage.total:
            continue
        seconds = sum(s for (name, _), s in spent.items() if name == stage.name)
        rows.append([stage.name, str(stage.total), counted(stage.counts), duration(seconds)])
    whole = duration(sum(spent.values()))
    total = sum(snapshot.counts.values())
    rows.append(["all", str(total), counted(snapshot.counts), whole])
    return Table(["stage", "trials", "became", "training"], rows)
