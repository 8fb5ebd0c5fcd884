"""Trials as data of pictures: where they lie, what a pointer over them says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from caviar.charts.parts import Spec, metric_domain
from caviar.ledger import Trial
from caviar.report.facts import Facts
from caviar.result import COMPLETE, PRUNED
from caviar.view import setting_text

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


def by_stage(facts: Facts, **more: Any) -> Spec:
    """Colour and shape of a stage, the same in every picture."""
    names = [s.name for s in facts.stages]
    shared = {"field": "stage", "type": "nominal", "scale": {"domain": names}, **more}
    return {"color": shared, "shape": shared}


def words_of(facts: Facts, trials: Sequence[Trial]) -> dict[str, list[Any]]:
    """Columns that every picture of trials has."""
    few = len(facts.trials) <= FEW
    return {
        "trial": [f"{t.stage}/{t.number}" for t in trials],
        "stage": [t.stage for t in trials],
        "status": [t.status for t in trials],
        "shown": [shown_value(facts, t) for t in trials],
        # The longest column by far; with thousands of trials the table has it.
        "setting": [setting_text(t.point) if few else "see the table" for t in trials],
    }


def shown_value(facts: Facts, trial: Trial) -> str:
    """`val/loss 0.1234`, or a dash."""
    value = facts.value(trial)
    return "–" if value is None else f"{facts.metric} {value:.4g}"


def heights(facts: Facts, trials: Sequence[Trial]) -> list[float]:
    """The metric of each trial, for drawing: cut at the picture's end; NaN where there is none."""
    values = [facts.value(t) for t in trials]
    known = [v for v in values if v is not None]
    found = metric_domain(known, facts.mode)
    if found is None:
        return [math.nan for _ in trials]
    (low, high), _ = found
    return [math.nan if v is None else min(max(v, low), high) for v in values]


def ended(trial: Trial) -> bool:
    """Whether a trial has a value to draw."""
    return trial.status in (COMPLETE, PRUNED)
