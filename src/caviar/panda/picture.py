"""The curve over the days, its nudges as marks, and its branches: `caviar panda picture`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caviar.files import replaced
from caviar.panda.begin import read_config
from caviar.panda.journal import BACK, DIVERGED, SET, Event, Journal, shown
from caviar.panda.lineage import Lineage
from caviar.panda.record import curve, rows

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # for the colour-blind
LABELS = 16  # nudges that the legend has room for


def draw(folder: Path, path: Path) -> Path:
    """Draw the picture; its path."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    config, events, found = read_config(folder), Journal(folder).events(), rows(folder)
    metric, lineage = config["metric"]["name"], Lineage.of(events)
    lines = {b: branch_line(found, lineage, metric, b) for b in range(lineage.branch + 1)}
    figure, ax = plt.subplots(figsize=(9.0, 4.8), layout="constrained")
    for branch, points in lines.items():
        if len(points) > (branch in lineage.origins):  # more than where it began
            now = branch == lineage.branch
            ax.plot(
                *zip(*points, strict=True), c=_colour(branch), lw=2.2 if now else 1.3,
                alpha=1.0 if now else 0.75, marker=".", ms=4, label=_name(branch, lineage),
            )  # fmt: skip
    values = sorted(v for points in lines.values() for _, v in points)
    if config["metric"]["mode"] == "min" and values and values[0] > 0:
        ax.set_yscale("log")
        # A branch that diverged passes all bounds; the picture is about the others.
        middle = values[len(values) // 2]
        ax.set_ylim(values[0] * 0.8, min(values[-1] * 1.2, 30 * middle))
    _mark(ax, events, lines)
    _days(ax, lineage)
    ax.set_xlabel("step")
    ax.set_ylabel(metric)
    ax.set_title(f"{folder.name}: one model, looked after", loc="left")
    if values:
        ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    with replaced(path) as partial:
        figure.savefig(partial, dpi=144)
    plt.close(figure)
    return path


def branch_line(
    found: Sequence[dict[str, Any]], lineage: Lineage, metric: str, branch: int
) -> list[tuple[float, float]]:
    """A branch's finite values by step, from the point of its parent's that it began at."""
    steps, values = curve(found, metric, branch)
    own: list[tuple[float, float]] = [
        (s, v) for s, v in zip(steps, values, strict=True) if math.isfinite(v)
    ]
    if branch not in lineage.origins:
        return own
    origin, day = lineage.origins[branch]
    ends = [e.step for e in lineage.days(origin) if e.day == day]
    until = ends[-1] if ends else 0
    before = [p for p in branch_line(found, lineage, metric, origin) if p[0] < until]
    return [*before[-1:], *own]


def _colour(branch: int) -> str:
    return COLOURS[branch % len(COLOURS)]


def _name(branch: int, lineage: Lineage) -> str:
    if branch not in lineage.origins:
        return f"branch {branch}"
    origin, day = lineage.origins[branch]
    return f"branch {branch}, from day {day}" + (f" of {origin}" if origin else "")


def _mark(ax: Any, events: Sequence[Event], lines: dict[int, list[tuple[float, float]]]) -> None:
    """A triangle at each nudge, numbered; what it changed is in the legend."""
    nudges = [(e, _words(e)) for e in events if e.kind in (SET, BACK) and _words(e)]
    for number, (nudge, words) in enumerate(nudges, start=1):
        before = [p for p in lines.get(nudge.branch, []) if p[0] <= nudge.step]
        height = (before or lines.get(nudge.branch) or [(0, math.nan)])[-1 if before else 0][1]
        # Several at one place stand in a row, beside one another.
        beside = sum(e.step == nudge.step for e, _ in nudges[: number - 1])
        colour = _colour(nudge.branch)
        label = f"{number}: {words}" if number <= LABELS else None
        ax.plot(
            [nudge.step], [height], marker="^", ms=8, c=colour, mec="black", mew=0.6, ls="",
            zorder=5, label=label,
        )  # fmt: skip
        if label:
            ax.annotate(
                str(number), (nudge.step, height), xytext=(-3, -18 - 11 * beside),
                textcoords="offset points", fontsize=9, color=colour, weight="bold",
            )  # fmt: skip
    for bad in (e for e in events if e.kind == DIVERGED):
        ax.axvline(bad.step, c=_colour(bad.branch), ls=":", lw=1)


def _words(nudge: Event) -> str:
    """What a nudge changed; a longer run is no change of the model."""
    changed = {k: new for k, (old, new) in nudge.changes.items() if old != new}
    changed.pop("trainer.max_epochs", None)
    return ", ".join(f"{key.rpartition('.')[2]} {shown(new)}" for key, new in changed.items())


def _days(ax: Any, lineage: Lineage) -> None:
    """A thin line at the end of each day that led to the present, and its number above."""
    days = lineage.days()
    for day in days:
        ax.axvline(day.step, c="0.9", lw=0.8, zorder=0)
    every = -(-len(days) // 12) or 1
    top = ax.secondary_xaxis("top")
    top.set_xticks([d.step for d in days[every - 1 :: every]])
    top.set_xticklabels([f"day {d.day}" for d in days[every - 1 :: every]], fontsize=8)
    top.tick_params(length=0)
    top.spines["top"].set_visible(False)
