"""How much each hyperparameter matters, measured, beside the lecture's tiers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.special import ndtr

from caviar.pages.channels import Spec, axis_channel, place
from caviar.pages.marks import OF_TRIAL, Chart, layers, points, table_of_rows, tooltip, words_of
from caviar.pages.page import Section, Table
from caviar.pages.snapshot import SAMPLE, Snapshot, best_value
from caviar.refine import TooFewTrials
from caviar.refine.chance import interaction
from caviar.refine.fanova import Forest
from caviar.refine.importance import Importance, prepared
from caviar.screen.view import plural
from caviar.search.importance import OTHER_MEASURE, StudyImportance, study_importance
from caviar.space import Axis, Choice

FANOVA, PED = "fANOVA", "PED-ANOVA"
CELLS = 24  # of the map, each way: finer ones show the trees' steps
ROW = 34  # pixels of an axis


def importance_section(snapshot: Snapshot) -> Section:
    """Shares with intervals, sentences, and the map of the two strongest axes."""
    title = "Importance: what mattered"
    try:
        measured = study_importance(snapshot.study, snapshot.tiers, most=SAMPLE)
    except TooFewTrials as error:
        return Section("importance", title, [f"Nothing can be said yet: {error}."])
    words = [
        f"From {plural(len(measured.trials), 'trial')}. fANOVA: the share of the variance of the "
        f"losses' ranks that an axis explains by itself, in trials held out; "
        f"{measured.unexplained:.0%} is interactions, noise and what so few trials do not show. "
        "PED-ANOVA: how far the best quarter of the trials lies from all of them along an axis, of "
        "the farthest that it could. Both beyond chance, and on unit coordinates, each axis as its "
        "scale has it; lines are 90 % intervals, and a tick is what chance gives an axis at "
        f"most, in 95 % of studies, {measured.chance:.0%}. {OTHER_MEASURE}",
        *measured.sentences(),
    ]
    charts = [_bars(measured.axes)]
    if len(measured.axes) > 1:
        drawn = [t.point for t in measured.trials]
        units, scores = prepared(measured.space, drawn, measured.losses)
        # The seed of `measure`: map and shares are of one forest.
        forest = Forest(measured.space, units, scores, seed=0)
        first, second = (i.axis for i in measured.axes[:2])
        one, other = (measured.space.axes.index(axis) for axis in (first, second))
        share, chance = interaction(measured.space, units, scores, one, other)
        together = f"together explain {share:.0%} beyond what each does by itself"
        if share <= chance:
            together = "do nothing together, beyond what each does by itself and chance, that shows"
        words.append(f"{first.key} and {second.key} {together}: the map below.")
        charts.append(_map(snapshot, measured, forest, one, other))
    numbers = Table(["axis", "tier", FANOVA, "90 %", PED, "90 %"], measured.rows())
    return Section("importance", title, words, charts, [numbers], aside=True)


def _bars(measured: Sequence[Importance]) -> Chart:
    """Both shares of each axis, the most important on top."""

    def label(one: Importance) -> str:
        return one.axis.key if one.axis.tier is None else f"{one.axis.key} (tier {one.axis.tier})"

    rows = [
        (label(i), name, share, low, high, chance)
        for i in measured
        for name, share, low, high, chance in (
            (FANOVA, i.share, i.low, i.high, i.chance),
            (PED, i.ped, i.ped_low, i.ped_high, None),
        )
    ]
    beside = {"field": "measure", "type": "nominal", "scale": {"domain": [FANOVA, PED]}}
    up = {
        "y": {
            "field": "axis",
            "type": "nominal",
            "sort": [label(i) for i in measured],
            "title": None,
            "axis": {"labelLimit": 260},
        },
        "yOffset": beside,
    }
    # To 100 % always: bars of two reports compare, and small shares look small.
    across = {"type": "quantitative", "title": "share", "scale": {"domain": [0, 1]}}
    across["axis"] = {"format": "%", "tickCount": 5}
    says = tooltip(
        {"axis": "axis", "measure": "measure"},
        {"share": "share", "low": "low", "high": "high"},
        form=".1%",
    )
    bars: Spec = {
        "mark": {"type": "bar", "clip": True},
        "encoding": {**up, "x": {**across, "field": "share"}, "color": beside, "tooltip": says},
    }
    lines: Spec = {
        "mark": {"type": "rule", "color": {"expr": "ink"}, "strokeWidth": 1.5},
        "encoding": {**up, "x": {**across, "field": "low"}, "x2": {"field": "high"}},
    }
    ticks: Spec = {
        "mark": {"type": "tick", "color": {"expr": "faint"}, "thickness": 2},
        "encoding": {**up, "x": {**across, "field": "chance"}},
    }
    data = table_of_rows(("axis", "measure", "share", "low", "high", "chance"), rows)
    return Chart(
        "importance",
        "Share of each axis, with 90 % intervals and what chance reaches",
        layers(bars, lines, ticks, data=data, height=max(80, ROW * len(measured))),
    )


def _map(
    snapshot: Snapshot, measured: StudyImportance, forest: Forest, one: int, other: int
) -> Chart:
    """What the forest expects over the plane of two axes, the others averaged out.

    Arguments:
        snapshot: whose trials are drawn upon it.
        measured: whose losses the forest has learned, as ranks.
        forest: of all axes.
        one: the axis across, by position.
        other: the axis up.
    """
    across, up = measured.space.axes[one], measured.space.axes[other]
    x, y = _cells(forest, across, one), _cells(forest, up, other)
    middles = [(np.array(c[:-1]) + np.array(c[1:])) / 2 for c in (x, y)]
    expected = forest.surface(one, other, *middles)  # normal scores, (up, across)
    losses = np.array(measured.losses)
    finite = losses[np.isfinite(losses)]
    ranked = np.sort(np.where(np.isfinite(losses), losses, finite.max()))
    # A normal score says little to a reader; the loss of that rank is in his units.
    values = np.quantile(ranked, ndtr(expected))
    if snapshot.mode == "max":
        values = -values
    left, right = _places(across, x)
    low, high = _places(up, y)
    along, upwards = _words(across, x), _words(up, y)
    cells = [
        (
            *(left[column], right[column], low[row], high[row], float(value)),
            *(along[column], upwards[row]),
        )
        for row, values_of_row in enumerate(values)
        for column, value in enumerate(values_of_row)
    ]
    ends = (min(left), max(right)), (min(low), max(high))
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
    surface: Spec = {
        "data": table_of_rows(("x", "right", "y", "high", "expected", "along", "upwards"), cells),
        "mark": {"type": "rect"},
        "encoding": {
            "x": horizontal,
            "x2": {"field": "right"},
            "y": vertical,
            "y2": {"field": "high"},
            "color": colour,
            "tooltip": tooltip(
                {"along": across.key, "upwards": up.key},
                {"expected": f"expected {snapshot.metric}"},
            ),
        },
    }
    trials = [t for t in snapshot.trials if best_value(t) is not None]
    columns = words_of(snapshot, trials) | {
        "x": [place(across, t.point.get(across.name), t.number) for t in trials],
        "y": [place(up, t.point.get(up.name), t.number + 1) for t in trials],
    }
    encoding = {"x": horizontal, "y": vertical, "tooltip": OF_TRIAL}
    # White with a black edge is seen on every colour of the map.
    look = {"size": 18, "color": "white", "stroke": "black", "strokeWidth": 0.7}
    return Chart(
        "interaction",
        f"{across.key} and {up.key} together, all other axes averaged out",
        layers(surface, points(columns, encoding, **look), height=320),
    )


def _cells(forest: Forest, axis: Axis, position: int) -> list[float]:
    """Ends of the map's cells, in unit coordinates; one cell for each value of a choice."""
    if isinstance(axis.scale, Choice):
        return np.linspace(0, 1, len(axis.scale.values) + 1).tolist()
    # Stages may have grown past the first one's ends, and the forest has learned that, too.
    column = forest.columns[position].start
    low, high = forest.ends[:, column].tolist()
    return np.linspace(low, high, CELLS + 1).tolist()


def _words(axis: Axis, ends: list[float]) -> list[str]:
    """What each cell stands for: a choice, or the natural value in its middle."""
    if isinstance(axis.scale, Choice):
        return ["null" if v is None else str(axis.scale.natural(v)) for v in axis.scale.values]
    middles = axis.scale.at([(a + b) / 2 for a, b in pairwise(ends)]).tolist()
    return [f"{axis.scale.natural(v):.4g}" for v in middles]


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
