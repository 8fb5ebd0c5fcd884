"""Pictures of a study, as PNG: its trials with refine's boxes, its curves, best against trials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from caviar.files import replaced
from caviar.ledger import Trial
from caviar.search.study import Study
from caviar.search.trials_picture import COLOURS, MARKERS, draw_trials
from caviar.space import Space
from caviar.view import best_trials

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_pictures(study: Study) -> list[tuple[Path, str]]:
    """Draw what can be drawn of the stages so far; the files and what they show."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    stages = study.search_stages()
    trials = {stage: study.ledger.trials(stage) for stage in stages}
    spaces = {stage: study.begun_sweep(stage).space for stage in stages}
    left = []
    pictures = {
        "trials.png": (draw_trials, "every trial, and the box that each stage drew from"),
        "curves.png": (_draw_curves, "learning curves of all trials"),
        "best.png": (_draw_best, "best value so far against number of trials"),
    }
    for name, (draw, what) in pictures.items():
        figure, ax = plt.subplots(figsize=(7.2, 4.6), layout="constrained")
        draw(ax, study, trials, spaces)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        path = study.folder / name
        with replaced(path) as partial:
            figure.savefig(partial, dpi=144)
        plt.close(figure)
        left.append((path, what))
    return left


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
    if study.mode == "min" and values and min(values) > 0:
        ax.set_yscale("log")
        # A run about to diverge passes all bounds; the picture is about the others.
        ax.set_ylim(min(values) * 0.9, min(max(values) * 1.1, 20 * float(np.median(values))))
    _whole_numbers(ax)
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
    if study.mode == "min" and shown and min(shown) > 0:
        ax.set_yscale("log")
    _whole_numbers(ax)
    ax.set_xlabel("number of trials")
    ax.set_ylabel(study.metric)
    ax.set_title(f"{study.name}: best value against number of trials", loc="left")
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _whole_numbers(ax: Axes) -> None:
    """Epochs and trials come whole."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _best(trials: Sequence[Trial], mode: str) -> Trial | None:
    found = best_trials(trials, mode, 1)
    return found[0] if found else None
