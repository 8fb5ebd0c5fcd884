"""Every axis: how the stages narrowed it, and the metric against its values, in one picture each.

The points of an axis lie below a strip with one bar a stage, its range there; both are on the
axis' own scale. The plane of two axes shows the ranges as boxes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from caviar.pages.channels import Spec, axis_channel, metric_channel, place, range_ends
from caviar.pages.marks import (
    DIMMED,
    Chart,
    heights,
    is_lost,
    layers,
    stage_colour,
    table_of_rows,
    tooltip,
    trial_marks,
)
from caviar.pages.page import Section, Table
from caviar.pages.snapshot import Snapshot, best_value
from caviar.refine.ranges import SHARES
from caviar.screen.view import plural
from caviar.space import Axis, Space

ALARM = "boundary alarm"  # how refine begins a reason that a reader must not miss
# Pixels: height of the points, of a stage in the strip above them, and between the two.
POINTS, ROW, GAP = 220, 11, 8
TOP = 5  # pixels below the gap: where trials that diverged or failed are shown


def axes_section(snapshot: Snapshot) -> Section:
    """The plane of the two axes that come first, every axis by itself, and a table of ranges."""
    stages = [
        f"{s.name}: {plural(s.total, 'trial')}"
        + ("" if s.begun else ", not begun; its ranges are those that refine has written")
        for s in snapshot.stages
    ]
    alarms = [
        f"{ALARM.capitalize()}: {axis.key} in {stage.name}: {reason.removeprefix(ALARM + ' ')}."
        for stage in snapshot.stages
        for axis in snapshot.space
        for reason in stage.reasons.get(axis.name, ())
        if reason.startswith(ALARM)
    ]
    # Without reasons nothing is known: a stage by hand, or a sweep of W&B.
    refined = len(snapshot.stages) > 1 and all(s.reasons for s in snapshot.stages[1:])
    if refined and not alarms:
        alarms = ["No boundary alarm: the best trials leaned on no wall of the first stage."]
    reasons = [r for s in snapshot.stages for axis in s.reasons.values() for r in axis]
    words = [
        f"{'; '.join(stages)}.",
        *([f"In the table, {SHARES}."] if any("rank variance" in r for r in reasons) else []),
        *([f"Drawn: {snapshot.sampled}."] if snapshot.sampled else []),
        *alarms,
        "Each hyperparameter on its own scale; that of a momentum β is logarithmic in 1-β and "
        "labelled in β. A bar is a stage's range. Drag to move a picture, wheel with shift to "
        "zoom, click a stage in a legend to see it alone, double-click to go back.",
    ]
    if lost := sum(is_lost(t) for t in snapshot.trials):
        words.append(
            f"A cross at the top: {plural(lost, 'trial')} that diverged or failed. In the "
            "plane a cross stands where its trial was."
        )
    if any(not t.finished and t.point for t in snapshot.trials):
        words.append("A tick on a bar: a trial that has no value yet.")
    # The plane first: in it one sees what coarse to fine means.
    charts = [_plane(snapshot)] if len(snapshot.space) > 1 else []
    charts += [_against_value(snapshot, axis) for axis in snapshot.space]
    title = "Axes: how the ranges narrowed, and what came of it"
    return Section("axes", title, words, charts, [_ranges(snapshot)], aside=True)


def _against_value(snapshot: Snapshot, axis: Axis) -> Chart:
    """The metric against an axis' values, above the ranges that the stages gave it."""
    trials = [t for t in snapshot.trials if axis.name in t.point]
    places = [place(axis, t.point[axis.name], t.number) for t in trials]
    ends = [range_ends(stage.axis(axis), axis) for stage in snapshot.stages]
    across = axis_channel(axis, "x", places, ends)
    finished = [i for i, t in enumerate(trials) if t.finished]
    shown, x = [trials[i] for i in finished], [places[i] for i in finished]
    values = [v for t in shown if (v := best_value(t)) is not None]
    up = metric_channel("y", snapshot.metric, values, snapshot.mode, clamp=False)
    # Vega would draw the grid as long as the range is, but from the picture's other end.
    across["axis"]["grid"] = False
    strip = ROW * len(snapshot.stages) + GAP
    height = strip + (POINTS if shown else 0)
    up["scale"]["range"] = [height, strip]
    lost_up = {"value": strip + TOP}
    marks = trial_marks(snapshot, shown, x, heights(snapshot, shown), across, up, lost_up)
    legend = any("params" in mark for mark in marks)
    bars = _strip(snapshot, axis, across, ends, legend)
    return Chart(f"axis_{axis.key}", axis.key, layers(*marks, *bars, height=height))


def _strip(
    snapshot: Snapshot,
    axis: Axis,
    across: Spec,
    ends: Sequence[tuple[float, float]],
    legend: bool,
) -> list[Spec]:
    """A bar for each stage's range, its end points, and its trials without a value as ticks.

    Arguments:
        snapshot: whose stages are shown, the first one on top.
        axis: of the first stage.
        across: its encoding, of a field `x`.
        ends: of each stage's range, as places.
        legend: whether the picture has a legend, whose choice dims the bars of the others.
    """
    row = {s.name: ROW * (i + 0.5) for i, s in enumerate(snapshot.stages)}
    # Pixels, not the metric: a reader who zooms into the points leaves the strip where it is.
    up: Spec = {"field": "row", "type": "quantitative", "scale": None, "axis": None}
    colour = stage_colour(snapshot)
    shared: Spec = {"x": across, "y": up, "color": colour}
    if legend:
        shared["opacity"] = DIMMED
    says = tooltip({"stage": "stage", "range": "range"})
    ranges = [
        (stage.name, *pair, row[stage.name], str(stage.axis(axis).scale))
        for stage, pair in zip(snapshot.stages, ends, strict=True)
    ]
    bars: Spec = {
        "data": table_of_rows(("stage", "x", "end", "row", "range"), ranges),
        "mark": {"type": "rule", "strokeWidth": 3, "clip": True},
        "encoding": {**shared, "x2": {"field": "end"}, "tooltip": says},
    }
    tick = {"type": "tick", "orient": "vertical", "opacity": 1, "clip": True}
    # A bar of a frozen axis has no length; its end points show where it is.
    both = [(name, x, y, words) for name, *pair, y, words in ranges for x in pair]
    stops: Spec = {
        "data": table_of_rows(("stage", "x", "row", "range"), both),
        "mark": {**tick, "thickness": 3, "size": 9},
        "encoding": {**shared, "tooltip": says},
    }
    waiting = [
        (t.stage, x, row[t.stage], f"{t.stage}/{t.number}: {t.status}")
        for t in snapshot.trials
        if not t.finished and axis.name in t.point
        for x in [place(axis, t.point[axis.name], t.number)]
        if not math.isnan(x)
    ]
    ticks: Spec = {
        "data": table_of_rows(("stage", "x", "row", "trial"), waiting),
        "mark": {**tick, "thickness": 1, "size": 8, "color": {"expr": "ink"}},
        "encoding": {"x": across, "y": up, "tooltip": tooltip({"trial": "trial"})},
    }
    return [bars, stops, *([ticks] if waiting else [])]


def plane_axes(space: Space) -> list[Axis]:
    """Learning rate across and momentum up, or the first two axes."""
    across = next((a for a in space if a.key.endswith(".lr")), space.axes[0])
    others = [a for a in space if a is not across]
    momentum = [a for a in others if a.key.endswith((".momentum", ".beta1"))]
    return [across, *(momentum or others)[:1]]


def _plane(snapshot: Snapshot) -> Chart:
    """Every trial of the search in the plane of two axes, and the boxes of the stages."""
    first, second = plane_axes(snapshot.space)
    trials = [t for t in snapshot.trials if {first.name, second.name} <= {*t.point}]
    x = [place(first, t.point[first.name], t.number) for t in trials]
    # Spread otherwise than across: two choices would else lie on a diagonal.
    y = [place(second, t.point[second.name], t.number + 1) for t in trials]
    wide = [range_ends(s.axis(first), first) for s in snapshot.stages]
    tall = [range_ends(s.axis(second), second) for s in snapshot.stages]
    across, up = axis_channel(first, "x", x, wide), axis_channel(second, "y", y, tall)
    names = [s.name for s in snapshot.stages]
    rows = [(name, *w, *t) for name, w, t in zip(names, wide, tall, strict=True)]
    boxes: Spec = {
        "data": table_of_rows(("stage", "x", "right", "y", "high"), rows),
        "mark": {"type": "rect", "fillOpacity": 0, "strokeWidth": 1.8, "clip": True},
        "encoding": {
            "x": across,
            "x2": {"field": "right"},
            "y": up,
            "y2": {"field": "high"},
            "stroke": stage_colour(snapshot),
        },
    }
    best = ", the ring the best" if any(t is snapshot.best for t in trials) else ""
    return Chart(
        "trials",
        f"Every trial; the boxes are the stages' ranges{best}",
        layers(boxes, *trial_marks(snapshot, trials, x, y, across, up), height=340),
    )


def _ranges(snapshot: Snapshot) -> Table:
    """Each axis in each stage, and why."""
    rows = []
    for axis in snapshot.space:
        # Also of a stage that left the range alone: that nothing spoke against it is a result.
        for stage in snapshot.stages:
            why = "; ".join(stage.reasons.get(axis.name, ()))
            share = len(stage.trials) / max(1, stage.total)  # 1, unless they are a sample
            drawn = round(sum(axis.name in t.point for t in stage.trials) / (share or 1))
            rows.append([axis.key, stage.name, str(stage.axis(axis).scale), why, str(drawn)])
    return Table(["axis", "stage", "range", "why", "trials"], rows)
