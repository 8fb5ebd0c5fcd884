"""How much the best of n flatters: of equal settings by theory, and of a real search.

python benchmarks/lecture/main.py --only noise
python benchmarks/lecture/main.py --only noise --quick
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import quad
from scipy.stats import kurtosis, norm, shapiro, skew

from caviar.pages.marks import Chart, table
from caviar.space.sampling import trial_seed
from lecture import stats
from lecture.evidence import Claim, Finding, Section, Table, above, near, together
from lecture.lab import Lab, capped
from lecture.pictures import HALF, Spec, facet
from lecture.searches import SPACE, draw
from lecture.stats import Array, Estimate
from trainings import TASKS, Job

SETTING = (0.03, 0.1, 1e-4, 0.1)  # lr, 1-momentum, weight decay, lr decay; an ordinary one
NUMBERS = (10, 30, 60)
SEARCH = 60  # trials of a search
FRESH = 20  # seeds for what its choice is worth
WITHIN = 0.2  # of the theory's σ


def flattery(n: int) -> float:
    """Expected largest of n standard normal numbers: 1.54, 2.04, 2.32 for n = 10, 30, 60."""
    return float(quad(lambda x: n * x * norm.pdf(x) * norm.cdf(x) ** (n - 1), -10, 10)[0])


def gaps(losses: Array, numbers: tuple[int, ...] = NUMBERS) -> Array:
    """Mean less the expected best of n, in σ, shape (numbers,)."""
    best = np.array([stats.expected_best(losses, n) for n in numbers])
    return (losses.mean() - best) / losses.std(ddof=1)


def run(lab: Lab) -> Section:
    count, searches = lab.repeat(1000, 200), lab.repeat(64, 8)
    theory = [flattery(n) for n in NUMBERS]
    rows, found, samples, real_rows, real = [], [], {}, [], []
    for name in TASKS:
        rng = lab.rng("noise", name)
        seeds = [trial_seed(lab.seed, f"noise {name}", i) for i in range(count)]
        x = capped(lab.train(name, [Job(SETTING, s) for s in seeds], "noise, one setting"))
        samples[name] = x
        drawn = [gaps(x[rng.integers(count, size=count)]) for _ in range(stats.RESAMPLES)]
        each = [stats.of_resamples(v, d) for v, d in zip(gaps(x), np.transpose(drawn), strict=True)]
        spread = stats.resampled(lambda s: s.std(ddof=1), x, rng=rng, times=stats.RESAMPLES)
        rows.append(
            [
                name,
                f"{x.mean():.4f}",
                spread.text(".4f"),
                f"{skew(x):+.2f}",
                f"{kurtosis(x):+.2f}",
                f"{shapiro(x[:1000]).pvalue:.2g}",
                *(e.text(".2f") for e in each),
            ]
        )
        found.append(
            Finding(
                name,
                together([near(e, t, WITHIN) for e, t in zip(each, theory, strict=True)]),
                ", ".join(f"{e.text('.2f')} σ" for e in each),
            )
        )
        claim, row = selection(lab, name, searches, spread)
        real.append(claim)
        real_rows.append(row)
    stated = ", ".join(f"{t:.2f}" for t in theory)
    return Section(
        title="How much the best flatters",
        lecture="The lecture leaves this out. The best of n equal settings looks better than they "
        f"are by {stated} σ for n = {', '.join(map(str, NUMBERS))}, if noise is normal. So what a "
        "search reports as its best value is too good; measure σ, and confirm with fresh seeds.",
        done=f"One ordinary setting was trained with {count} seeds on each data set. Then "
        f"{searches} random searches of {SEARCH} trials over four wide axes: the best value that "
        f"each found, against the mean of the same setting over {FRESH} fresh seeds.",
        claims=[
            Claim(
                f"the best of 10, 30 and 60 equal settings flatters by {stated} σ",
                f"each is the theory's, give or take {WITHIN} σ",
                found,
            ),
            Claim(
                "the best value of a search is better than its setting is worth",
                "the same setting's mean over fresh seeds is worse by more than 0",
                real,
            ),
        ],
        figures=[picture(samples)],
        tables=[
            Table(
                (
                    "one setting",
                    "mean",
                    "σ",
                    "skewness",
                    "excess kurtosis",
                    "p, normal",
                    *(f"best of {n}, in σ" for n in NUMBERS),
                ),
                rows,
                f"Normal noise gives skewness 0, excess kurtosis 0 and {stated} σ; p is that of "
                "Shapiro and Wilk's test.",
            ),
            Table(
                ("a search's best", "value found", "worth", "flattered by", "median", "diverges"),
                real_rows,
                "Worth: the mean over fresh seeds, where a diverged one counts as 3; *diverges*: "
                "the share of chosen settings that do so for at least one fresh seed.",
            ),
        ],
    )


def selection(lab: Lab, name: str, searches: int, spread: Estimate) -> tuple[Finding, list[str]]:
    """The best value of real searches against the same setting over fresh seeds."""
    seeds = [trial_seed(lab.seed, f"search {i}", 0) for i in range(searches)]
    jobs = [draw(SPACE, seed, "01_coarse", SEARCH) for seed in seeds]
    flat = [job for search in jobs for job in search]
    losses = lab.train(name, flat, "noise, searches").reshape(searches, SEARCH)
    best = losses.argmin(axis=1)
    again = [
        Job(search[i].point, trial_seed(seed, "fresh", k))
        for search, i, seed in zip(jobs, best.tolist(), seeds, strict=True)
        for k in range(FRESH)
    ]
    fresh = lab.train(name, again, "noise, fresh seeds").reshape(searches, FRESH)
    worth, value = capped(fresh).mean(axis=1), losses.min(axis=1)
    rng = lab.rng("selection", name)
    gap = stats.difference(worth, value, rng)
    middle = stats.resampled(lambda d: float(np.median(d)), worth - value, rng=rng, times=1000)
    diverges = stats.share(int((fresh > 3).any(axis=1).sum()), searches)
    row = [
        name,
        stats.mean(value, rng).text(".3f"),
        stats.mean(worth, rng).text(".3f"),
        gap.text(".3f"),
        middle.text(".3f"),
        diverges.text(".0%"),
    ]
    words = (
        f"{gap.text('+.3f')} in the mean of {searches} searches; the median is "
        f"{middle.text('+.3f')}, {middle.value / spread.value:.1f} times the σ of the ordinary "
        "setting"
    )
    return Finding(name, above(gap, 0), words), row


def picture(samples: dict[str, Array]) -> Chart:
    """Histogram of one setting's losses in σ from their mean, over the normal law."""
    edges = np.linspace(-4, 4, 33)
    bars: dict[str, list] = {"left": [], "right": [], "density": [], "panel": []}
    line: dict[str, list] = {"x": [], "normal": [], "panel": []}
    marks: dict[str, list] = {"x": [], "n": [], "panel": []}
    for name, losses in samples.items():
        z = (losses - losses.mean()) / losses.std(ddof=1)
        height, _ = np.histogram(z, edges)
        bars["left"] += edges[:-1].tolist()
        bars["right"] += edges[1:].tolist()
        bars["density"] += (height / len(z) / np.diff(edges)).tolist()
        bars["panel"] += [name] * len(height)
        x = np.linspace(-4, 4, 81)
        line["x"] += x.tolist()
        line["normal"] += norm.pdf(x).tolist()
        line["panel"] += [name] * len(x)
        marks["x"] += (-gaps(losses)).tolist()
        marks["n"] += [f"{n}" for n in NUMBERS]
        marks["panel"] += [name] * len(NUMBERS)
    across: Spec = {
        "type": "quantitative",
        "title": "validation loss, in σ from the mean",
        "scale": {"domain": [-4, 4]},
    }
    up: Spec = {"type": "quantitative", "title": "density"}
    merged = {
        key: [value for part in (bars, line, marks) for value in _column(part, key)]
        for key in ("left", "right", "density", "x", "normal", "n", "panel")
    }
    layer: list[Spec] = [
        {
            "transform": [{"filter": "isValid(datum.density)"}],
            "mark": {"type": "bar", "opacity": 0.6},
            "encoding": {
                "x": {"field": "left", **across},
                "x2": {"field": "right"},
                "y": {"field": "density", **up},
                "y2": {"datum": 0},
            },
        },
        {
            "transform": [{"filter": "isValid(datum.normal)"}],
            "mark": {"type": "line", "color": {"expr": "faint"}},
            "encoding": {"x": {"field": "x", **across}, "y": {"field": "normal", **up}},
        },
        {
            "transform": [{"filter": "isValid(datum.n)"}],
            "mark": {"type": "rule", "color": {"expr": "ink"}, "strokeDash": [4, 3]},
            "encoding": {"x": {"field": "x", **across}},
        },
        *(
            {
                "transform": [{"filter": f"datum.n == {n}"}],
                "mark": {"type": "text", "dy": -14 if n == NUMBERS[1] else -4},
                "encoding": {
                    "x": {"field": "x", **across},
                    "y": {"value": 0},
                    "text": {"field": "n", "type": "nominal"},
                },
            }
            for n in NUMBERS
        ),
    ]
    return Chart(
        "noise",
        "One setting, many seeds: its loss, the normal law, and the mean best of 10, 30 and 60",
        {
            "data": table(merged),
            "facet": facet(list(samples)),
            "columns": 2,
            "spec": {"width": HALF, "height": 190, "layer": layer},
        },
    )


def _column(part: dict[str, list], key: str) -> list:
    """A column of one of several layers' data; empty where that layer has none."""
    return part.get(key, [None] * len(part["panel"]))
