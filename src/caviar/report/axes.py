"""The metric against each hyperparameter, on its own scale, and every trial in its plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caviar.ledger import Trial
from caviar.report.marks import (
    CROSS,
    DIMMED,
    LEGEND,
    TOOLTIP,
    ZOOM,
    Chart,
    Spec,
    axis_channel,
    by_stage,
    ended,
    heights,
    layers,
    metric_channel,
    place,
    range_ends,
    table,
    words_of,
)
from caviar.report.page import Section
from caviar.report.snapshot import Snapshot, axis_in
from caviar.screen.view import plural
from caviar.space import Axis, Space

TOP = {"value": 5}  # pixels: where trials without a value are shown


def axes_section(snapshot: Snapshot) -> Section:
    """Metric against value, axis by axis, and the plane of the two axes that come first."""
    lost = [t for t in snapshot.trials if t.finished and not ended(t)]
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
    plane = [trials_chart(snapshot)] if len(snapshot.space) > 1 else []
    against = [
        _against(snapshot, axis)
        for axis in snapshot.space
        if any(t.finished for t in snapshot.trials)
    ]
    charts = [*plane, *against]
    return Section("axes", "Every axis", words, charts, aside=True)


def _against(snapshot: Snapshot, axis: Axis) -> Chart:
    trials = [t for t in snapshot.trials if axis.name in t.point]
    places = [place(axis, t.point[axis.name], t.number) for t in trials]
    ends = [range_ends(axis_in(s, axis), axis) for s in snapshot.stages]
    across = axis_channel(axis, "place", places, ends)
    done = [(t, x) for t, x in zip(trials, places, strict=True) if snapshot.value(t) is not None]
    lost = [
        (t, x)
        for t, x in zip(trials, places, strict=True)
        if t.finished and snapshot.value(t) is None
    ]
    known = [v for t, _ in done if (v := snapshot.value(t)) is not None]
    up = metric_channel("height", snapshot.metric, known, snapshot.mode, clamp=False)
    shown = _data(snapshot, done)
    points: Spec = {
        "data": table({**shown, "height": heights(snapshot, [t for t, _ in done])}),
        "params": [ZOOM, LEGEND],
        "mark": {"type": "point", "filled": True, "size": 40, "clip": True, "opacity": 1},
        "encoding": {
            "x": across,
            "y": up,
            **by_stage(snapshot),
            "fillOpacity": DIMMED,
            "tooltip": TOOLTIP,
        },
    }
    crosses: Spec = {
        "data": table(_data(snapshot, lost)),
        "mark": {"type": "point", "shape": CROSS, "size": 40, "strokeWidth": 1.5, "clip": True},
        "encoding": {
            "x": across,
            "y": TOP,
            "color": by_stage(snapshot)["color"],
            "tooltip": TOOLTIP,
        },
    }
    best = [(t, x) for t, x in done if t is snapshot.best]
    ring: Spec = {
        "data": table({**_data(snapshot, best), "height": heights(snapshot, [t for t, _ in best])}),
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


def _data(snapshot: Snapshot, found: Sequence[tuple[Trial, float]]) -> dict[str, list[Any]]:
    return {**words_of(snapshot, [t for t, _ in found]), "place": [x for _, x in found]}


def plane_axes(space: Space) -> list[Axis]:
    """Learning rate across and momentum up, or the first two axes."""
    across = next((a for a in space if a.key.endswith(".lr")), space.axes[0])
    others = [a for a in space if a is not across]
    momentum = [a for a in others if a.key.endswith((".momentum", ".beta1"))]
    return [across, *(momentum or others)[:1]]


def trials_chart(snapshot: Snapshot) -> Chart:
    """Every trial of a search in the plane of two axes, and the boxes that refine drew."""
    first, second = plane_axes(snapshot.space)
    trials = [t for t in snapshot.trials if {first.name, second.name} <= {*t.point}]
    x = [place(first, t.point[first.name], t.number) for t in trials]
    y = [place(second, t.point[second.name], t.number + 1) for t in trials]
    wide = [range_ends(axis_in(s, first), first) for s in snapshot.stages]
    tall = [range_ends(axis_in(s, second), second) for s in snapshot.stages]
    across, up = axis_channel(first, "x", x, wide), axis_channel(second, "y", y, tall)
    places = {**words_of(snapshot, trials), "x": x, "y": y}
    lost = [t.finished and not ended(t) for t in trials]
    fate = ["diverged or failed" if gone else "trial" for gone in lost]
    boxes = {
        "data": table(
            {
                "stage": [s.name for s in snapshot.stages],
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
            "stroke": by_stage(snapshot)["color"],
        },
    }
    data = table({**places, "fate": fate})
    points: Spec = {
        "data": data,
        "transform": [{"filter": "datum.fate == 'trial'"}],
        "params": [ZOOM, LEGEND],
        "mark": {"type": "point", "filled": True, "size": 46, "clip": True, "opacity": 1},
        "encoding": {"x": across, "y": up, **by_stage(snapshot), "fillOpacity": DIMMED}
        | {"tooltip": TOOLTIP},
    }
    crosses: Spec = {
        "data": data,
        "transform": [{"filter": "datum.fate != 'trial'"}],
        "mark": {"type": "point", "shape": CROSS, "size": 36, "strokeWidth": 1.5, "clip": True},
        "encoding": {
            "x": across,
            "y": up,
            "color": by_stage(snapshot)["color"],
            "tooltip": TOOLTIP,
        },
    }
    best = [i for i, t in enumerate(trials) if t is snapshot.best]
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
