"""The learning rate's scale: uniform draws on [0.0001, 1] against log-uniform ones.

python benchmarks/lecture/main.py --only scales
python benchmarks/lecture/main.py --only scales --quick
"""

from __future__ import annotations

import numpy as np

from caviar.pages.channels import axis_channel, metric_channel
from caviar.pages.marks import Chart, table
from caviar.space import Axis, Linear, Log, Space
from caviar.space.sampling import trial_seed
from lecture import found, stats
from lecture.evidence import Claim, Finding, Section, Table, above, near, together
from lecture.lab import Lab, capped
from lecture.pictures import Spec
from lecture.stats import Array
from trainings import TASKS, Job

LOW, HIGH = 1e-4, 1.0
OURS = "log-uniform"
WAYS = {
    "uniform": Space((Axis("lr", Linear(LOW, HIGH)),)),
    OURS: Space((Axis("lr", Log(LOW, HIGH)),)),
}
MOMENTA = (0.0, 0.9, 0.99)
DECADES = ((1e-4, 1e-3), (1e-3, 1e-2), (1e-2, 1e-1), (1e-1, 1.0))


def rates(way: str, seed: int, stage: str, count: int) -> Array:
    return WAYS[way].draw(seed, stage, count)["lr"]


def run(lab: Lab) -> Section:
    count = lab.repeat(1_000_000, 100_000)
    shares = {
        way: [
            stats.share(int(((x >= low) & (x < high)).sum()), count)
            for low, high in (*DECADES[:-1], (0.1, 2.0))
        ]
        for way in WAYS
        for x in [rates(way, lab.seed, "shares", count)]
    }
    size = lab.repeat(1024, 128)
    cases, drawn = [], {}
    for momentum in MOMENTA:
        for task in TASKS:
            name = f"{task} (β = {momentum:g})"
            stage = f"scales {name}"
            losses = {}
            for way in WAYS:
                lrs = rates(way, lab.seed, stage, size)
                jobs = [
                    Job((lr, 1 - momentum, 0.0, 0.0), trial_seed(lab.seed, stage, i))
                    for i, lr in enumerate(lrs.tolist())
                ]
                losses[way] = lab.train(task, jobs, f"scales, {way}")
                drawn[name, way] = lrs
            cases.append(found.Case(name, task, losses))
    out = {case.name: found.outcomes(case, OURS, lab.rng("scales", case.name)) for case in cases}
    good = {case.name: best_rate(case, drawn) for case in cases}
    linear = {name: o["uniform"] for name, o in out.items()}
    top = {way: each[-1] for way, each in shares.items()}
    return Section(
        title="The scale of the learning rate",
        lecture="Uniform draws on [0.0001, 1] put 90 % of the trials into [0.1, 1]; log-uniform "
        "draws, α = 10^r with r uniform, put a quarter into each decade, and waste fewer.",
        done=f"{count:,} learning rates were drawn each way. Then small MLPs were trained with "
        f"SGD at {size} learning rates each way, with momentum 0, 0.9 and 0.99, and the best "
        "of n of them taken. (0.99 was added after the other two had been looked at, for tasks "
        "whose best rates lie lower.) A trial is *wasted* if its final loss is over "
        f"{found.WASTE:g} times the best one (the {found.BEST:.0%} quantile of all trials of the "
        "task).",
        claims=[
            Claim(
                "uniform draws put 90 % of trials into the top decade, log-uniform ones a quarter "
                "into each",
                "the drawn shares are these, give or take one percent of all",
                [
                    Finding(
                        "",
                        together(
                            [near(top["uniform"], 0.9, 0.01)]
                            + [near(s, 0.25, 0.01) for s in shares[OURS]]
                        ),
                        "in [0.1, 1]: "
                        + ", ".join(f"{way} {s.text('.2%')}" for way, s in top.items()),
                    )
                ],
            ),
            Claim(
                "uniform draws of the learning rate waste more trials",
                "their share of wasted trials is the larger one",
                [
                    Finding(
                        name,
                        above(o.more_wasted, 0),
                        f"the best rates lie near {good[name]:.2g}; "
                        f"uniform {o.wasted.value:.0%}, log-uniform "
                        f"{out[name][OURS].wasted.value:.0%}, difference "
                        f"{o.more_wasted.text('+.1%')}",
                    )
                    for name, o in linear.items()
                ],
            ),
            Claim(
                f"log-uniform draws of the learning rate find better at equal budget ({N} trials)",
                "the best found by uniform draws is worse",
                [
                    Finding(
                        name,
                        above(o.behind[AT], 0),
                        f"the best rates lie near {good[name]:.2g}; uniform draws find "
                        f"{o.behind[AT].text('+.1%')} loss",
                    )
                    for name, o in linear.items()
                ],
            ),
        ],
        figures=[
            landscape(lab, cases, drawn),
            Chart(
                "scales-found",
                "Best validation loss found after n trials",
                found.curves(lab, cases),
                "Bands: 95 % intervals over trials.",
            ),
        ],
        tables=[
            Table(
                ("share of draws in", *(f"[{low:g}, {high:g}]" for low, high in DECADES)),
                [[way, *(s.text(".2%") for s in each)] for way, each in shares.items()],
            ),
            Table(
                found.HEAD,
                [row for case in cases for row in found.rows(case, out[case.name], OURS)],
            ),
        ],
    )


def best_rate(case: found.Case, drawn: dict[tuple[str, str], Array]) -> float:
    """Geometric mean of the best hundredth of all learning rates tried on a task."""
    lrs = np.concatenate([drawn[case.name, way] for way in case.losses])
    losses = np.concatenate(list(case.losses.values()))
    return float(np.exp(np.log(lrs[np.argsort(losses)[: max(1, len(lrs) // 100)]]).mean()))


AT = 1
N = found.BUDGETS[AT]  # the budget that decides


def landscape(lab: Lab, cases: list[found.Case], drawn: dict[tuple[str, str], Array]) -> Chart:
    """Loss against learning rate on digits, and where 20 trials of either way fall."""
    axis = WAYS[OURS].axis("lr")
    x = axis_channel(axis, "lr", [LOW, HIGH])
    names = [case.name for case in cases if case.name.startswith("digits")]
    parts: dict[str, list] = {"lr": [], "loss": [], "series": []}
    for case in cases:
        if case.name in names:
            lrs, losses = drawn[case.name, OURS], capped(case.losses[OURS])
            edges = np.geomspace(LOW, HIGH, 33)
            bins = np.digitize(lrs, edges)
            for b in range(1, len(edges)):
                if (bins == b).any():
                    parts["lr"].append(float(np.sqrt(edges[b - 1] * edges[b])))
                    parts["loss"].append(float(np.median(losses[bins == b])))
                    parts["series"].append(case.name.partition(" ")[2].strip("()"))
    curve: Spec = {
        "height": 170,
        "width": 620,
        "data": table(parts),
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {
            "x": {**x, "title": None},
            "y": metric_channel("loss", "median loss", parts["loss"], "min"),
            "color": {"field": "series", "type": "nominal"},
        },
    }
    shown = {
        "lr": [lr for way in WAYS for lr in rates(way, lab.seed, "shown", 40).tolist()],
        "way": [way for way in WAYS for _ in range(40)],
    }
    ticks: Spec = {
        "height": 56,
        "width": 620,
        "data": table(shown),
        "mark": {"type": "tick", "thickness": 1.5, "color": {"expr": "ink"}},
        "encoding": {
            "x": {**x, "title": "learning rate"},
            "y": {"field": "way", "type": "nominal", "title": None, "sort": list(WAYS)},
        },
    }
    return Chart(
        "scales-draws",
        "Where 40 draws fall, and what a learning rate is worth on digits",
        {"vconcat": [curve, ticks], "spacing": 8},
        "Above: median final loss at each learning rate. Below: 40 draws each way.",
    )
