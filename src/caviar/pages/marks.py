"""Pictures and their parts: data as CSV, and trials as points, crosses and rings.

    layers(*trial_marks(snapshot, trials, x, y, across, up))

A picture is a description in Vega-Lite without width, theme or title, so that the page draws it
light or dark and as wide as there is room, and `png` draws the same on white.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caviar.ledger import Trial
from caviar.pages.channels import Spec, metric_domain
from caviar.pages.snapshot import Snapshot, best_value

Columns = Mapping[str, Sequence[Any]]

ZOOM: Spec = {
    "name": "zoom",
    # A plain wheel scrolls the page.
    "select": {"type": "interval", "zoom": "wheel![event.shiftKey]"},
    "bind": "scales",
}
LEGEND: Spec = {
    "name": "chosen",
    "select": {"type": "point", "fields": ["stage"]},
    "bind": "legend",
}
CROSS = "M-1,-1L1,1M-1,1L1,-1"  # × as an SVG path, in a square from -1 to 1
# Of a stroke or a fill: the opacity of a mark as a whole takes a PNG twenty times as long.
# `kept` is what the page's filters leave, by trial; null where nothing is filtered.
DIMMED: Spec = {
    "condition": [
        {"test": "kept && datum.trial && !kept[datum.trial]", "value": 0.04},
        {"param": "chosen", "value": 0.85},
    ],
    "value": 0.12,
}


@dataclass(frozen=True)
class Chart:
    """One picture."""

    name: str
    """Of its file and of its place in the page: letters, digits, dots and dashes."""
    title: str
    spec: Spec
    """Vega-Lite without width, theme or title."""
    note: str = ""
    """How to read it."""
    in_page: bool = True
    """False of one whose place in the page a picture of its own takes."""


def table(columns: Columns) -> Spec:
    """Inline data, as CSV: a third of the size of rows of JSON.

    Arguments:
        columns: name → values, all of one length; None and NaN are left empty, and not drawn.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in zip(*columns.values(), strict=True))
    return {
        "values": text.getvalue(),
        # Told, not guessed: Vega would read the choices "1" and "0x10" as numbers.
        "format": {"type": "csv", "parse": {k: _kind(v) for k, v in columns.items()}},
    }


def table_of_rows(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Spec:
    """Inline data as `table` has it, from one tuple a mark."""
    columns = list(zip(*rows, strict=True)) or [() for _ in names]
    return table(dict(zip(names, columns, strict=True)))


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return "" if value is None else value


def _kind(values: Iterable[Any]) -> str:
    given = [v for v in values if v is not None]
    numbers = all(isinstance(v, int | float | np.number) for v in given)
    return "number" if given and numbers else "string"


def layers(*parts: Spec, data: Spec | None = None, height: int = 320) -> Spec:
    """A description of several layers."""
    shared = {} if data is None else {"data": data}
    return {**shared, "height": height, "layer": list(parts)}


def tooltip(
    words: Mapping[str, str], numbers: Mapping[str, str] | None = None, form: str = ".4~g"
) -> list[Spec]:
    """What a pointer over a mark says, line by line.

    Arguments:
        words: field of the data → its title.
        numbers: the same, for fields that hold numbers; they come after the words.
        form: of the numbers, as d3 formats them.
    """
    return [
        *({"field": f, "type": "nominal", "title": title} for f, title in words.items()),
        *(
            {"field": f, "type": "quantitative", "title": title, "format": form}
            for f, title in (numbers or {}).items()
        ),
    ]


# Of the columns that `words_of` gives; the page adds the setting, which it has once.
OF_TRIAL = tooltip({"trial": "trial", "status": "status", "shown": "value"})


def stage_colour(snapshot: Snapshot) -> Spec:
    """A stage's colour, the same in every picture."""
    # All stages, also where a picture has trials of some: the colours are dealt out in order.
    names = [stage.name for stage in snapshot.stages]
    return {"field": "stage", "type": "nominal", "scale": {"domain": names}}


def words_of(snapshot: Snapshot, trials: Sequence[Trial]) -> dict[str, list[Any]]:
    """The columns that every picture of trials has: what a pointer says, and `stage`."""
    values = [best_value(t) for t in trials]
    # Plain words for names: Vega reads the dots of a config key as a path.
    return {
        "trial": [f"{t.stage}/{t.number}" for t in trials],
        "stage": [t.stage for t in trials],
        "status": [t.status for t in trials],
        "shown": ["–" if v is None else f"{snapshot.metric} {v:.4g}" for v in values],
    }


def heights(snapshot: Snapshot, trials: Sequence[Trial]) -> list[float]:
    """The metric of each trial, for drawing: cut at the picture's end; NaN where there is none."""
    values = [best_value(t) for t in trials]
    ends = metric_domain([v for v in values if v is not None], snapshot.mode)
    if ends is None:
        return [math.nan for _ in trials]
    (low, high), _ = ends
    return [math.nan if v is None else min(max(v, low), high) for v in values]


def points(columns: Columns, encoding: Spec, **look: Any) -> Spec:
    """A filled point for each row; how it looks else is `look`, as Vega-Lite names it."""
    mark = {"type": "point", "filled": True, "size": 42, "clip": True, "opacity": 1, **look}
    return {"data": table(columns), "mark": mark, "encoding": encoding}


def crosses(columns: Columns, encoding: Spec) -> Spec:
    """A cross for each row: a trial that diverged or failed, or where its curve ended."""
    mark = {"type": "point", "shape": CROSS, "size": 40, "strokeWidth": 1.5, "clip": True}
    return {"data": table(columns), "mark": mark, "encoding": encoding}


def ring(columns: Columns, encoding: Spec) -> Spec:
    """A ring around the best trial, black or white as the ground is not."""
    mark = {"type": "point", "size": 210, "strokeWidth": 2, "color": {"expr": "ink"}, "clip": True}
    return {"data": table(columns), "mark": mark, "encoding": encoding}


def is_lost(trial: Trial) -> bool:
    """Whether a trial has ended without a value: it diverged or failed."""
    return trial.finished and best_value(trial) is None


def trial_marks(
    snapshot: Snapshot,
    trials: Sequence[Trial],
    x: Sequence[float],
    y: Sequence[float],
    across: Spec,
    up: Spec,
    lost_up: Spec | None = None,
) -> list[Spec]:
    """Layers of trials: points, crosses where they diverged or failed, a ring around the best.

    There is none of what has no trial. The first one brings zoom and legend along.

    Arguments:
        snapshot: whose stages give colours and shapes.
        trials: to draw.
        x: their places across; NaN is not drawn.
        y: their places up.
        across: encoding of the field `x`.
        up: encoding of the field `y`.
        lost_up: encoding that takes the place of `up` for crosses.
    """

    def columns(chosen: Sequence[int]) -> dict[str, list[Any]]:
        words = words_of(snapshot, [trials[i] for i in chosen])
        return words | {"x": [x[i] for i in chosen], "y": [y[i] for i in chosen]}

    colour = stage_colour(snapshot)
    shown = {"x": across, "y": up, "color": colour, "tooltip": OF_TRIAL}
    lost = [i for i, t in enumerate(trials) if is_lost(t)]
    rest = [i for i, t in enumerate(trials) if not is_lost(t)]
    best = [i for i, t in enumerate(trials) if t is snapshot.best]
    marks = []
    if rest:
        marks.append(points(columns(rest), {**shown, "shape": colour, "fillOpacity": DIMMED}))
    if lost:
        dimmed = {"strokeOpacity": DIMMED} if rest else {}
        marks.append(crosses(columns(lost), {**shown, **dimmed, "y": lost_up or up}))
    if best:
        marks.append(ring(columns(best), {"x": across, "y": up}))
    # Crosses alone are neither zoomed, as at the top they have no place up, nor dimmed.
    if rest:
        marks[0]["params"] = [ZOOM, LEGEND]
    return marks
