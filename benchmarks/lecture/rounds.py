"""Coarse to fine against random search of the same and of twice the budget, on real training.

    python benchmarks/lecture/main.py --only rounds
    python benchmarks/lecture/main.py --only rounds --quick

What a search does, and what it scores, is in searches.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from caviar.pages.marks import Chart, table
from caviar.space.sampling import trial_seed
from lecture import stats
from lecture.evidence import Claim, Finding, Section, Table, below
from lecture.lab import Lab
from lecture.pictures import Spec, log_channel, panel
from lecture.searches import (
    BUDGET,
    CONFIRM,
    FRESH,
    SEEDS,
    STAGES,
    Arm,
    coarse_to_fine,
    random_search,
    scores,
)
from trainings import CAP, TASKS

CHUNK = 16  # searches that run in lockstep, so that their trials fill a stack
OURS = "coarse to fine, 60"
SAME, TWICE = "random 60", "random 120"
ARMS: dict[str, Callable[[int], Arm]] = {
    OURS: coarse_to_fine,
    SAME: functools.partial(random_search, BUDGET, True),
    TWICE: functools.partial(random_search, 2 * BUDGET, True),
    "random 60, unconfirmed": functools.partial(random_search, BUDGET, False),
    "random 120, unconfirmed": functools.partial(random_search, 2 * BUDGET, False),
}


def scored(work: tuple[str, list[int]]) -> tuple[np.ndarray, int]:
    """What each search of a part chose, shape (seeds, arms), and how many trainings; those with
    the same seed share their first trials, and their differences are paired."""
    return scores(*work, ARMS)


def run(lab: Lab) -> Section:
    count = lab.repeat(48, 4)
    chunk = min(CHUNK, max(1, count // 2))
    seeds = [trial_seed(lab.seed, "rounds", i) for i in range(count)]
    works = [(name, seeds[i : i + chunk]) for name in TASKS for i in range(0, count, chunk)]
    parts = lab.map(scored, works, "rounds")
    lab.trainings += sum(number for _, number in parts)
    score = {
        name: np.concatenate([s for (s, _), w in zip(parts, works, strict=True) if w[0] == name])
        for name in TASKS
    }  # (searches, arms)
    rows, findings = [], {SAME: [], TWICE: []}
    for i, arm in enumerate(ARMS):
        cells = [arm]
        for name in TASKS:
            x, ours = score[name][:, i], score[name][:, list(ARMS).index(OURS)]
            rng = lab.rng("rounds", name, arm)
            gap = stats.difference(ours, x, rng)
            cells += [
                stats.mean(x, rng).text(".3f"),
                f"{np.median(x):.3f}",
                "–" if arm == OURS else gap.text("+.3f"),
            ]
            if arm in findings:
                wins = f"{(ours < x).sum()} of {count} searches"
                words = f"mean difference {gap.text('+.3f')}; coarse to fine is better in {wins}"
                findings[arm].append(Finding(name, below(gap, 0), words))
        rows.append(cells)
    heads = [h for name in TASKS for h in (f"{name}, mean", "median", "ours less this")]
    return Section(
        title="Coarse to fine",
        lecture="Search widely, find the region around the best few points, draw again more "
        "densely inside it, and repeat.",
        done=f"{' + '.join(map(str, STAGES.values()))} trials, ranges by the project's own refine, "
        f"and {CONFIRM} settings confirmed with {SEEDS} fresh seeds each: {BUDGET} trainings. "
        f"Against it one random round of {BUDGET} and of {2 * BUDGET} trainings, the same "
        f"confirmation included, and with the best taken at its word. {count} searches of each "
        f"kind on four wide axes; a search's score is the mean loss of the setting that it chose "
        f"over {FRESH} fresh seeds, a diverged one counting as {CAP:g}. Searches with the same "
        "seed share their first trials, so differences are paired.",
        claims=[
            Claim(
                f"coarse to fine beats random search of the same budget ({BUDGET})",
                "its mean loss is the lower one",
                findings[SAME],
            ),
            Claim(
                f"coarse to fine with {BUDGET} trainings beats random search with {2 * BUDGET}",
                "its mean loss is the lower one",
                findings[TWICE],
            ),
        ],
        figures=[picture(score)],
        tables=[Table(("search", *heads), rows)],
    )


def picture(score: dict[str, np.ndarray]) -> Chart:
    """Every search's score, one row a kind."""
    panels: list[Spec] = []
    for k, (name, values) in enumerate(score.items()):
        columns = {
            "loss": values.T.ravel().tolist(),
            "arm": [arm for arm in ARMS for _ in values],
        }
        y: Spec = {"field": "arm", "type": "nominal", "title": None, "sort": list(ARMS)}
        y |= {"axis": {"labels": k == 0, "labelLimit": 200}}
        x = log_channel("loss", "validation loss of the chosen setting", columns["loss"])
        dots: Spec = {
            "mark": {"type": "point", "size": 26, "opacity": 0.7},
            "encoding": {"x": x, "y": y},
        }
        middle: Spec = {
            "mark": {"type": "tick", "thickness": 3, "size": 22, "color": {"expr": "ink"}},
            "encoding": {"x": {**x, "aggregate": "median"}, "y": y},
        }
        panels.append(panel(name, {"data": table(columns), "layer": [dots, middle]}, 150, 255))
    return Chart(
        "rounds",
        "What a search hands over: each search a circle, the median a bar",
        {"hconcat": panels},
        "Validation loss of the chosen setting over fresh seeds, logarithmic.",
    )
