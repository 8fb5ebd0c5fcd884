"""Where things lie in a picture: a hyperparameter on its own scale, the metric on its own.

    across = axis_channel(axis, "x", places, ends)     # an encoding of Vega-Lite
    place(axis, trial.point[axis.name], trial.number)  # what its field `x` holds

A place is the search coordinate itself, which Vega draws on the axis' scale; of a choice it is the
position in the list. Stages narrow and grow an axis, so all places are on that of the first stage.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caviar.space import Axis, Choice, Integer, OneMinusLog

Spec = dict[str, Any]  # a description in Vega-Lite, or a part of one

GOLDEN = 0.618034  # multiples of it, less their whole part, spread evenly
FAR = 20.0  # times the median: a loss about to diverge; the picture is about the others
# Of a channel's ends, by which the drawing is wider: marks on the ends are whole.
MARGIN = 0.03
# Of an axis of whole numbers. Vega's least step of a tick is not kept in a small range: 0, 1, 1, 2.
WHOLE: Spec = {"tickMinStep": 1, "labelExpr": "datum.value % 1 ? '' : format(datum.value, 'd')"}
TICKS = 4  # of a logarithmic scale, at least; a phone has room for some six


def place(axis: Axis, value: Any, number: int) -> float:
    """Where a trial's search coordinate lies on its axis; NaN if nowhere.

    Arguments:
        axis: of the first stage.
        value: the coordinate.
        number: of the trial; spreads those of one choice, which would hide one another.
    """
    if isinstance(axis.scale, Choice):
        # True == 1 in Python, and both may be choices of one axis.
        same = [i for i, v in enumerate(axis.scale.values) if (type(v), v) == (type(value), value)]
        spread = (number * GOLDEN) % 1 - 0.5
        return same[0] + 0.5 * spread if same else math.nan
    return math.nan if value is None else float(value)


def range_ends(axis: Axis, first: Axis) -> tuple[float, float]:
    """The ends of a stage's range as places on the first stage's axis; alike where it is frozen.

    Arguments:
        axis: as the stage has it.
        first: as the first stage has it.
    """
    scale = axis.scale
    if isinstance(scale, Integer):  # each whole number owns the half step on either side
        return scale.low - 0.5, scale.high + 0.5
    if not isinstance(scale, Choice):
        return scale.low, scale.high
    if isinstance(first.scale, Choice):
        order = {(type(v), v): i for i, v in enumerate(first.scale.values)}
        places = [order[type(v), v] for v in scale.values]
        return min(places) - 0.4, max(places) + 0.4
    # One value if refine has frozen the axis; several, in any order, from a hand-edited file.
    return float(min(scale.values)), float(max(scale.values))


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
    channel: Spec = {"field": field, "type": "quantitative", "title": axis.key}
    ticks: Spec = {"labelOverlap": True, "tickCount": 6}
    if isinstance(axis.scale, Choice):
        names = ["null" if v is None else str(axis.scale.natural(v)) for v in axis.scale.values]
        ticks |= {
            "values": list(range(len(names))),
            "labelExpr": f"{json.dumps(names)}[datum.value]",
            "grid": False,
        }
        scale: Spec = {"nice": False, "domain": [-0.5, len(names) - 0.5]}
        return {**channel, "scale": scale, "axis": ticks}
    logarithmic = axis.scale.kind in ("log", "one_minus_log", "log_integer")
    fitting = [v for v in (*values, *(e for pair in ends for e in pair)) if math.isfinite(v)]
    fitting = [v for v in fitting if v > 0 or not logarithmic]
    scale = {"nice": False, "type": "log"} if logarithmic else {"nice": False, "zero": False}
    if fitting:
        scale["domain"] = _padded(min(fitting), max(fitting), logarithmic)
    if logarithmic:
        ticks |= _log_ticks(scale.get("domain"))
    elif isinstance(axis.scale, Integer):
        ticks |= WHOLE
    if isinstance(axis.scale, OneMinusLog):
        # Places are complements 1-β; labels are β, which grows to the right as readers expect.
        scale["reverse"] = True
        ticks["labelExpr"] = "format(1 - datum.value, '.9~g')"  # 0.99 for 0.01
        channel["title"] = f"{axis.key}, log in 1-β"
    return {**channel, "scale": scale, "axis": ticks}


def metric_domain(values: Sequence[float], mode: str) -> tuple[list[float], bool] | None:
    """The metric's two ends, and whether its scale is logarithmic; None without a finite value.

    The bad end is cut at 20 medians of a loss, or 20 median deviations of another metric: one
    trial that had all but diverged would leave the others a line of a few pixels.
    """
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    logarithmic = mode == "min" and low > 0
    middle = float(np.median(finite))
    spread = float(np.median(np.abs(np.array(finite) - middle)))
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
    ends = metric_domain(values, mode)
    if ends is None:
        return {**channel, "scale": {"zero": False}}
    domain, logarithmic = ends
    scale = {"nice": False, "clamp": clamp, "domain": domain}
    if not logarithmic:
        return {**channel, "scale": {**scale, "zero": False}}
    axis = _log_ticks(domain) | {"labelOverlap": True}
    return {**channel, "scale": {**scale, "type": "log"}, "axis": axis}


def _log_ticks(domain: Sequence[float] | None) -> Spec:
    """Round numbers, as many as a narrow screen has room for.

    Vega's own are all of 1 to 9 in each decade, which overlap on a phone, or a lone 0.1.
    """
    if domain is None:
        return {}
    low, high = domain
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    sets: list[list[float]] = [
        [float(f"{m}e{d}") for d in decades for m in mantissas if low <= float(f"{m}e{d}") <= high]
        for mantissas in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9))
    ]
    enough = next((s for s in sets if len(s) >= TICKS), sets[-1])
    return {"values": enough, "labelExpr": "format(datum.value, '~g')"} if len(enough) > 1 else {}


def _padded(low: float, high: float, logarithmic: bool) -> list[float]:
    """Ends a little wider apart, rounded as the data is."""
    if high - low <= 1e-5 * max(abs(low), abs(high)):  # nothing that six digits could show
        low = high
    if logarithmic:
        factor = (high / low) ** MARGIN if high > low else 1.5
        return [float(f"{low / factor:.6g}"), float(f"{high * factor:.6g}")]
    margin = MARGIN * (high - low) or 0.5
    return [float(f"{low - margin:.6g}"), float(f"{high + margin:.6g}")]
