"""Ways to draw the same axis, compared by what they find at equal budget. For scales and beta.

python benchmarks/lecture/main.py --only scales,beta
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lecture import stats
from lecture.lab import Lab, capped
from lecture.pictures import Spec, bands, log_channel, panel
from lecture.stats import Array, Estimate
from trainings import TASKS

BUDGETS = (5, 10, 20)
CURVE = tuple(range(1, 31))
BEST = 0.01  # the quantile of all losses that counts as the best one there is
WASTE = 2.0  # times that loss: a trial that taught nothing


@dataclass(frozen=True)
class Case:
    """The trials of each way of drawing on one task."""

    name: str
    task: str
    losses: Mapping[str, Array]
    """By way of drawing; infinite where training diverged."""


@dataclass(frozen=True)
class Outcome:
    """What one way of drawing gives on one task."""

    wasted: Estimate
    useless: Estimate
    """No better than guessing: loss over ln(classes), or diverged."""
    best: Sequence[Estimate]
    """Expected best after each of BUDGETS."""
    behind: Sequence[Estimate]
    """How much worse than the reference's, as a share of the reference's; after each of BUDGETS."""
    more_wasted: Estimate
    """Its share of wasted trials less the reference's."""


def outcomes(case: Case, reference: str, rng: np.random.Generator) -> dict[str, Outcome]:
    """Of every way, beside the reference: the project's own."""
    wall = WASTE * float(np.quantile(np.concatenate(list(case.losses.values())), BEST))
    guess = math.log(TASKS[case.task].classes)
    best = {way: stats.best_of(capped(x), BUDGETS, rng) for way, x in case.losses.items()}
    wasted = {way: (x > wall).astype(float) for way, x in case.losses.items()}
    own, own_drawn = best[reference]
    found = {}
    for way, losses in case.losses.items():
        value, drawn = best[way]
        behind = [
            stats.of_resamples(a, b)
            for a, b in zip(value / own - 1, (drawn / own_drawn - 1).T, strict=True)
        ]
        found[way] = Outcome(
            wasted=stats.share(int(wasted[way].sum()), len(losses)),
            useless=stats.share(int((losses >= guess).sum()), len(losses)),
            best=[stats.of_resamples(a, b) for a, b in zip(value, drawn.T, strict=True)],
            behind=behind,
            more_wasted=stats.resampled(
                lambda a, b: a.mean() - b.mean(), wasted[way], wasted[reference], rng=rng, times=500
            ),
        )
    return found


def rows(case: Case, found: Mapping[str, Outcome], reference: str) -> list[list[str]]:
    """A row for each way: wasted, useless, best after each budget, the last against the own."""
    lines = []
    for i, (way, out) in enumerate(found.items()):
        behind = "–" if way == reference else out.behind[1].text("+.0%")
        lines.append(
            [
                case.name if i == 0 else "",
                way,
                out.wasted.text(".0%"),
                out.useless.text(".0%"),
                *(b.text(".3f") for b in out.best),
                behind,
            ]
        )
    return lines


HEAD = (
    "task",
    "drawn",
    "wasted",
    "no better than guessing",
    *(f"best of {n}" for n in BUDGETS),
    f"of {BUDGETS[1]}, against ours",
)


def curves(lab: Lab, cases: Sequence[Case]) -> Spec:
    """Best value so far against the number of trials, for every way; a panel for each task."""
    panels = []
    for case in cases:
        columns: dict[str, list] = {k: [] for k in ("x", "y", "low", "high", "series")}
        for way, losses in case.losses.items():
            value, drawn = stats.best_of(capped(losses), CURVE, lab.rng("curves", case.name, way))
            low, high = np.quantile(drawn, stats.INTERVAL, axis=0)
            columns["x"] += CURVE
            columns["y"] += value.tolist()
            columns["low"] += low.tolist()
            columns["high"] += high.tolist()
            columns["series"] += [way] * len(CURVE)
        y = log_channel("y", "best loss", [*columns["low"], *columns["high"]])
        x: Spec = {"title": "trials", "scale": {"domain": [1, CURVE[-1]], "nice": False}}
        x["axis"] = {"values": [1, 5, 10, 15, 20, 25, 30]}
        panels.append(panel(case.name, bands(columns, x, y, list(case.losses)), 170))
    return {"concat": panels, "columns": 2}
