"""Learning curves of all trials, the best one marked, the diverged and the pruned as such."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caviar.base.result import COMPLETE, PRUNED
from caviar.ledger import Trial
from caviar.report.marks import (
    CROSS,
    DIMMED,
    LEGEND,
    ZOOM,
    Chart,
    Spec,
    by_stage,
    layers,
    metric_channel,
    metric_domain,
    table,
)
from caviar.report.page import Section
from caviar.report.snapshot import Snapshot
from caviar.screen.view import plural

POINTS = 20_000  # in the picture, at most; longer curves are thinned out alike
DASHES = {"pruned": [6, 3], "diverged or failed": [2, 2]}
NAMES = {"pruned": "dashed", "diverged or failed": "dotted, with a cross where it ended"}


def curves_section(snapshot: Snapshot) -> Section:
    """All learning curves in one picture."""
    title = "Learning curves"
    drawn = [t for t in snapshot.trials if any(map(math.isfinite, t.curve.values()))]
    if not drawn:
        return Section("curves", title, ["No trial has finished an epoch yet."])
    words = [f"{plural(len(drawn), 'trial')}: {snapshot.metric} after each epoch."]
    fates = {fate(t) for t in drawn}
    words += [f"{name.capitalize()}: {how}." for name, how in NAMES.items() if name in fates]
    step = math.ceil(sum(len(t.curve) for t in drawn) / POINTS)
    if step > 1:
        words.append(f"One in {step} epochs are drawn, the first and the last of each always.")
    return Section("curves", title, words, [_chart(snapshot, drawn, step)])


def fate(trial: Trial) -> str:
    """How a curve is drawn."""
    if trial.status == PRUNED:
        return "pruned"
    whole = trial.status == COMPLETE or not trial.finished
    return "trained to its end" if whole else "diverged or failed"


def _chart(snapshot: Snapshot, trials: Sequence[Trial], step: int) -> Chart:
    shown = [(t, _thinned(t, step)) for t in trials]
    values = [v for _, points in shown for _, v in points]
    domain = metric_domain(values, snapshot.mode)
    assert domain is not None
    (low, high), _ = domain
    rows = [
        (f"{t.stage}/{t.number}", t.stage, fate(t), e, min(max(v, low), high))
        for t, points in shown
        for e, v in points
    ]
    names = ("trial", "stage", "fate", "epoch", "height")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    across: Spec = {
        "field": "epoch",
        "type": "quantitative",
        "title": "epoch",
        "axis": {"tickMinStep": 1, "format": "d", "grid": False},
        "scale": {"nice": False, "zero": False},
    }
    up = metric_channel("height", snapshot.metric, values, snapshot.mode, clamp=False)
    tooltip = [{"field": n, "type": "nominal"} for n in ("trial", "fate")]
    tooltip.append(
        {"field": "height", "type": "quantitative", "title": snapshot.metric} | {"format": ".4~g"}
    )
    lines: Spec = {
        "data": table(columns),
        "params": [
            ZOOM,
            LEGEND,
            {"name": "pointed"}
            | {"select": {"type": "point", "fields": ["trial"], "on": "pointerover"}},
        ],
        # A lone epoch is no line; the dot shows it.
        "mark": {"type": "line", "clip": True, "point": _lone(shown) and {"size": 14}},
        "encoding": {
            "x": across,
            "y": up,
            "detail": {"field": "trial"},
            "color": by_stage(snapshot)["color"],
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
            "tooltip": tooltip,
        },
    }
    ends = [
        (f"{t.stage}/{t.number}", t.stage, points[-1][0], min(max(points[-1][1], low), high))
        for t, points in shown
        if fate(t) == "diverged or failed"
    ]
    parts = [lines]
    if ends:
        named = dict(
            zip(("trial", "stage", "epoch", "height"), zip(*ends, strict=True), strict=True)
        )
        parts.append(
            {
                "data": table({k: list(v) for k, v in named.items()}),
                "mark": {"type": "point", "shape": CROSS, "size": 40, "strokeWidth": 1.5}
                | {"clip": True},
                "encoding": {"x": across, "y": up, "color": by_stage(snapshot)["color"]},
            }
        )
    best = [points for t, points in shown if t is snapshot.best]
    if best:
        parts.append(
            {
                "data": table(
                    {
                        "epoch": [e for e, _ in best[0]],
                        "height": [min(max(v, low), high) for _, v in best[0]],
                    }
                ),
                "mark": {"type": "line", "strokeWidth": 2.6, "color": {"expr": "ink"}, "clip": True}
                | {"point": {"size": 20, "color": {"expr": "ink"}}},
                "encoding": {"x": across, "y": up},
            }
        )
    which = (
        f"; black or white: the best, {snapshot.best.stage}/{snapshot.best.number}"
        if snapshot.best
        else ""
    )
    return Chart("curves", f"All trials{which}", layers(*parts, height=380))


def _thinned(trial: Trial, step: int) -> list[tuple[int, float]]:
    """The finite part of a curve: first, last, and every so many epochs between."""
    points = [(e, v) for e, v in trial.curve.items() if math.isfinite(v)]
    return [p for i, p in enumerate(points) if i % step == 0 or i == len(points) - 1]


def _lone(shown: Sequence[tuple[Trial, Sequence[object]]]) -> bool:
    return any(len(points) == 1 for _, points in shown)
