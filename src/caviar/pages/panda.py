"""The page of one model that is looked after, and its picture: the curve with every nudge.

`caviar report` writes the page, `caviar panda picture` the picture alone. Both are of what the run
has left in its folder, also while it runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from caviar.pages import write_sections
from caviar.pages.channels import Spec, metric_channel, metric_domain
from caviar.pages.marks import Chart, layers, table
from caviar.pages.page import Section, Table
from caviar.pages.png import write_png
from caviar.panda.inbox import run_state
from caviar.panda.journal import (
    BACK,
    DAY,
    DIVERGED,
    MOVES,
    SET,
    Event,
    Journal,
    Lineage,
    sentence,
    shown,
)
from caviar.panda.levers import MAX_EPOCHS, MAX_STEPS, read_config
from caviar.panda.record import Line, branch_line, curve, rows
from caviar.screen.view import plural

LABELS = 16  # nudges that the legend has room for
DAYS = 12  # numbers above the picture
WIDTH = 760  # of the PNG

Ends = tuple[float, float]  # of the picture, up and down


def write_panda_report(folder: Path) -> list[Path]:
    """Write the page and its picture; the files, the page first.

    Raises:
        UserError: the run's config is damaged.
    """
    return write_sections(folder, panda_sections(folder))


def panda_sections(folder: Path) -> list[Section]:
    """Verdict, curve, journal.

    Arguments:
        folder: of a panda that was begun.
    """
    config, events, record = read_config(folder), Journal(folder).events(), rows(folder)
    metric, mode = config["metric"]["name"], config["metric"]["mode"]
    lineage, nudges = Lineage.of(events), nudges_in(events)
    branches = range(lineage.branch + 1)
    values = [(value, step, b) for b in branches for step, value in curve(record, metric, b)]
    if values:
        value, step, branch = (min if mode == "min" else max)(values)
        best = f"Its best {metric} is {value:.4g}, at step {step} of branch {branch}."
    else:
        best = f"It has come to no value of {metric} yet."
    days = plural(len(lineage.days()), "day")
    back = len(lineage.origins)
    verdict = [
        f"{folder.name} is {run_state(folder, lineage)}, after {days} and "
        f"{plural(len(nudges), 'nudge')}{f', {back} of them going back' if back else ''}.",
        best,
    ]
    sentences = [(e.kind, [e.time.replace("T", " ")[:16], sentence(e)]) for e in events]
    journal = Table(["when", "what"], [row for kind, row in sentences if kind != DAY])
    ends = Table(["when", "day"], [row for kind, row in sentences if kind == DAY])
    hint = "A triangle is a nudge; a dotted line a divergence. Point at them for what they changed."
    return [
        Section("verdict", "Verdict", verdict),
        Section("curves", "Its curve, and its nudges", [hint], [curve_chart(folder)]),
        Section("journal", "Journal", tables=[journal, ends]),
    ]


def draw(folder: Path, path: Path) -> Path:
    """Draw the picture as PNG; its path."""
    return write_png(curve_chart(folder), path, WIDTH)


def curve_chart(folder: Path) -> Chart:
    """The picture of the panda in a folder."""
    config, events, record = read_config(folder), Journal(folder).events(), rows(folder)
    metric, lineage = config["metric"]["name"], Lineage.of(events)
    lines = {b: branch_line(record, lineage, metric, b) for b in range(lineage.branch + 1)}
    # A branch is more than the point where it began.
    lines = {b: line for b, line in lines.items() if len(line) > (b in lineage.origins)}
    values = [v for line in lines.values() for _, v in line]
    # What lies outside is drawn at the edge: a branch that diverged passes all bounds, and would
    # make a flat line of all the others.
    up = metric_channel("value", metric, values, config["metric"]["mode"], clamp=False)
    domain = metric_domain(values, config["metric"]["mode"])
    ends = (domain[0][0], domain[0][1]) if domain else (-math.inf, math.inf)
    names = {b: _name(b, lineage) for b in lines}
    across: Spec = {
        "field": "step",
        "type": "quantitative",
        "title": "step",
        "scale": {"nice": False},
        "axis": {"grid": False, "tickMinStep": 1},
    }
    colour: Spec = {"field": "branch", "type": "nominal", "scale": {"domain": [*names.values()]}}
    colour["legend"] = {"columns": 1, "labelLimit": 300}
    branches = _branches(
        lines, names, lineage.branch, {"x": across, "y": up, "color": colour}, ends
    )
    parts = [
        *_days(lineage, across),
        branches,
        *_nudges(events, lines, names, {"x": across, "y": up}, ends),
        *_divergences(events, across),
    ]
    zoom: Spec = {"name": "zoom", "bind": "scales"}
    zoom["select"] = {"type": "interval", "encodings": ["x"], "zoom": "wheel![event.shiftKey]"}
    branches["params"] = [zoom]
    title = f"{folder.name}: one model, looked after"
    return Chart("panda", title, layers(*parts, height=340))


def _name(branch: int, lineage: Lineage) -> str:
    if branch not in lineage.origins:
        return f"branch {branch}"
    origin, day = lineage.origins[branch]
    return f"branch {branch}, from day {day}" + (f" of {origin}" if origin else "")


def _branches(
    lines: dict[int, Line], names: dict[int, str], now: int, encoding: Spec, ends: Ends
) -> Spec:
    """A line for each branch, the present one thicker."""
    points = [(b, s, _cut(v, ends)) for b, line in lines.items() for s, v in line]
    columns: dict[str, list[object]] = {
        "branch": [names[b] for b, _, _ in points],
        "now": [str(b == now) for b, _, _ in points],
        "step": [s for _, s, _ in points],
        "value": [v for _, _, v in points],
    }
    width = {"condition": {"test": "datum.now == 'True'", "value": 2.4}, "value": 1.3}
    tooltip = [{"field": "branch", "type": "nominal"}, {"field": "step", "type": "quantitative"}]
    tooltip.append({"field": "value", "type": "quantitative", "format": ".4~g"})
    return {
        "data": table(columns),
        "mark": {"type": "line", "clip": True, "point": {"size": 14}},
        "encoding": {**encoding, "strokeWidth": width, "tooltip": tooltip},
    }


def _cut(value: float, ends: Ends) -> float:
    """A value as it is drawn: inside of the picture."""
    return min(max(value, ends[0]), ends[1])


def _nudges(
    events: Sequence[Event], lines: dict[int, Line], names: dict[int, str], place: Spec, ends: Ends
) -> list[Spec]:
    """A triangle at each nudge, numbered; what it changed is in the legend and under a pointer."""
    nudges = nudges_in(events)
    marks = []
    for number, nudge in enumerate(nudges, start=1):
        line = lines.get(nudge.branch, [])
        before = [p for p in line if p[0] <= nudge.step] or line[:1]
        if not before:
            continue
        # Several at one place stand above one another.
        above = sum(e.step == nudge.step for e in nudges[: number - 1])
        label = f"{number}: {_words(nudge)}" if number <= LABELS else "…"
        height = _cut(before[-1][1], ends)
        marks.append((nudge.step, height, str(number), label, sentence(nudge), -16 - 13 * above))
    if not marks:
        return []
    columns = ("step", "value", "number", "label", "sentence", "above")
    data = table(dict(zip(columns, map(list, zip(*marks, strict=True)), strict=True)))
    labels = list(dict.fromkeys(mark[3] for mark in marks))
    legend = {"orient": "bottom", "columns": 1, "symbolType": "triangle-up", "labelLimit": 340}
    # The legend is the list of what was changed; all its triangles look the same.
    same = {"domain": labels, "range": ["transparent"]}
    triangles: Spec = {
        "data": data,
        "mark": {
            "type": "point",
            "shape": "triangle-up",
            "size": 110,
            "stroke": {"expr": "ink"},
            "opacity": 1,
        },
        "encoding": {
            **place,
            "fill": {"field": "label", "type": "nominal", "scale": same, "legend": legend},
            "tooltip": [{"field": "sentence", "type": "nominal", "title": "nudge"}],
        },
    }
    numbers: Spec = {
        "data": data,
        "mark": {"type": "text", "fontWeight": "bold", "dy": {"expr": "datum.above"}},
        "encoding": {**place, "text": {"field": "number", "type": "nominal"}},
    }
    return [triangles, numbers]


def _divergences(events: Sequence[Event], across: Spec) -> list[Spec]:
    steps = [e.step for e in events if e.kind == DIVERGED]
    if not steps:
        return []
    sentences = [sentence(e) for e in events if e.kind == DIVERGED]
    tooltip = [{"field": "sentence", "type": "nominal", "title": "diverged"}]
    return [
        {
            "data": table({"step": steps, "sentence": sentences}),
            "mark": {"type": "rule", "strokeDash": [2, 3], "color": {"expr": "ink"}},
            "encoding": {"x": across, "tooltip": tooltip},
        }
    ]


def nudges_in(events: Sequence[Event]) -> list[Event]:
    """What changed the model: going back with other values is one, a longer run is none."""
    return [e for e in events if e.kind in (SET, BACK) and _words(e)]


def _words(nudge: Event) -> str:
    """What a nudge changed; a longer run is no change of the model."""
    changed = {k: new for k, (old, new) in nudge.changes.items() if old != new}
    for length in (MAX_EPOCHS, MAX_STEPS):
        changed.pop(length, None)
    words = [f"{key.rpartition('.')[2]} {shown(new)}" for key, new in changed.items()]
    # Of optimizers whose values no key has.
    moved = [m for m in nudge.facts.get(MOVES, []) if m["new"] != m["old"] and not words]
    words += [f"{move['name']} {shown(move['new'])}" for move in moved]
    return ", ".join(dict.fromkeys(words))


def _days(lineage: Lineage, across: Spec) -> list[Spec]:
    """A thin line at the end of each day that led to the present, and its number above."""
    days = lineage.days()
    if not days:
        return []
    every = -(-len(days) // DAYS)
    named = days[every - 1 :: every]
    rule = {"type": "rule", "color": {"expr": "faint"}, "opacity": 0.35, "strokeWidth": 0.8}
    text = {"type": "text", "y": -7, "fontSize": 10, "color": {"expr": "faint"}}
    numbers = table({"step": [d.step for d in named], "day": [f"day {d.day}" for d in named]})
    encoding = {"x": across, "text": {"field": "day", "type": "nominal"}}
    steps = table({"step": [d.step for d in days]})
    return [
        {"data": steps, "mark": {**rule, "clip": True}, "encoding": {"x": across}},
        {"data": numbers, "mark": text, "encoding": encoding},
    ]
