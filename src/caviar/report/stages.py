"""How each axis narrowed: the boxes of the stages on the axis' own scale, the trials in them."""

from __future__ import annotations

import json

from caviar.report.marks import (
    GOLDEN,
    TOOLTIP,
    Chart,
    Spec,
    axis_channel,
    by_stage,
    layers,
    place,
    range_ends,
    table,
    words_of,
)
from caviar.report.page import Section, Table
from caviar.report.snapshot import Snapshot, axis_in
from caviar.screen.view import plural
from caviar.space import Axis

ALARM = "boundary alarm"
ROW = 46  # height of a stage, in a picture


def stages_section(snapshot: Snapshot) -> Section:
    """All stages, axis by axis."""
    refined = len(snapshot.stages) > 1 and all(s.reasons for s in snapshot.stages[1:])
    words = [
        f"{s.name}: {plural(len(s.trials), 'trial')}"
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
    if refined and not alarms:
        alarms = ["No boundary alarm: the best trials leaned on no wall of the first stage."]
    charts = [_narrowing(snapshot, axis) for axis in snapshot.space]
    return Section(
        "stages",
        "Stages: how the ranges narrowed",
        [f"{'; '.join(words)}.", *alarms],
        charts,
        [_ranges(snapshot)],
        aside=True,
    )


def _narrowing(snapshot: Snapshot, axis: Axis) -> Chart:
    trials = [t for t in snapshot.trials if axis.name in t.point]
    places = [place(axis, t.point[axis.name], t.number) for t in trials]
    ends = [range_ends(axis_in(s, axis), axis) for s in snapshot.stages]
    names = [s.name for s in snapshot.stages]
    across = axis_channel(axis, "place", places, ends)
    # Rows from the top down, by their numbers: boxes and spread points share one scale.
    row = {name: i for i, name in enumerate(names)}
    ticks = {"values": list(row.values()), "labelExpr": f"{json.dumps(names)}[datum.value]"}
    up: Spec = {
        "field": "row",
        "type": "quantitative",
        "title": None,
        "scale": {"domain": [len(names) - 0.5, -0.5], "nice": False, "zero": False},
        "axis": {**ticks, "grid": False, "ticks": False, "domain": False},
    }
    colour = by_stage(snapshot, legend=None)["color"]
    boxes: Spec = {
        "data": table(
            {
                "stage": names,
                "low": [e[0] for e in ends],
                "high": [e[1] for e in ends],
                "row": [i - 0.4 for i in row.values()],
                "end": [i + 0.4 for i in row.values()],
            }
        ),
        "mark": {"type": "rect", "fillOpacity": 0.12, "strokeWidth": 1.5},
        "encoding": {
            "x": {**across, "field": "low"},
            "x2": {"field": "high"},
            "y": up,
            "y2": {"field": "end"},
            "fill": colour,
            "stroke": colour,
        },
    }
    # Spread over the row's height, so that no trial hides another.
    rows = [row[t.stage] + 0.62 * ((t.number * GOLDEN) % 1 - 0.5) for t in trials]
    points: Spec = {
        "data": table({**words_of(snapshot, trials), "place": places, "row": rows}),
        "mark": {"type": "point", "filled": True, "size": 26, "opacity": 1, "fillOpacity": 0.75},
        "encoding": {"x": across, "y": up, **by_stage(snapshot, legend=None), "tooltip": TOOLTIP},
    }
    best = [i for i, t in enumerate(trials) if t is snapshot.best]
    ring: Spec = {
        "data": table({"place": [places[i] for i in best], "row": [rows[i] for i in best]}),
        "mark": {"type": "point", "size": 160, "strokeWidth": 2, "color": {"expr": "ink"}},
        "encoding": {"x": across, "y": up},
    }
    shown = [boxes, points, *([ring] if best else [])]
    return Chart(
        f"stages_{axis.key}",
        axis.key,
        layers(*shown, height=max(2, len(names)) * ROW),
    )


def _ranges(snapshot: Snapshot) -> Table:
    """Each axis in each stage, and why."""
    rows = []
    for axis in snapshot.space:
        for stage in snapshot.stages:
            found = axis_in(stage, axis)
            why = "; ".join(stage.reasons.get(axis.name, ()))
            drawn = sum(axis.name in t.point for t in stage.trials)
            rows.append([axis.key, stage.name, str(found.scale), why, str(drawn)])
    return Table(["axis", "stage", "range", "why", "trials"], rows)
