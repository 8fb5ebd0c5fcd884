"""The scale of a momentum β: four laws on [0.9, 0.999], drawn and trained.

python benchmarks/lecture/main.py --only beta
python benchmarks/lecture/main.py --only beta --quick
"""

from __future__ import annotations

import math

import numpy as np

from caviar.pages.channels import axis_channel
from caviar.pages.marks import Chart, table
from caviar.space import Axis, Linear, Log, OneMinusLog, Space
from caviar.space.sampling import trial_seed
from lecture import found, stats
from lecture.evidence import Claim, Finding, Section, Table, above, near, together
from lecture.lab import Lab
from lecture.pictures import Spec
from lecture.stats import Array
from trainings import TASKS, Job

LOW, HIGH, MIDDLE = 0.9, 0.999, 0.99
OURS = "log in 1-β"
WAYS = ("uniform", "reflected", "log in β", OURS)
# Of draws above 0.99, in closed form.
LAW = {
    "uniform": (HIGH - MIDDLE) / (HIGH - LOW),
    "reflected": math.log((LOW + HIGH - MIDDLE) / LOW) / math.log(HIGH / LOW),
    "log in β": math.log(HIGH / MIDDLE) / math.log(HIGH / LOW),
    OURS: 0.5,
}
# Chosen before any of them was run: a search as the lecture does it, and two fixed rates, the
# project's default and a tenth of it.
RATES: dict[str, Space | float] = {
    "lr searched": Space((Axis("lr", Log(1e-4, 1.0)),)),
    "lr = 0.01": 0.01,
    "lr = 0.001": 0.001,
}
AT = 1
N = found.BUDGETS[AT]  # the budget that decides


def betas(way: str, seed: int, stage: str, count: int) -> Array:
    """β drawn by one of the laws."""
    scales = {"uniform": Linear(LOW, HIGH), OURS: OneMinusLog.from_natural(LOW, HIGH)}
    axis = Axis("beta", scales.get(way, Log(LOW, HIGH)))
    x = Space((axis,)).draw(seed, stage, count)[axis.name]
    if way == OURS:
        return 1 - x
    return LOW + HIGH - x if way == "reflected" else x


def run(lab: Lab) -> Section:
    count = lab.repeat(1_000_000, 100_000)
    shares = {
        way: stats.share(int((betas(way, lab.seed, "shares", count) > MIDDLE).sum()), count)
        for way in WAYS
    }
    size = lab.repeat(768, 96)
    cases = []
    for rate, searched in RATES.items():
        for task in TASKS:
            name = f"{task} ({rate})"
            stage = f"beta {name}"
            lrs = (
                searched.draw(lab.seed, stage, size)["lr"].tolist()
                if isinstance(searched, Space)
                else [searched] * size
            )
            losses = {}
            for way in WAYS:
                drawn = betas(way, lab.seed, stage, size).tolist()
                jobs = [
                    Job((lr, 1 - b, 0.0, 0.0), trial_seed(lab.seed, stage, i))
                    for i, (lr, b) in enumerate(zip(lrs, drawn, strict=True))
                ]
                losses[way] = lab.train(task, jobs, f"beta, {rate}, {way}")
            cases.append(found.Case(name, task, losses))
    out = {case.name: found.outcomes(case, OURS, lab.rng("beta", case.name)) for case in cases}
    return Section(
        title="The scale of momentum",
        lecture="β of an exponentially weighted average is drawn log-uniformly in 1-β, so that on "
        "[0.9, 0.999] half of the trials exceed 0.99. What others call a reverse or inverse log "
        "scale is not this: reflection draws x log-uniformly and takes 0.9 + 0.999 - x (Vizier, "
        "KerasTuner), and W&B's inv_log_uniform_values is log-uniform in β itself.",
        done=f"{count:,} draws of each law. Then small MLPs were trained with SGD at {size} "
        "momenta of each law; with lr log-uniform on [0.0001, 1], and with lr fixed at 0.01 and "
        "at 0.001. These three were chosen before any was run.",
        claims=[
            Claim(
                "of draws on [0.9, 0.999], half exceed 0.99 if drawn in 1-β, and about 9 % by "
                "the other three laws",
                "the drawn shares are 9.1 %, 9.5 %, 8.7 % and 50 %, give or take 0.5 % of all",
                [
                    Finding(
                        "",
                        together([near(shares[w], LAW[w], 0.005) for w in WAYS]),
                        "; ".join(f"{w} {shares[w].text('.2%')}" for w in WAYS),
                    )
                ],
            ),
            Claim(
                "uniform draws of β waste more trials than draws in 1-β",
                "their share of wasted trials is the larger one",
                [
                    Finding(
                        name,
                        above(o["uniform"].more_wasted, 0),
                        f"{o['uniform'].wasted.value:.0%} against {o[OURS].wasted.value:.0%}, "
                        f"difference {o['uniform'].more_wasted.text('+.1%')}",
                    )
                    for name, o in out.items()
                ],
            ),
            Claim(
                f"draws in 1-β find better than uniform ones at equal budget ({N} trials)",
                "the best found by uniform draws is worse",
                [
                    Finding(
                        name,
                        above(o["uniform"].behind[AT], 0),
                        f"the best of {N} uniform ones has {o['uniform'].behind[AT].text('+.1%')} "
                        "loss",
                    )
                    for name, o in out.items()
                ],
            ),
        ],
        figures=[
            picture(lab),
            Chart(
                "beta-found",
                "Best validation loss found after n trials",
                found.curves(lab, cases),
                "Bands: 95 % intervals over trials.",
            ),
        ],
        tables=[
            Table(
                ("drawn", "above 0.99", "closed form"),
                [[w, shares[w].text(".2%"), f"{LAW[w]:.2%}"] for w in WAYS],
            ),
            Table(
                found.HEAD,
                [row for case in cases for row in found.rows(case, out[case.name], OURS)],
            ),
        ],
    )


def picture(lab: Lab) -> Chart:
    """60 draws of each law, on the axis log in 1-β."""
    scale = OneMinusLog.from_natural(LOW, HIGH)
    x = axis_channel(Axis("momentum", scale), "complement", [scale.low, scale.high])
    drawn = {way: 1 - betas(way, lab.seed, "shown", 60) for way in WAYS}
    columns = {
        "complement": np.concatenate(list(drawn.values())).tolist(),
        "way": [way for way in WAYS for _ in range(60)],
    }
    ticks: Spec = {
        "mark": {"type": "tick", "thickness": 1.5, "color": {"expr": "ink"}},
        "encoding": {
            "x": {**x, "title": "momentum β"},
            "y": {"field": "way", "type": "nominal", "title": None, "sort": list(WAYS)},
        },
    }
    return Chart(
        "beta-draws",
        "60 draws of β by four laws, on an axis where equal steps change the window equally",
        {"data": table(columns), "height": 150, **ticks},
    )
