"""Trials as data of pictures: where they lie, what a pointer over them says."""

# MERGED charts.parts """The parts that pictures are made of."""
#

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caviar.base.result import COMPLETE, PRUNED
from caviar.ledger import Trial
from caviar.report.snapshot import Snapshot
from caviar.screen.view import setting_text
from caviar.space import Axis, Choice, Integer, OneMinusLog

# A pointer over a mark. Names are plain words, because Vega reads dots as paths.
TOOLTIP: list[Spec] = [
    {"field": name, "type": "nominal", "title": title}
    for name, title in (
        ("trial", "trial"),
        ("status", "status"),
        ("shown", "value"),
        ("setting", "setting"),
    )
]
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
FEW = 2000  # trials whose settings a pointer shows
CROSS = "M-1,-1L1,1M-1,1L1,-1"  # × as an SVG path, in a square from -1 to 1
# Of a stroke or a fill: the opacity of a mark as a whole takes a PNG twenty times as long.
DIMMED: Spec = {"condition": {"param": "chosen", "value": 0.85}, "value": 0.12}


def by_stage(snapshot: Snapshot, **more: Any) -> Spec:
    """Colour and shape of a stage, the same in every picture."""
    names = [s.name for s in snapshot.stages]
    shared = {"field": "stage", "type": "nominal", "scale": {"domain": names}, **more}
    return {"color": shared, "shape": shared}


def words_of(snapshot: Snapshot, trials: Sequence[Trial]) -> dict[str, list[Any]]:
    """Columns that every picture of trials has."""
    few = len(snapshot.trials) <= FEW
    return {
        "trial": [f"{t.stage}/{t.number}" for t in trials],
        "stage": [t.stage for t in trials],
        "status": [t.status for t in trials],
        "shown": [shown_value(snapshot, t) for t in trials],
        # The longest column by far; with thousands of trials the table has it.
        "setting": [setting_text(t.point) if few else "see the table" for t in trials],
    }


def shown_value(snapshot: Snapshot, trial: Trial) -> str:
    """`val/loss 0.1234`, or a dash."""
    value = snapshot.value(trial)
    return "–" if value is None else f"{snapshot.metric} {value:.4g}"


def heights(snapshot: Snapshot, trials: Sequence[Trial]) -> list[float]:
    """The metric of each trial, for drawing: cut at the picture's end; NaN where there is none."""
    values = [snapshot.value(t) for t in trials]
    known = [v for v in values if v is not None]
    found = metric_domain(known, snapshot.mode)
    if found is None:
        return [math.nan for _ in trials]
    (low, high), _ = found
    return [math.nan if v is None else min(max(v, low), high) for v in values]


def ended(trial: Trial) -> bool:
    """Whether a trial has a value to draw."""
    return trial.status in (COMPLETE, PRUNED)


Spec = dict[str, Any]
GOLDEN = 0.618034  # multiples of it, less their whole part, spread evenly
FAR = 20.0  # times the median: a loss about to diverge; the picture is about the others


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


def table(columns: Mapping[str, Sequence[Any]]) -> Spec:
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
        "format": {"type": "csv", "parse": {k: _kind(v) for k, v in columns.items()}},
    }


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return "" if value is None else value


def _kind(values: Iterable[Any]) -> str:
    known = [v for v in values if v is not None]
    numbers = all(isinstance(v, int | float | np.number) for v in known)
    return "number" if known and numbers else "string"


def layers(*parts: Spec, data: Spec | None = None, height: int = 320, **more: Any) -> Spec:
    """A description of several layers."""
    shared = {} if data is None else {"data": data}
    return {**shared, "height": height, "layer": list(parts), **more}


def axis_channel(
    axis: Axis, field: str, values: Sequence[float], ends: Sequence[tuple[float, float]] = ()
) -> Spec:
    """An encoding that shows a hyperparameter on its own scale.

    Arguments:
        axis: of the first stage.
        field: of the data that holds places, as `place` gives them.
        values: all places that must fit.
        ends: of all stages' ranges, which must fit as well.
    """
    title = axis.key
    scale: Spec = {"nice": False}
    ticks: Spec = {"labelOverlap": True, "tickCount": 6}
    if isinstance(axis.scale, Choice):
        names = ["null" if v is None else str(axis.scale.natural(v)) for v in axis.scale.values]
        ticks |= {
            "values": list(range(len(names))),
            "labelExpr": f"{json.dumps(names)}[datum.value]",
            "grid": False,
        }
        scale["domain"] = [-0.5, len(names) - 0.5]
        return {"field": field, "type": "quantitative", "title": title, "scale": scale} | {
            "axis": ticks
        }
    logarithmic = axis.scale.kind in ("log", "one_minus_log", "log_integer")
    known = [v for v in (*values, *(e for pair in ends for e in pair)) if math.isfinite(v)]
    known = [v for v in known if v > 0 or not logarithmic]
    if not logarithmic:
        scale["zero"] = False
    if known:
        scale["domain"] = _padded(min(known), max(known), logarithmic)
    if logarithmic:
        scale["type"] = "log"
        ticks |= _log_ticks(scale.get("domain"))
    elif isinstance(axis.scale, Integer):
        ticks |= {"tickMinStep": 1, "format": "d"}
    if isinstance(axis.scale, OneMinusLog):
        scale["reverse"] = True
        ticks["labelExpr"] = "format(1 - datum.value, '.9~g')"  # -> 0.99 for 0.01
        title = f"{axis.key}, log in 1-β"
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": ticks}


def _log_ticks(domain: Sequence[float] | None) -> Spec:
    """Round numbers, as many as a narrow screen has room for."""
    if domain is None:
        return {}
    low, high = domain
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    sets: list[list[float]] = [
        [float(f"{m}e{d}") for d in decades for m in mantissas if low <= float(f"{m}e{d}") <= high]
        for mantissas in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9))
    ]
    enough = next((s for s in sets if len(s) >= 4), sets[-1])
    return {"values": enough, "labelExpr": "format(datum.value, '~g')"} if len(enough) > 1 else {}


def _padded(low: float, high: float, logarithmic: bool) -> list[float]:
    """A little wider, so that marks on the ends are whole."""
    if high - low <= 1e-5 * max(abs(low), abs(high)):  # nothing that six digits could show
        low = high
    if logarithmic:
        factor = (high / low) ** 0.03 if high > low else 1.5
        return [float(f"{low / factor:.6g}"), float(f"{high * factor:.6g}")]
    margin = 0.03 * (high - low) or 0.5
    return [float(f"{low - margin:.6g}"), float(f"{high + margin:.6g}")]


def place(axis: Axis, value: Any, number: int) -> float:
    """Where a trial's search coordinate lies on its axis; NaN if nowhere.

    Arguments:
        axis: of the first stage.
        value: the coordinate.
        number: of the trial; spreads those of one choice, which would hide one another.
    """
    if isinstance(axis.scale, Choice):
        found = [i for i, v in enumerate(axis.scale.values) if (type(v), v) == (type(value), value)]
        spread = (number * GOLDEN) % 1 - 0.5
        return found[0] + 0.5 * spread if found else math.nan
    return math.nan if value is None else float(value)


def range_ends(axis: Axis, first: Axis) -> tuple[float, float]:
    """The ends of a stage's range as places on the first stage's axis."""
    scale = axis.scale
    if isinstance(scale, Integer):  # each whole number owns the half step on either side
        return scale.low - 0.5, scale.high + 0.5
    if not isinstance(scale, Choice):
        return scale.low, scale.high
    if isinstance(first.scale, Choice):
        order = {(type(v), v): i for i, v in enumerate(first.scale.values)}  # True is not 1
        places = [order[type(v), v] for v in scale.values]
        return min(places) - 0.4, max(places) + 0.4
    return float(scale.values[0]), float(scale.values[0])  # frozen


def metric_domain(values: Sequence[float], mode: str) -> tuple[list[float], bool] | None:
    """The metric's ends, and whether its scale is logarithmic; None without a finite value."""
    known = [v for v in values if math.isfinite(v)]
    if not known:
        return None
    low, high = min(known), max(known)
    logarithmic = mode == "min" and low > 0
    middle = float(np.median(known))
    spread = float(np.median(np.abs(np.array(known) - middle)))
    if logarithmic:
        high = min(high, FAR * middle)
    elif spread > 0 and mode == "min":
        high = min(high, middle + FAR * spread)
    elif spread > 0:
        low = max(low, middle - FAR * spread)
    return _padded(low, max(low, high), logarithmic), logarithmic


def metric_channel(
    field: str, title: str, values: Sequence[float], mode: str, clamp: bool = True
) -> Spec:
    """An encoding of the metric: logarithmic for a loss that is never 0, cut where runs diverge.

    Arguments:
        field: of the data.
        title: the metric's name.
        values: all that there are; infinite ones are left out.
        mode: `min` or `max`.
        clamp: draw what lies beyond at the end; not where a reader can zoom.
    """
    channel: Spec = {"field": field, "type": "quantitative", "title": title}
    found = metric_domain(values, mode)
    if found is None:
        return {**channel, "scale": {"zero": False}}
    domain, logarithmic = found
    scale = {"nice": False, "clamp": clamp, "domain": domain}
    if not logarithmic:
        return {**channel, "scale": {**scale, "zero": False}}
    axis = _log_ticks(domain) | {"labelOverlap": True}
    return {**channel, "scale": {**scale, "type": "log"}, "axis": axis}
