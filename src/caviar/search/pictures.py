"""Pictures of a study, as PNG: its trials with refine's boxes, its curves, best against trials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from caviar.ledger import Trial
from caviar.search.study import Study
from caviar.space import Axis, Choice, OneMinusLog, Space
from caviar.space.sweep_file import SweepFile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito: told apart by the colour-blind, too. One for each stage.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MARKERS = ("o", "s", "^", "D", "v", "P")


def draw_pictures(study: Study) -> list[tuple[Path, str]]:
    """Draw what can be drawn of the stages so far; the files and what they show."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    stages = study.search_stages()
    trials = {stage: study.ledger.trials(stage) for stage in stages}
    spaces = {
        s: SweepFile.parse(study.ledger.facts(s)["sweep"], study.sweep_path(s)).space
        for s in stages
    }
    left = []
    pictures = {
        "trials.png": (_draw_trials, "every trial, and the box that each stage drew from"),
        "curves.png": (_draw_curves, "learning curves of all trials"),
        "best.png": (_draw_best, "best value so far against number of trials"),
    }
    for name, (draw, what) in pictures.items():
        figure, ax = plt.subplots(figsize=(7.2, 4.6), layout="constrained")
        draw(ax, study, trials, spaces)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        path = study.folder / name
        figure.savefig(path, dpi=144)
        plt.close(figure)
        left.append((path, what))
    return left


def _draw_trials(
    ax: Axes, study: Study, trials: dict[str, list[Trial]], spaces: dict[str, Space]
) -> None:
    from matplotlib.patches import Rectangle

    first = next(iter(spaces.values()))
    across, up = _two_axes(first)
    best = _best([t for stage in trials.values() for t in stage], study.mode)
    for i, (stage, space) in enumerate(spaces.items()):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        done = [t for t in trials[stage] if t.result and t.status == "complete"]
        bad = [t for t in trials[stage] if t.result and t.status != "complete"]
        x, y = ([_shown(axis, t) for t in done] for axis in (across, up))
        ax.scatter(x, y, s=34, c=colour, marker=marker, label=stage, alpha=0.85, lw=0)
        x, y = ([_shown(axis, t) for t in bad] for axis in (across, up))
        ax.scatter(x, y, s=30, c=colour, marker="x", alpha=0.7)
        (left, right), (low, high) = (_ends(space.axis(a.name), a) for a in (across, up))
        box = Rectangle((left, low), right - left, high - low, fill=False, ec=colour, lw=1.6)
        ax.add_patch(box)
    if best is not None:
        point = (_shown(across, best), _shown(up, best))
        ax.scatter(*point, s=190, facecolors="none", edgecolors="black", lw=1.5, label="best")
    if any(t.result and t.status != "complete" for stage in trials.values() for t in stage):
        ax.scatter([], [], c="grey", marker="x", label="diverged or failed")
    for axis, direction in ((across, "x"), (up, "y")):
        _label(ax, axis, direction)
    ax.set_title(f"{study.name}: trials of every stage, boxes drawn by refine", loc="left")
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _draw_curves(
    ax: Axes, study: Study, trials: dict[str, list[Trial]], spaces: dict[str, Space]
) -> None:
    everything = [t for stage in trials.values() for t in stage]
    best = _best(everything, study.mode)
    values = []
    for i, (stage, members) in enumerate(trials.items()):
        label: str | None = stage
        for trial in members:
            epochs = [e for e, v in trial.curve.items() if np.isfinite(v)]
            curve = [trial.curve[e] for e in epochs]
            if not curve:
                continue
            values += curve
            colour = COLOURS[i % len(COLOURS)]
            # A lone epoch is no line; give it a dot.
            ax.plot(
                epochs,
                curve,
                c=colour,
                lw=0.9,
                alpha=0.55,
                label=label,
                marker="." if len(curve) == 1 else None,
            )
            label = None
    if best is not None and best.curve:
        ax.plot(
            list(best.curve),
            list(best.curve.values()),
            c="black",
            lw=2.2,
            label=f"best, {best.stage}/{best.number}",
        )
    if values and min(values) > 0:
        ax.set_yscale("log")
        # A run about to diverge passes all bounds; the picture is about the others.
        ax.set_ylim(min(values) * 0.9, min(max(values), 20 * float(np.median(values))))
    ax.set_xlabel("epoch")
    ax.set_ylabel(study.metric)
    ax.set_title(f"{study.name}: learning curves of all trials", loc="left")
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _draw_best(
    ax: Axes, study: Study, trials: dict[str, list[Trial]], spaces: dict[str, Space]
) -> None:
    pick = min if study.mode == "min" else max
    start, so_far = 0, None
    line: list[float] = []
    shown = []
    for i, (stage, members) in enumerate(trials.items()):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        numbers, values = [], []
        for trial in members:
            value = trial.result.best if trial.result and trial.status == "complete" else None
            if value is not None:
                so_far = value if so_far is None else pick(so_far, value)
                numbers.append(start + trial.number + 1)
                values.append(value)
            line.append(np.nan if so_far is None else so_far)
        ax.scatter(numbers, values, s=26, c=colour, marker=marker, label=stage, alpha=0.75, lw=0)
        shown += values
        start += len(members)
    ax.step(range(1, len(line) + 1), line, where="post", c="black", lw=1.8, label="best so far")
    if shown and min(shown) > 0:
        ax.set_yscale("log")
    ax.set_xlabel("number of trials")
    ax.set_ylabel(study.metric)
    ax.set_title(f"{study.name}: best value against number of trials", loc="left")
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _two_axes(space: Space) -> tuple[Axis, Axis]:
    """Learning rate across and momentum up, as in the lecture, or the first two there are."""
    across = next((a for a in space if a.key.endswith(".lr")), space.axes[0])
    others = [a for a in space if a is not across]
    momentum = [a for a in others if a.key.endswith((".momentum", ".beta1"))]
    return across, (momentum or others or [across])[0]


def _shown(axis: Axis, trial: Trial) -> float:
    value = trial.point.get(axis.name)
    if isinstance(axis.scale, Choice):
        return float(axis.scale.values.index(value)) if value in axis.scale.values else np.nan
    return np.nan if value is None else float(value)


def _ends(axis: Axis, first: Axis) -> tuple[float, float]:
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
    if isinstance(axis.scale, Choice):
        target.set_ticks(range(len(axis.scale.values)), [str(v) for v in axis.scale.values])


def _best(trials: Sequence[Trial], mode: str) -> Trial | None:
    from caviar.view import best_trials

    found = best_trials(trials, mode, 1)
    return found[0] if found else None
