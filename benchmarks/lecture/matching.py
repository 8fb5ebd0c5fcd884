"""How many random trials match a grid of about 100: Bergstra & Bengio 2012, on our small MLPs.

python benchmarks/lecture/main.py --only grid
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from caviar.pages.marks import Chart
from caviar.space import Space
from caviar.space.sampling import trial_seed
from lecture import stats
from lecture.evidence import Claim, Finding, Section, Table, above
from lecture.lab import Lab
from lecture.pictures import bands, rule
from lecture.searches import SPACE, draw
from lecture.stats import Array, Estimate
from trainings import TASKS, Job

WIDE, USUAL = "wide ranges", "usual ranges"
SPACES = {
    WIDE: SPACE,
    USUAL: Space.parse(  # as conf/space/all.yaml has them
        {
            "lr": {"scale": "log", "low": 1e-4, "high": 1},
            "momentum": {"scale": "one_minus_log", "low": 0.9, "high": 0.999},
            "weight_decay": {"scale": "log", "low": 1e-6, "high": 1e-2},
            "lr_decay": {"scale": "log", "low": 1e-3, "high": 1},
        }
    ),
}
SHAPES = ((3, 3, 3, 3), (5, 5, 2, 2))  # lr, 1-momentum, weight decay, lr decay: 81 and 100 trials
NUMBERS = (8, 16, 32, 64)
CURVE = tuple(range(1, 101))
MOST = 1000  # random trials; beyond it the answer is "more"
RESAMPLES = 400
FRESH = 10  # seeds for the score of what was chosen


@dataclass(frozen=True)
class Match:
    """Grids and random trials on one task over one space."""

    name: str
    curve: Sequence[Estimate]
    """Probability that n random trials match, for each n of CURVE and of NUMBERS."""
    needed: Estimate
    """Random trials for a probability of 1/2."""
    worth: Sequence[Estimate]
    """Mean loss over fresh seeds of what grids chose, and of what n random trials did."""

    def at(self, number: int) -> Estimate:
        return self.curve[len(CURVE) + NUMBERS.index(number)]

    def needs(self) -> str:
        """`23 [18, 31]`; what exceeds MOST is not told apart."""
        ends = [
            f"{v:.0f}" if v < MOST else f"over {MOST}" for v in (self.needed.low, self.needed.high)
        ]
        value = f"{self.needed.value:.0f}" if self.needed.value < MOST else f"over {MOST}"
        return f"{value} [{ends[0]}, {ends[1]}]"


def grid_units(per_axis: Sequence[int], offset: Array) -> Array:
    """Unit coordinates of a grid, shape (n, axes); `offset` in [0, 1) moves it inside its cells."""
    ticks = [(np.arange(k) + o) / k for k, o in zip(per_axis, offset, strict=True)]
    return np.stack(np.meshgrid(*ticks, indexing="ij"), axis=-1).reshape(-1, len(per_axis))


def grids(lab: Lab, space: Space, name: str, count: int) -> list[list[Job]]:
    """Grids of either shape in turn, each moved inside its cells by an offset of its own."""
    rng = lab.rng("grids", name)
    made = []
    for number in range(count):
        shape = SHAPES[number % len(SHAPES)]
        columns = space.from_unit(grid_units(shape, rng.random(len(shape))))
        points = zip(*(columns[n].tolist() for n in space.names), strict=True)
        stage = f"grid {name} {number}"
        made.append([Job(p, trial_seed(lab.seed, stage, i)) for i, p in enumerate(points)])
    return made


def chances(best_of_grids: Array, pool: Array, numbers: np.ndarray) -> Array:
    """Probability that the best of n random trials is as good as a grid's best, (numbers,)."""
    good = np.searchsorted(np.sort(pool), best_of_grids, side="right") / len(pool)  # (grids,)
    return (1 - (1 - good[:, None]) ** numbers).mean(axis=0)


def needed(best_of_grids: Array, pool: Array) -> float:
    """The fewest random trials that are as good in at least half of the cases."""
    enough = chances(best_of_grids, pool, np.arange(1, MOST + 1)) >= 0.5
    return float(np.argmax(enough) + 1) if enough.any() else float(MOST)


def match(lab: Lab, task: str, ranges: str) -> Match:
    """Train grids and random trials, and compare their best."""
    name, space = f"{task} ({ranges})", SPACES[ranges]
    rng = lab.rng("matching", name)
    made = grids(lab, space, name, lab.repeat(48, 4))
    losses = lab.train(task, [job for grid in made for job in grid], f"grids, {ranges}")
    parts = np.split(losses, np.cumsum([len(grid) for grid in made])[:-1])
    best = np.array([part.min() for part in parts])
    jobs = draw(space, lab.seed, f"pool {name}", lab.repeat(2048, 256))
    pool = lab.train(task, jobs, f"random trials, {ranges}")

    shown = np.array([*CURVE, *NUMBERS])
    drawn, fewest = [], []
    for _ in range(RESAMPLES):
        b = best[rng.integers(len(best), size=len(best))]
        p = pool[rng.integers(len(pool), size=len(pool))]
        drawn.append(chances(b, p, shown))
        fewest.append(needed(b, p))
    curve = [
        stats.of_resamples(value, column)
        for value, column in zip(chances(best, pool, shown), np.transpose(drawn), strict=True)
    ]

    chosen = [[grid[int(np.argmin(part))].point for grid, part in zip(made, parts, strict=True)]]
    for n in NUMBERS:
        groups = np.arange(len(pool) // n * n).reshape(-1, n)[: len(made)]
        chosen.append([jobs[group[int(np.argmin(pool[group]))]].point for group in groups])
    seeds = [trial_seed(lab.seed, "fresh", i) for i in range(FRESH)]
    points = [point for part in chosen for point in part]
    means = lab.fresh_means(task, points, seeds, f"fresh seeds, {ranges}")
    ends = np.cumsum([len(part) for part in chosen])[:-1]
    worth = [stats.mean(part, rng) for part in np.split(means, ends)]
    return Match(name, curve, stats.of_resamples(needed(best, pool), fewest), worth)


def run(lab: Lab) -> Section:
    """This part of the section on grids."""
    matches = [match(lab, task, ranges) for ranges in SPACES for task in TASKS]
    columns: dict[str, list] = {k: [] for k in ("x", "y", "low", "high", "series")}
    for m in matches:
        columns["x"] += CURVE
        for field, key in (("y", "value"), ("low", "low"), ("high", "high")):
            columns[field] += [getattr(e, key) for e in m.curve[: len(CURVE)]]
        columns["series"] += [m.name] * len(CURVE)
    middle = sum(int(np.prod(s)) for s in SHAPES) / len(SHAPES)
    chart = Chart(
        "grid-match",
        f"How often the best of n random trials is as good as that of a grid of about {middle:.0f}",
        {
            **bands(
                columns,
                {"title": "random trials", "scale": {"type": "log", "domain": [1, 100]}}
                | {"axis": {"values": [1, 2, 4, 8, 16, 32, 64, 100]}},
                {"title": "probability", "scale": {"domain": [0, 1]}},
                [m.name for m in matches],
                rule(0.5),
            ),
            "height": 250,
        },
        "Bands: 95 % intervals over grids and random trials.",
    )
    return Section(
        title="",
        lecture="",
        done=f"For the match, {lab.repeat(48, 4)} grids of 3⁴ = 81 or 5·5·2·2 = 100 trials over "
        "lr, momentum, weight decay and lr decay, each moved inside its cells by a random offset, "
        f"stand against {lab.repeat(2048, 256)} random trials from the same box; with wide "
        "ranges (lr 1e-6 to 10, 1-β 0.001 to 1) and with usual ones (lr 1e-4 to 1, β 0.9 to "
        "0.999).",
        claims=[
            Claim(
                "8 random trials match a grid of about 100",
                "8 random trials find as good a loss as a grid with a probability of at least 1/2",
                [
                    Finding(
                        m.name,
                        above(m.at(8), 0.5),
                        f"probability {m.at(8).text('.2f')}; it takes {m.needs()} for 1/2",
                    )
                    for m in matches
                ],
            )
        ],
        figures=[chart],
        tables=[
            Table(
                ("probability to match", *(f"{n} random" for n in NUMBERS), "random for 1/2"),
                [[m.name, *(m.at(n).text(".2f") for n in NUMBERS), m.needs()] for m in matches],
            ),
            Table(
                ("worth of the choice", "grid", *(f"best of {n}" for n in NUMBERS)),
                [[m.name, *(e.text(".3f") for e in m.worth)] for m in matches],
                f"Worth: mean loss of the chosen setting over {FRESH} fresh seeds, without the "
                "luck that it was chosen for; a diverged seed counts as 3.",
            ),
        ],
    )
