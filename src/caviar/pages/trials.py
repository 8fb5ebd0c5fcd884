"""Every trial: its learning curve, and its row in the table that sorts and filters.

The page draws both by itself (`js/curves.js`, `js/table.js`); the picture in the file is Vega's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from caviar.base.result import COMPLETE, EPOCH, PRUNED
from caviar.ledger import Trial
from caviar.pages.channels import WHOLE, metric_channel, metric_domain
from caviar.pages.marks import (
    DIMMED,
    LEGEND,
    ZOOM,
    Chart,
    Spec,
    crosses,
    layers,
    stage_colour,
    table_of_rows,
    tooltip,
)
from caviar.pages.page import Section, View
from caviar.pages.recorded import curve_of, thinned, thinning, unit_of
from caviar.pages.snapshot import Snapshot
from caviar.screen.view import plural
from caviar.search.provenance import mixed_code

LOST = "diverged or failed"
DASHES = {"pruned": [6, 3], LOST: [2, 2]}
NAMES = {"pruned": "dashed", LOST: "dotted, with a cross where it ended"}


def curves_section(snapshot: Snapshot) -> Section:
    """All learning curves in one picture."""
    title = "Learning curves"
    drawn = [t for t in snapshot.trials if any(map(math.isfinite, t.curve.values()))]
    if not drawn:
        return Section("curves", title, ["No trial has been validated yet."])
    epochs = unit_of(drawn) == EPOCH
    when = "after each epoch" if epochs else "at each validation"
    words = [f"{plural(len(drawn), 'trial')}: {snapshot.metric} {when}."]
    fates = {_fate(t) for t in drawn}
    words += [f"{name.capitalize()}: {how}." for name, how in NAMES.items() if name in fates]
    step = thinning([curve_of(t) for t in drawn])
    if step > 1:
        what = "epochs" if epochs else "validations"
        words.append(f"One in {step} {what} are drawn, the first and the last of each always.")
    return Section(
        "curves", title, words, [_curves(snapshot, drawn, step)], views=[View("curves", title)]
    )


def _fate(trial: Trial) -> str:
    """How a curve is drawn."""
    if trial.status == PRUNED:
        return "pruned"
    whole = trial.status == COMPLETE or not trial.finished
    return "trained to its end" if whole else LOST


def _curves(snapshot: Snapshot, trials: Sequence[Trial], step: int) -> Chart:
    """A line for each trial, one in `step` of its points; the best one thick, on top."""
    curves = [thinned(curve_of(trial), step) for trial in trials]
    values = [v for curve in curves for _, v in curve]
    domain = metric_domain(values, snapshot.mode)
    assert domain is not None
    (low, high), _ = domain
    # Cut here: a reader who zooms must not find lines of 1e30, and a PNG has no clipping.
    curves = [[(e, min(max(v, low), high)) for e, v in curve] for curve in curves]
    names = [f"{t.stage}/{t.number}" for t in trials]
    across: Spec = {
        "field": "epoch",
        "type": "quantitative",
        "title": unit_of(trials),
        "axis": {**WHOLE, "grid": False},
        "scale": {"nice": False, "zero": False},
    }
    up = metric_channel("height", snapshot.metric, values, snapshot.mode, clamp=False)
    pointed = {"select": {"type": "point", "fields": ["trial"], "on": "pointerover"}}
    # A row a point, not a list a trial: Vega takes CSV, and that is what keeps the page small.
    rows = [
        (name, trial.stage, _fate(trial), *point)
        for name, trial, curve in zip(names, trials, curves, strict=True)
        for point in curve
    ]
    lines: Spec = {
        "data": table_of_rows(("trial", "stage", "fate", "epoch", "height"), rows),
        "params": [ZOOM, LEGEND, {"name": "pointed", **pointed}],
        # A lone epoch is no line; the dot shows it.
        "mark": {"type": "line", "clip": True}
        | {"point": any(len(curve) == 1 for curve in curves) and {"size": 14}},
        "encoding": {
            "x": across,
            "y": up,
            "detail": {"field": "trial"},
            "color": stage_colour(snapshot),
            # Solid lines get no pattern at all: to draw one takes twice as long.
            "strokeDash": {
                "condition": [
                    {"test": f"datum.fate == '{name}'", "value": dash}
                    for name, dash in DASHES.items()
                ],
                "value": None,
            },
            "strokeOpacity": DIMMED,
            "strokeWidth": {
                "condition": {"param": "pointed", "empty": False, "value": 3},
                "value": 1,
            },
            "tooltip": tooltip({"trial": "trial", "fate": "fate"}, {"height": snapshot.metric}),
        },
    }
    parts = [lines]
    ended = [
        (trial.stage, *curve[-1])
        for trial, curve in zip(trials, curves, strict=True)
        if _fate(trial) == LOST
    ]
    if ended:
        columns = dict(zip(("stage", "epoch", "height"), zip(*ended, strict=True), strict=True))
        look = {"color": stage_colour(snapshot), "strokeOpacity": DIMMED}
        parts.append(crosses(columns, {"x": across, "y": up, **look}))
    # Once more, and last: what is drawn later lies on top.
    best = [c for t, c in zip(trials, curves, strict=True) if t is snapshot.best]
    title = "All trials"
    if best and snapshot.best:
        title += f"; black or white: the best, {snapshot.best.stage}/{snapshot.best.number}"
        ink = {"color": {"expr": "ink"}}
        parts.append(
            {
                "data": table_of_rows(("epoch", "height"), best[0]),
                "mark": {"type": "line", "strokeWidth": 2.6, "clip": True, **ink}
                | {"point": {"size": 20, **ink}},
                "encoding": {"x": across, "y": up},
            }
        )
    return Chart("curves", title, layers(*parts, height=380), in_page=False)


def trials_section(snapshot: Snapshot) -> Section:
    """All trials, those of the confirmation and the tests among them."""
    trials = snapshot.everything
    if not trials:
        return Section("trials", "All trials", ["There is none yet."])
    sample = f": {snapshot.sampled}" if snapshot.sampled else ""
    words = [
        f"{plural(len(trials), 'trial')}{sample}. Click a column's head to sort by it; a row opens "
        "to the command that trains it again and to its folder.",
        *mixed_code(snapshot.study),
    ]
    return Section("trials", "All trials", words, views=[View("table", "All trials")])
