"""The metric against each hyperparameter, on its own scale, and every trial in its plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caviar.charts import Chart, axis_channel, layers, metric_channel, table
from caviar.charts.parts import Spec, place, range_ends
from caviar.ledger import Trial
from caviar.report.facts import Facts, axis_in
from caviar.report.points import (
    CROSS,
    DIMMED,
    LEGEND,
    TOOLTIP,
    ZOOM,
    by_stage,
    ended,
    heights,
    words_of,
)
from caviar.report.section import Section
from caviar.space import Axis, Space
from caviar.view import plural

TOP = {"value": 5}  # pixels: where trials without a value are shown


def axes_section(facts: Facts) -> Section:
    """Metric against value, axis by axis, and the plane of the two axes that come first."""
    lost = [t for t in facts.trials if t.finished and not ended(t)]
    words = [
        "Each hyperparameter on its own scale; that of a momentum β is logarithmic in 1-β and "
        "labelled in β. Drag to move a picture, wheel with shift to zoom, click a "
        "stage in a legend to see it alone, double-click to go back."
    ]
    if lost:
        words.append(
            f"A cross at the top: {plural(len(lost), 'trial')} that diverged or failed. In the "
            "plane a cross stands where its trial was."
        )
    plane = [trials_chart(facts)] if len(facts.space) > 1 else []
    against = [
        _against(facts, axis) for axis in facts.space if any(t.finished for t in facts.trials)
    ]
    charts = [*plane, *against]
    return Section("axes", "Every axis", words, charts, aside=True)


def _against(facts: Facts, axis: Axis) -> Chart:
    trials = [t for t in facts.trials if axis.name in t.point]
    places = [place(axis, t.point[axis.name], t.number) for t in trials]
    ends = [range_ends(axis_in(s, axis), axis) for s in facts.stages]
    across = axis_channel(axis, "place", places, ends)
    done = [(t, x) for t, x in zip(trials, places, strict=True) if facts.value(t) is not None]
    lost = [
        (t, x) for t, x in zip(trials, places, strict=True) if t.finished and facts.value(t) is None
    ]
    known = [v for t, _ in done if (v := facts.value(t)) is not None]
    up = metric_channel("height", facts.metric, known, facts.mode, clamp=False)
    shown = _data(facts, done)
    points: Spec = {
        "data": table({**shown, "height": heights(facts, [t for t, _ in done])}),
        "params": [ZOOM, LEGEND],
        "mark": {"type": "point", "filled": True, "size": 40, "clip": True, "opacity": 1},
        "encoding": {
            "x": across,
            "y": up,
            **by_stage(facts),
            "fillOpacity": DIMMED,
            "tooltip": TOOLTIP,
        },
    }
    crosses: Spec = {
        "data": table(_data(facts, lost)),
        "mark": {"type": "point", "shape": CROSS, "size": 40, "strokeWidth": 1.5, "clip": True},
        "encoding": {"x": across, "y": TOP, "color": by_stage(facts)["color"], "tooltip": TOOLTIP},
    }
    best = [(t, x) for t, x in done if t is facts.best]
    ring: Spec = {
        "data": table({**_data(facts, best), "height": heights(facts, [t for t, _ in best])}),
        "mark": {
            "type": "point",
            "size": 200,
            "strokeWidth": 2,
            "color": {"expr": "ink"},
            "clip": True,
        },
        "encoding": {"x": across, "y": up},
    }
    parts = [
        *([points] if done else []),
        *([crosses] if lost else []),
        *([ring] if best else []),
    ]
    return Chart(f"axis_{axis.key}", axis.key, layers(*parts, height=260))


def _data(facts: Facts, found: Sequence[tuple[Trial, float]]) -> dict[str, list[Any]]:
    return {**words_of(facts, [t for t, _ in found]), "place": [x for _, x in found]}


def plane_axes(space: Space) -> list[Axis]:
    """Learning rate across and momentum up, or the first two axes."""
    across = next((a for a in space if a.key.endswith(".lr")), space.axes[0])
    others = [a for a in space if a is not across]
    momentum = [a for a in others if a.key.endswith((".momentum", ".beta1"))]
    return [across, *(momentum or others)[:1]]


def trials_chart(facts: Facts) -> Chart:
    """Every trial of a search in the plane of two axes, and the boxes that refine drew."""
    first, second = plane_axes(facts.space)
    trials = [t for t in facts.trials if {first.name, second.name} <= {*t.point}]
    x = [place(first, t.point[first.name], t.number) for t in trials]
    y = [place(second, t.point[second.name], t.number + 1) for t in trials]
    wide = [range_ends(axis_in(s, first), first) for s in facts.stages]
    tall = [range_ends(axis_in(s, second), second) for s in facts.stages]
    across, up = axis_channel(first, "x", x, wide), axis_channel(second, "y", y, tall)
    places = {**words_of(facts, trials), "x": x, "y": y}
    lost = [t.finished and not ended(t) for t in trials]
    fate = ["diverged or failed" if gone else "trial" for gone in lost]
    boxes = {
        "data": table(
            {
                "stage": [s.name for s in facts.stages],
                "left": [e[0] for e in wide],
                "right": [e[1] for e in wide],
                "low": [e[0] for e in tall],
                "high": [e[1] for e in tall],
            }
        ),
        "mark": {"type": "rect", "fillOpacity": 0, "strokeWidth": 1.8, "clip": True},
        "encoding": {
            "x": {**across, "field": "left"},
            "x2": {"field": "right"},
            "y": {**up, "field": "low"},
            "y2": {"field": "high"},
            "stroke": by_stage(facts)["color"],
        },
    }
    data = table({**places, "fate": fate})
    points: Spec = {
        "data": data,
        "transform": [{"filter": "datum.fate == 'trial'"}],
        "params": [ZOOM, LEGEND],
        "mark": {"type": "point", "filled": True, "size": 46, "clip": True, "opacity": 1},
        "encoding": {"x": across, "y": up, **by_stage(facts), "fillOpacity": DIMMED}
        | {"tooltip": TOOLTIP},
    }
    crosses: Spec = {
        "data": data,
        "transform": [{"filter": "datum.fate != 'trial'"}],
        "mark": {"type": "point", "shape": CROSS, "size": 36, "strokeWidth": 1.5, "clip": True},
        "encoding": {"x": across, "y": up, "color": by_stage(facts)["color"], "tooltip": TOOLTIP},
    }
    best = [i for i, t in enumerate(trials) if t is facts.best]
    ring: Spec = {
        "data": table({"x": [x[i] for i in best], "y": [y[i] for i in best]}),
        "mark": {"type": "point", "size": 220, "strokeWidth": 2, "color": {"expr": "ink"}},
        "encoding": {"x": across, "y": up},
    }
    parts = [boxes, points, *([crosses] if any(lost) else []), *([ring] if best else [])]
    return Chart(
        "trials",
        f"Every trial; the boxes are the stages' ranges{', the ring the best' if best else ''}",
        layers(*parts, height=340),
    )
