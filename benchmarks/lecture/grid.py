"""Random, not grid: how many values n trials show, and how few random trials match a grid.

python benchmarks/lecture/main.py --only grid
python benchmarks/lecture/main.py --only grid --quick
"""

from __future__ import annotations

import numpy as np

from caviar.pages.channels import axis_channel
from caviar.pages.marks import Chart, table
from caviar.space import Axis, Log, Space
from lecture import matching
from lecture.evidence import Claim, Finding, Section, Table, Verdict, near, together
from lecture.lab import Lab, capped
from lecture.matching import grid_units
from lecture.pictures import HALF, Spec
from lecture.searches import SPACE, draw
from lecture.stats import Array, resampled
from trainings import Job

# The lecture's plane: one axis that matters, one that hardly does.
PLANE = Space((Axis("lr", Log(1e-4, 1.0)), Axis("weight_decay", Log(1e-6, 1e-3))))
COUNTS = ((25, 2), (27, 3), (81, 4), (128, 7))  # trials, axes: all have a whole root
BEST = 0.05  # the share of the space that coverage is about


def distinct(columns: dict[str, np.ndarray]) -> list[int]:
    """How many values of each hyperparameter are tried."""
    return [len(np.unique(column)) for column in columns.values()]


def run(lab: Lab) -> Section:
    tables, claims = [], []
    rows, verdicts = [], []
    for trials, axes in COUNTS:
        space = Space(tuple(Axis(f"x{j}", Log(1e-4, 1.0)) for j in range(axes)))
        root = round(trials ** (1 / axes))
        of_grid = distinct(space.from_unit(grid_units((root,) * axes, np.full(axes, 0.5))))
        of_random = distinct(space.draw(lab.seed, f"count {axes}", trials))
        fits = set(of_grid) == {root} and set(of_random) == {trials}
        verdicts.append(Verdict.HOLDS if fits else Verdict.FAILS)
        rows.append([str(trials), str(axes), span(of_grid), span(of_random)])
    tables.append(Table(("trials", "axes", "values of each axis, grid", "random"), rows))
    numbers = "; ".join(f"{n} trials, {d} axes: {g} against {r}" for n, d, g, r in rows)
    claims.append(
        Claim(
            "n trials show n^(1/d) values of each hyperparameter on a grid, and n at random",
            "counting the values of drawn points gives just these numbers",
            [Finding("", together(verdicts), numbers)],
        )
    )
    claims.append(coverage(lab))
    section = matching.run(lab)
    return Section(
        title="Random, not grid",
        lecture="Not knowing which hyperparameters matter, do not lay a grid: 25 trials on a grid "
        "of two axes try five learning rates, 25 random ones try 25. Bergstra & Bengio (2012) "
        "report that 8 random trials matched grids of about 100. And n random trials find one of "
        "the best q of the space with probability 1-(1-q)^n, whatever the number of axes: 95 % "
        "for 60 trials and the best 5 %, 34 % for 8.",
        done="Points are drawn as the project draws them. The pictured trials train a small MLP "
        "on digits. " + section.done,
        claims=[*claims, *section.claims],
        figures=[plane(lab), *section.figures],
        tables=[*tables, *section.tables],
        notes=section.notes,
    )


def span(counts: list[int]) -> str:
    """`25`, or `24 to 25`."""
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def plane(lab: Lab) -> Chart:
    """The lecture's picture, with trials that really trained."""
    ways = {
        "grid": PLANE.from_unit(grid_units((5, 5), np.full(2, 0.5))),
        "random": PLANE.draw(lab.seed, "plane", 25),
    }
    jobs = [
        Job((lr, 0.1, decay, 0.0), i)
        for columns in ways.values()
        for i, (lr, decay) in enumerate(zip(*(c.tolist() for c in columns.values()), strict=True))
    ]
    losses = capped(lab.train("digits", jobs, "plane")).tolist()
    every = [v for columns in ways.values() for v in columns["lr"].tolist()]
    x = axis_channel(PLANE.axis("lr"), "lr", every)
    everywhere = [v for columns in ways.values() for v in columns["weight_decay"].tolist()]
    y = axis_channel(PLANE.axis("weight_decay"), "weight_decay", everywhere)
    x["title"], y["title"] = "learning rate", "weight decay"
    colour: Spec = {
        "field": "loss",
        "type": "quantitative",
        "title": "validation loss",
        "scale": {"type": "log", "reverse": True, "domain": [min(losses), max(losses)]},
        "legend": {
            "orient": "right",
            "title": "loss",
            "gradientLength": 180,
            "values": [0.15, 0.2, 0.3, 0.5, 1, 2, 3],
        },
    }
    panels = []
    for k, (name, columns) in enumerate(ways.items()):
        part, (rates, _) = slice(25 * k, 25 * k + 25), distinct(columns)
        data = table({n: c.tolist() for n, c in columns.items()} | {"loss": losses[part]})
        width = HALF
        top: Spec = {
            "title": {
                "text": f"{name}: {rates} learning rates, best loss {min(losses[part]):.3f}",
                "fontSize": 12,
            },
            "width": width,
            "height": 14,
            "mark": {"type": "rule", "strokeWidth": 1.5, "color": {"expr": "ink"}},
            "encoding": {"x": {**x, "axis": None}},
        }
        points: Spec = {
            "width": width,
            "height": 230,
            "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
            "encoding": {"x": x, "y": y if k == 0 else {**y, "title": None}, "color": colour},
        }
        panels.append({"data": data, "vconcat": [top, points], "spacing": 4})
    return Chart(
        "grid-random",
        "25 trials on digits, on a grid and at random",
        {"hconcat": panels, "spacing": 30},
        "Colour is the final validation loss; the lines above each plane are the learning rates "
        "that were tried.",
    )


def hits(best: Array, reference: Array) -> float:
    """Share of groups whose best trial is among the best 5 % by the reference."""
    return float((best <= np.quantile(reference, BEST)).mean())


def coverage(lab: Lab) -> Claim:
    """How often a group of n trials holds one of the best 5 %, of trials it was not ranked with."""
    count = lab.repeat(32768, 1024)
    reference = lab.train("wine", draw(SPACE, lab.seed, "reference", count), "coverage")
    losses = lab.train("wine", draw(SPACE, lab.seed, "groups", count), "coverage")
    found, verdicts = [], []
    for n in (8, 60):
        groups = losses[: len(losses) // n * n].reshape(-1, n)
        hit = resampled(hits, groups.min(axis=1), reference, rng=lab.rng("coverage"), times=300)
        theory = 1 - (1 - BEST) ** n
        verdicts.append(near(hit, theory, 0.05))
        found.append(f"{n} trials: {hit.text('.1%')} of {len(groups)} groups, theory {theory:.1%}")
    return Claim(
        "n random trials find one of the best 5 % with probability 1-0.95^n",
        "the measured shares for n = 8 and 60 are the theory's, give or take 0.05",
        [Finding("wine", together(verdicts), "; ".join(found))],
    )
