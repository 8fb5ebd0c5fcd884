"""How much each hyperparameter matters, measured, beside the lecture's tiers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.special import ndtr

from caviar.refine import TooFewTrials
from caviar.refine.fanova import Forest
from caviar.refine.importance import Importance, measure, prepared, sentences
from caviar.refine.surrogate import TOP
from caviar.report.marks import TOOLTIP, Chart, Spec, axis_channel, layers, place, table, words_of
from caviar.report.page import Section, Table
from caviar.report.snapshot import Snapshot
from caviar.screen.view import plural
from caviar.search.stages import latest_stage_with, pooled_trials
from caviar.space import Axis, Choice

FANOVA, PED = "fANOVA", "PED-ANOVA"
CELLS = 24  # of the map, each way
ROW = 34


def importance_section(snapshot: Snapshot) -> Section:
    """Shares with intervals, sentences, and the map of the two strongest axes."""
    title = "Importance: what mattered"
    study = snapshot.study
    overrides = study.ledger.spec(latest_stage_with(study, TOP))["overrides"]
    _, _, pooled = pooled_trials(study, overrides)
    losses = [t.result.loss(snapshot.mode) for t in pooled if t.result]
    try:
        found = measure(snapshot.space, [t.point for t in pooled], losses)
        units, scores = prepared(snapshot.space, [t.point for t in pooled], losses)
    except TooFewTrials as error:
        return Section("importance", title, [f"Nothing can be said yet: {error}."])
    left = max(0.0, 1 - sum(i.share for i in found))
    words = [
        f"From {plural(len(pooled), 'trial')}. fANOVA: the share of the variance of the losses' "
        f"ranks that an axis explains by itself; {left:.0%} is interactions and noise. PED-ANOVA: "
        "how far the best quarter of the trials lies from all of them along an axis. Both on unit "
        "coordinates, each axis as its scale has it; lines are 90 % bootstrap intervals.",
        *sentences(found, len(pooled)),
    ]
    charts = [_bars(found)]
    if len(found) > 1:
        forest = Forest(snapshot.space, units, scores, seed=0)
        one, other = (snapshot.space.axes.index(i.axis) for i in found[:2])
        share = forest.interaction(one, other)
        words.append(
            f"{found[0].axis.key} and {found[1].axis.key} together explain {share:.0%} beyond what "
            "each does by itself: the map below."
        )
        charts.append(_map(snapshot, forest, one, other, np.array(losses)))
    return Section("importance", title, words, charts, [_numbers(found)], aside=True)


def _label(one: Importance) -> str:
    return one.axis.key if one.axis.tier is None else f"{one.axis.key} (tier {one.axis.tier})"


def _bars(found: Sequence[Importance]) -> Chart:
    rows = [
        (_label(i), name, share, low, high)
        for i in found
        for name, share, low, high in (
            (FANOVA, i.share, i.low, i.high),
            (PED, i.ped, i.ped_low, i.ped_high),
        )
    ]
    names = ("axis", "measure", "share", "low", "high")
    data = table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    up = {
        "field": "axis",
        "type": "nominal",
        "sort": [_label(i) for i in found],
        "title": None,
        "axis": {"labelLimit": 260},
    }
    beside = {"field": "measure", "type": "nominal", "scale": {"domain": [FANOVA, PED]}}
    across = {"type": "quantitative", "title": "share", "scale": {"domain": [0, 1]}}
    across["axis"] = {"format": "%", "tickCount": 5}
    tooltip = [
        {"field": "axis", "type": "nominal"},
        {"field": "measure", "type": "nominal"},
        *({"field": f, "type": "quantitative", "format": ".1%"} for f in ("share", "low", "high")),
    ]
    bars = {
        "mark": {"type": "bar", "clip": True},
        "encoding": {
            "x": {**across, "field": "share"},
            "y": up,
            "yOffset": beside,
            "color": beside,
            "tooltip": tooltip,
        },
    }
    lines = {
        "mark": {"type": "rule", "color": {"expr": "ink"}, "strokeWidth": 1.5},
        "encoding": {
            "x": {**across, "field": "low"},
            "x2": {"field": "high"},
            "y": up,
            "yOffset": beside,
        },
    }
    return Chart(
        "importance",
        "Share of each axis, with 90 % intervals",
        layers(bars, lines, data=data, height=max(80, ROW * len(found))),
    )


def _map(snapshot: Snapshot, forest: Forest, one: int, other: int, losses: np.ndarray) -> Chart:
    """What the forest expects over the plane of two axes, the others averaged out."""
    across, up = snapshot.space.axes[one], snapshot.space.axes[other]
    x, y = _cells(forest, across, one), _cells(forest, up, other)
    middles = [(np.array(c[:-1]) + np.array(c[1:])) / 2 for c in (x, y)]
    expected = forest.surface(one, other, *middles)  # normal scores, (up, across)
    known = np.sort(np.where(np.isfinite(losses), losses, losses[np.isfinite(losses)].max()))
    values = np.quantile(known, ndtr(expected))  # the loss of that rank
    if snapshot.mode == "max":
        values = -values
    left, right = _places(across, x)
    low, high = _places(up, y)
    columns: dict[str, list[float]] = {n: [] for n in ("x", "x2", "y", "y2", "expected")}
    for row, values_of_row in enumerate(values):
        for column, value in enumerate(values_of_row):
            corner = (left[column], right[column], low[row], high[row], float(value))
            for name, number in zip(columns, corner, strict=True):
                columns[name].append(number)
    trials = [t for t in snapshot.trials if snapshot.value(t) is not None]
    px = [place(across, t.point.get(across.name), t.number) for t in trials]
    py = [place(up, t.point.get(up.name), t.number + 1) for t in trials]
    ends = [(min(left), max(right)), (min(low), max(high))]
    horizontal = axis_channel(across, "x", [], ends[:1])
    vertical = axis_channel(up, "y", [], ends[1:])
    for channel, whole in ((horizontal, ends[0]), (vertical, ends[1])):
        channel["scale"]["domain"] = list(whole)  # no margin: the cells fill the picture
        channel["axis"]["grid"] = False
    colour: Spec = {
        "field": "expected",
        "type": "quantitative",
        "scale": {"scheme": "viridis", "reverse": snapshot.mode == "min"},  # bright is better
        "legend": {"type": "gradient", "title": f"expected {snapshot.metric}"},
    }
    cells = {
        "data": table(columns),
        "mark": {"type": "rect", "tooltip": True},
        "encoding": {
            "x": horizontal,
            "x2": {"field": "x2"},
            "y": vertical,
            "y2": {"field": "y2"},
            "color": colour,
        },
    }
    points = {
        "data": table({**words_of(snapshot, trials), "px": px, "py": py}),
        "mark": {"type": "point", "size": 18, "filled": True, "color": "white", "stroke": "black"}
        | {"strokeWidth": 0.7, "clip": True},
        "encoding": {
            "x": {**horizontal, "field": "px"},
            "y": {**vertical, "field": "py"},
            "tooltip": TOOLTIP,
        },
    }
    return Chart(
        "interaction",
        f"{across.key} and {up.key} together, all other axes averaged out",
        layers(cells, points, height=320),
    )


def _cells(forest: Forest, axis: Axis, j: int) -> list[float]:
    """Ends of the map's cells, in unit coordinates; one cell for each value of a choice."""
    if isinstance(axis.scale, Choice):
        return np.linspace(0, 1, len(axis.scale.values) + 1).tolist()
    column = forest.columns[j].start
    low, high = forest.ends[:, column].tolist()
    return np.linspace(low, high, CELLS + 1).tolist()


def _places(axis: Axis, ends: list[float]) -> tuple[list[float], list[float]]:
    """Where cells begin and end on the axis' scale.

    Each reaches below the next one, which is drawn over it: no seams.
    """
    if isinstance(axis.scale, Choice):
        places = (np.arange(len(axis.scale.values) + 1) - 0.5).tolist()
    else:
        places = axis.scale.at(ends).tolist()
    below = [(a + b) / 2 for a, b in pairwise(places[1:])]
    return places[:-1], [*below, places[-1]]


def _numbers(found: Sequence[Importance]) -> Table:
    rows = [
        [
            i.axis.key,
            "" if i.axis.tier is None else str(i.axis.tier),
            f"{i.share:.0%}",
            f"{i.low:.0%} … {i.high:.0%}",
            f"{i.ped:.0%}",
            f"{i.ped_low:.0%} … {i.ped_high:.0%}",
        ]
        for i in found
    ]
    return Table(["axis", "tier", FANOVA, "90 %", PED, "90 %"], rows)
