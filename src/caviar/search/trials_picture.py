"""The picture of a search: every trial in its plane, and the boxes that refine drew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from caviar.ledger import Trial
from caviar.result import COMPLETE
from caviar.search.study import Study
from caviar.space import Axis, Choice, Integer, OneMinusLog, Space
from caviar.view import best_trials

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito: told apart by the colour-blind, too. One for each stage.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MARKERS = ("o", "s", "^", "D", "v", "P")
GOLDEN = 0.618034  # multiples of it, less their whole part, spread evenly


def draw_trials(
    ax: Axes,
    study: Study,
    trials: Mapping[str, Sequence[Trial]],
    spaces: Mapping[str, Space],
) -> None:
    """Learning rate across and momentum up, or the first two axes; of a single axis, the metric."""
    axes = _plane(next(iter(spaces.values())))
    for i, (stage, space) in enumerate(spaces.items()):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        done = [t for t in trials[stage] if t.result and t.status == COMPLETE]
        bad = [t for t in trials[stage] if t.result and t.status != COMPLETE]
        ax.scatter(
            *_places(axes, done), s=34, c=colour, marker=marker, label=stage, alpha=0.85, lw=0
        )
        x, y = _places(axes, bad)
        if len(axes) == 1:  # they have no metric; show them at the top
            ax.scatter(
                x,
                [0.98] * len(x),
                s=30,
                c=colour,
                marker="x",
                alpha=0.7,
                transform=ax.get_xaxis_transform(),
            )
        else:
            ax.scatter(x, y, s=30, c=colour, marker="x", alpha=0.7)
        _draw_box(ax, [_ends(space.axis(a.name), a) for a in axes], colour)
    everything = [t for stage in trials.values() for t in stage]
    if best := best_trials(everything, study.mode, 1):
        ring: dict[str, Any] = {
            "facecolors": "none",
            "edgecolors": "black",
            "lw": 1.5,
            "label": "best",
        }
        ax.scatter(*_places(axes, best), s=190, **ring)
    if any(t.result and t.status != COMPLETE for t in everything):
        ax.scatter([], [], c="grey", marker="x", label="diverged or failed")
    for axis, direction in zip(axes, "xy", strict=False):
        _label(ax, axis, direction)
    if len(axes) == 1:
        ax.set_ylabel(study.metric)
    ax.set_title(f"{study.name}: trials of every stage, boxes drawn by refine", loc="left")
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _plane(space: Space) -> list[Axis]:
    across = next((a for a in space if a.key.endswith(".lr")), space.axes[0])
    others = [a for a in space if a is not across]
    momentum = [a for a in others if a.key.endswith((".momentum", ".beta1"))]
    return [across, *(momentum or others)[:1]]


def _places(axes: Sequence[Axis], trials: Sequence[Trial]) -> tuple[list[float], list[float]]:
    x = [_shown(axes[0], t) for t in trials]
    if len(axes) == 2:
        return x, [_shown(axes[1], t) for t in trials]
    best = [t.result.best if t.result else None for t in trials]
    return x, [np.nan if b is None else b for b in best]


def _draw_box(ax: Axes, ends: Sequence[tuple[float, float]], colour: str) -> None:
    from matplotlib.patches import Rectangle

    (left, right), *up = ends
    if not up:
        for end in (left, right):
            ax.axvline(end, c=colour, lw=1.6)
        return
    low, high = up[0]
    box = Rectangle((left, low), right - left, high - low, fill=False, ec=colour, lw=1.6)
    ax.add_patch(box)


def _shown(axis: Axis, trial: Trial) -> float:
    value = trial.point.get(axis.name)
    if isinstance(axis.scale, Choice):
        if value not in axis.scale.values:
            return np.nan
        spread = (trial.number * GOLDEN) % 1 - 0.5  # else all trials of a value hide one another
        return axis.scale.values.index(value) + 0.5 * spread
    return np.nan if value is None else float(value)


def _ends(axis: Axis, first: Axis) -> tuple[float, float]:
    if isinstance(axis.scale, Integer):  # each whole number owns the half step on either side
        return axis.scale.low - 0.5, axis.scale.high + 0.5
    if not isinstance(axis.scale, Choice):
        return axis.scale.low, axis.scale.high
    if isinstance(first.scale, Choice):
        places = [first.scale.values.index(v) for v in axis.scale.values]
        return min(places) - 0.4, max(places) + 0.4
    return float(axis.scale.values[0]), float(axis.scale.values[0])  # frozen


def _label(ax: Axes, axis: Axis, direction: str) -> None:
    """Name the axis and put it on its own scale; 1-β reversed, so that β grows to the right."""
    target: Any = ax.xaxis if direction == "x" else ax.yaxis
    set_label = ax.set_xlabel if direction == "x" else ax.set_ylabel
    set_label(axis.key)
    if axis.scale.kind in ("log", "one_minus_log", "log_integer"):
        (ax.set_xscale if direction == "x" else ax.set_yscale)("log")
    if isinstance(axis.scale, OneMinusLog):
        (ax.invert_xaxis if direction == "x" else ax.invert_yaxis)()
        target.set_major_formatter(lambda c, _: f"{1 - c:.12g}")
        target.set_minor_formatter("")
        set_label(f"{axis.key}, log in 1-β")
    if axis.scale.kind == "integer":
        from matplotlib.ticker import MaxNLocator

        target.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if isinstance(axis.scale, Choice):
        target.set_ticks(range(len(axis.scale.values)), [str(v) for v in axis.scale.values])
