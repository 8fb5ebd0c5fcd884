"""Shapes that several sections draw. Colours and symbols are the theme's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from caviar.pages.marks import table

Spec = dict[str, Any]
WIDTH = 620  # of a whole picture
GAP = 75  # between two panels, for the axis of the right one
HALF = (WIDTH - GAP) // 2


def bands(
    columns: Mapping[str, Sequence[Any]], x: Spec, y: Spec, order: Sequence[str], *more: Spec
) -> Spec:
    """Curves with their intervals, one colour a series.

    Arguments:
        columns: `x`, `y`, `low`, `high` and `series`, all of one length.
        x: title, scale and axis of this channel.
        y: the same.
        order: of the series.
        more: layers above them.
    """
    across = {**x, "field": "x", "type": "quantitative"}
    up = {**y, "type": "quantitative"}
    colour: Spec = {
        "field": "series",
        "type": "nominal",
        "sort": list(order),
        "legend": {"symbolOpacity": 1, "columns": 4},
    }
    area: Spec = {
        "mark": {"type": "area", "opacity": 0.2},
        "encoding": {
            "x": across,
            "y": {**up, "field": "low"},
            "y2": {"field": "high"},
            "color": colour,
        },
    }
    line: Spec = {
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {"x": across, "y": {**up, "field": "y"}, "color": colour},
    }
    return {"data": table(columns), "layer": [area, line, *more]}


def log_channel(field: str, title: str, values: Sequence[float]) -> Spec:
    """An encoding on a logarithmic scale that holds all values, with four to eight round ticks."""
    low, high = min(values) / 1.03, max(values) * 1.03
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in (
        (1,),
        (1, 3),
        (1, 2, 5),
        (1, 1.5, 2, 3, 5, 7),
        [m / 10 for m in range(10, 100)],
    ):
        ticks = [m * 10.0**d for d in decades for m in mantissas if low <= m * 10.0**d <= high]
        if len(ticks) >= 4:
            break
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": {"type": "log", "domain": [low, high], "nice": False},
        "axis": {"values": ticks[:: math.ceil(len(ticks) / 8)], "format": "~g"},
    }


def panel(title: str, spec: Spec, height: int, width: int = HALF) -> Spec:
    """One of several pictures side by side, with a title of its own."""
    head = {"text": title, "fontSize": 12, "anchor": "start"}
    return {**spec, "title": head, "width": width, "height": height}


def facet(panels: Sequence[str]) -> Spec:
    """One panel a value of the column `panel`."""
    header = {"labelAnchor": "start", "labelFontSize": 12}
    return {"field": "panel", "type": "nominal", "title": None, "sort": panels, "header": header}


def rule(y: float) -> Spec:
    """A dashed line across."""
    return {
        "mark": {"type": "rule", "strokeDash": [4, 3], "color": {"expr": "faint"}},
        "encoding": {"y": {"datum": y}},
    }
