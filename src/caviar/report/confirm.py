"""Default against winners over fresh seeds, and the test result, once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caviar.base.result import finite
from caviar.ledger import Trial
from caviar.report.marks import Chart, Spec, layers, metric_channel, table
from caviar.report.page import Section, Table
from caviar.report.snapshot import Snapshot
from caviar.screen.view import plural, setting_text
from caviar.search.verdict import DEFAULT, Setting, Verdict

ROW = 40


def confirm_section(snapshot: Snapshot) -> Section:
    """Each confirmed setting's seeds, their mean ± s.e.; the test set's values."""
    title = "Confirmation with fresh seeds"
    verdict = snapshot.verdict
    if verdict is None:
        words = [
            "Not confirmed yet. The best of many trials flatters itself: caviar confirm "
            f"search.study={snapshot.study.name} trains the default and the most promising settings "
            "with fresh seeds, and then opens the test set, once."
        ]
        if snapshot.confirmed:
            done = sum(t.finished for t in snapshot.confirmed)
            words = [f"{done} of {plural(len(snapshot.confirmed), 'training')} have finished."]
        return Section("confirm", title, words)
    settings = _named(verdict)
    words = [verdict.sentence(), *_tested(verdict)]
    chart = _chart(snapshot, settings)
    return Section("confirm", title, words, [chart] if chart else [], [_table(verdict, settings)])


def _named(verdict: Verdict) -> list[tuple[str, Setting]]:
    """Default, winner, the others."""
    rows = [(DEFAULT, verdict.default)]
    if verdict.winner.note != DEFAULT:
        rows.append(("winner", verdict.winner))
    return [*rows, *((s.note, s) for s in verdict.others)]


def _tested(verdict: Verdict) -> list[str]:
    names = sorted({*verdict.default.test, *verdict.winner.test})
    if not names:
        return []
    parts = []
    for name in names:
        both = [
            f"{label} {_mean(setting.test[name])}"
            for label, setting in ((DEFAULT, verdict.default), ("winner", verdict.winner))
            if name in setting.test and (label == DEFAULT or setting.note != DEFAULT)
        ]
        parts.append(f"{name}: {', '.join(both)}")
    return [f"The test set was opened once. {'; '.join(parts)}."]


def _mean(values: Sequence[float]) -> str:
    if not all(map(math.isfinite, values)):
        return f"{sum(not math.isfinite(v) for v in values)} of {len(values)} diverged"
    setting = Setting("", {}, list(values), [])
    error = f" ± {setting.standard_error:.2g}" if len(values) > 1 else ""
    return f"{setting.mean:.4g}{error}"


def _chart(snapshot: Snapshot, settings: Sequence[tuple[str, Setting]]) -> Chart | None:
    seeds = _seeds(snapshot.confirmed)
    rows = [
        (label, seeds.get(number, ""), value, f"{value:.4g}")
        for label, setting in settings
        for value, number in zip(setting.values, setting.trials, strict=True)
        if math.isfinite(value)
    ]
    if not rows:
        return None
    names = ("setting", "seed", "value", "shown")
    means = [(label, s.mean, s.standard_error) for label, s in settings]
    means = [m for m in means if math.isfinite(m[1])]
    spread = [(m, e if math.isfinite(e) else 0.0) for _, m, e in means]
    ends = [m - e for m, e in spread] + [m + e for m, e in spread]
    values = [r[2] for r in rows] + ends
    across = metric_channel("value", snapshot.metric, values, "max")  # linear: means and errors
    up: Spec = {
        "field": "setting",
        "type": "nominal",
        "title": None,
        "sort": [label for label, _ in settings],
    }
    intervals = {
        "data": table(
            {
                "setting": [m[0] for m in means],
                "low": [m - e for m, e in spread],
                "high": [m + e for m, e in spread],
            }
        ),
        "mark": {"type": "rule", "strokeWidth": 5, "opacity": 0.35, "color": {"expr": "ink"}},
        "encoding": {"x": {**across, "field": "low"}, "x2": {"field": "high"}, "y": up},
    }
    middles = {
        "data": table({"setting": [m[0] for m in means], "value": [m[1] for m in means]}),
        "mark": {"type": "tick", "thickness": 3, "size": 26, "color": {"expr": "ink"}},
        "encoding": {"x": across, "y": up},
    }
    points = {
        "data": table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))),
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 0.85},
        "encoding": {
            "x": across,
            "y": up,
            "color": {"field": "setting", "type": "nominal", "legend": None, "sort": up["sort"]},
            "tooltip": [
                {"field": "setting", "type": "nominal"},
                {"field": "seed", "type": "nominal"},
                {"field": "shown", "type": "nominal", "title": snapshot.metric},
            ],
        },
    }
    return Chart(
        "confirm",
        "Each fresh seed, and mean ± standard error",
        layers(intervals, points, middles, height=max(90, ROW * len(settings))),
    )


def _seeds(trials: Sequence[Trial]) -> dict[int, str]:
    return {t.number: str(t.seed) for t in trials}


def _table(verdict: Verdict, settings: Sequence[tuple[str, Setting]]) -> Table:
    rows = []
    for label, setting in settings:
        each = ", ".join("diverged" if finite(v) is None else f"{v:.4g}" for v in setting.values)
        shown = setting_text(setting.point or verdict.defaults)
        rows.append([label, setting.origin or "conf/", _mean(setting.values), each, shown])
    return Table(["setting", "found as", f"{verdict.metric}, mean ± s.e.", "each seed", "is"], rows)
