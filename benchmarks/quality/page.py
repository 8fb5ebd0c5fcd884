"""What the searches came to: tables, and docs/quality.md with its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from arms import ARMS, DRAWN, OURS
from numpy.typing import NDArray

Array = NDArray[np.float64]

DOCS = Path(__file__).resolve().parents[2] / "docs"
TWICE = "random × 2"  # spends more than the others, and so is no peer
NO_PEERS = (TWICE, DRAWN)


def rows_of(scores: Mapping[str, Any], budget: str) -> dict[str, dict[str, Array]]:
    """By task and kind: score and share of diverged seeds of each search, shape (searches, 2)."""
    return {
        name: {arm: np.array(found[budget][arm]) for arm in ARMS if arm in found[budget]}
        for name, found in scores.items()
        if budget in found
    }


def summary(by_task: Mapping[str, Mapping[str, Array]]) -> dict[str, dict[str, float]]:
    """Of each kind, over tasks: mean rank among peers, the probability that Caviar beats it, the
    mean difference to Caviar in standard deviations of Caviar's searches, and how many searches
    hand over a setting that diverges on a fresh seed."""
    arms = list(next(iter(by_task.values())))
    peers = [arm for arm in arms if arm not in NO_PEERS]
    ranks = {arm: list[float]() for arm in arms}
    beaten, diverged = {arm: list[float]() for arm in arms}, {arm: list[float]() for arm in arms}
    for rows in by_task.values():
        means = {arm: rows[arm][:, 0].mean() for arm in arms}
        for arm in arms:
            among = [means[p] for p in peers if p != arm]
            ranks[arm].append(1 + sum(other < means[arm] for other in among))
            diverged[arm].append(float((rows[arm][:, 1] > 0).mean()))
            if OURS in rows:
                # Searches of different seeds as well: all pairs.
                pairs = rows[arm][:, 0][:, None] - rows[OURS][:, 0][None, :]
                beaten[arm].append(float((pairs > 0).mean() + (pairs == 0).mean() / 2))
    return {
        arm: {
            "rank": float(np.mean(ranks[arm])),
            "beaten": float(np.mean(beaten[arm])) if beaten[arm] else float("nan"),
            "diverged": float(np.mean(diverged[arm])),
        }
        for arm in arms
    }


def tables(results: Mapping[str, Any]) -> str:
    """As Markdown: for each budget the scores by task, and the summary."""
    scores, how = results["scores"], results["how"]
    budgets = list(next(iter(scores.values())))
    lines = []
    for budget in sorted(budgets, key=int):
        by_task = rows_of(scores, budget)
        arms = list(next(iter(by_task.values())))
        lines += [f"### {budget} trainings", ""]
        lines += ["| task | " + " | ".join(arms) + " |", "|---" * (len(arms) + 1) + "|"]
        for name, rows in by_task.items():
            best = min(rows[arm][:, 0].mean() for arm in arms if arm != TWICE)
            cells = []
            for arm in arms:
                x = rows[arm][:, 0]
                error = x.std(ddof=1) / len(x) ** 0.5 if len(x) > 1 else 0.0
                text = f"{x.mean():.4f} ± {error:.4f}"
                cells.append(f"**{text}**" if x.mean() == best else text)
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        found = summary(by_task)
        for title, field, form, without in (
            ("mean rank among peers", "rank", "{:.2f}", NO_PEERS),
            ("Caviar is better", "beaten", "{:.0%}", (OURS,)),
            ("choice diverges on a fresh seed", "diverged", "{:.1%}", ()),
        ):
            cells = ["–" if arm in without else form.format(found[arm][field]) for arm in arms]
            lines.append(f"| *{title}* | " + " | ".join(cells) + " |")
        lines += [""]
        if OURS in arms and TWICE in arms:
            worse = []
            for name, rows in by_task.items():
                difference = rows[OURS][:, 0] - rows[TWICE][:, 0]
                error = difference.std(ddof=1) / len(difference) ** 0.5
                if difference.mean() > 2 * error:
                    worse.append(name)
            said = f"worse on {', '.join(worse)}" if worse else "not worse on any task"
            lines += [
                f"Against random search with twice the epochs: {said} (two standard errors).",
                "",
            ]
        spread = {
            name: [np.quantile(rows[arm][:, 0], (0.5, 0.9)) for arm in arms]
            for name, rows in by_task.items()
        }
        lines += ["| median, 90th percentile | " + " | ".join(arms) + " |"]
        lines += ["|---" * (len(arms) + 1) + "|"]
        for name, pairs in spread.items():
            cells = [f"{median:.4f}, {high:.4f}" for median, high in pairs]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines += [""]
    lines.append(f"{how['searches']} searches of each kind, from seed {how['seed']}.")
    return "\n".join(lines)


HEAD = """# Which search finds the best setting?

`python benchmarks/quality/main.py --searches 16` searches nine really trained tasks with every \
kind of search. Each spends the epochs of 20, 60 or 120 trainings, confirmation included, and \
hands over one \
setting. Its score is the mean validation loss of that setting over ten fresh seeds. All confirm \
alike: the best few get a fresh seed, the better of these another one, and the lowest mean wins. \
*random × 2* spends twice the epochs on its search, and *Caviar, drawn* is our own with its later \
rounds drawn at random inside of their ranges (search.acquisition=none): both are no peers.

![How far the mean score of each kind of search lies behind the best, by task](images/quality.png)

A dot is a task, the bar their mean: how many standard deviations of Caviar's searches a kind's \
mean lies behind that of the best kind on that task. *Caviar is better* is the share of pairs of \
searches, one of each kind, in which Caviar's has the better score. The tasks are in \
`benchmarks/quality/tasks.py`; nothing was set for one of them alone.

Where the rung is, and how much it keeps, was chosen among six on these tasks and, for 60 \
trainings, on these seeds; that later rounds are picked was settled on other seeds, 300 to 323, of \
three of these tasks (`benchmarks/quality/log.md`). *Caviar, drawn* is the difference, and was \
measured before and is the same code.

"""


def behind(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each task, budget and kind: how far its mean lies behind the best kind's."""
    rows = []
    for budget in next(iter(scores.values())):
        for name, arms in rows_of(scores, budget).items():
            spread = arms[OURS][:, 0].std(ddof=1)
            best = min(x[:, 0].mean() for arm, x in arms.items() if arm != TWICE)
            rows += [
                {
                    "task": name,
                    "trainings": int(budget),
                    "kind": arm,
                    "behind": float((x[:, 0].mean() - best) / spread),
                }
                for arm, x in arms.items()
            ]
    return rows


def picture(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The same as a Vega-Lite chart."""
    y = {"field": "kind", "type": "nominal", "sort": [*ARMS], "title": None}
    x = {"field": "behind", "type": "quantitative", "title": "behind the best kind (σ of a search)"}
    x |= {"scale": {"type": "symlog", "constant": 0.5}}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": behind(scores)},
        "facet": {"column": {"field": "trainings", "title": "trainings"}},
        "spec": {
            "width": 230,
            "height": 260,
            "layer": [
                {
                    "mark": {"type": "bar", "opacity": 0.35},
                    "encoding": {"y": y, "x": {**x, "aggregate": "mean"}},
                },
                {
                    "mark": {"type": "circle", "opacity": 0.8},
                    "encoding": {
                        "y": y,
                        "x": x,
                        "color": {"field": "task", "type": "nominal", "sort": None},
                    },
                },
            ],
        },
    }


def write_page(results: Mapping[str, Any]) -> None:
    """docs/quality.md and its picture, from results."""
    import vl_convert

    image = vl_convert.vegalite_to_png(picture(results["scores"]), scale=1.5)
    (DOCS / "images" / "quality.png").write_bytes(image)
    text = HEAD + tables(results)
    (DOCS / "quality.md").write_text(text + "\n", encoding="utf-8")
