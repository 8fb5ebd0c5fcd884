"""Which hyperparameters matter: the lecture's tiers against fANOVA, on four kinds of task.

    python benchmarks/lecture/main.py --only importance
    python benchmarks/lecture/main.py --only importance --quick

Trials are the project's own, `python train.py -m`, in $CAVIAR_RUNS or runs/. Run again, those that
have finished are not trained again, unless the config or the training code has changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from caviar.pages.marks import Chart, table
from caviar.refine.importance import sentences
from lecture import stats
from lecture.evidence import Claim, Finding, Section, Table, Verdict, above, below, together
from lecture.lab import Lab
from lecture.measured import Measured
from lecture.pictures import Spec
from lecture.stages import QUICK, TASKS, run_stage

LITTLE = 0.05  # of the variance of ranks: hardly matters


def first(one: Measured) -> Finding:
    """Whether tier 1 explains more than each other axis."""
    top = one.tier(1)[0]
    gaps = {
        key: stats.of_resamples(one.whole(top) - one.whole(key), one.drawn(top) - one.drawn(key))
        for key in one.share
        if key != top
    }
    rival = min(gaps, key=lambda key: gaps[key].low)
    words = (
        f"{top} {one.whole(top):.0%}; closest is {rival} with {one.whole(rival):.0%}, "
        f"difference {gaps[rival].text('+.0%')}"
    )
    return Finding(one.task, together([above(gap, 0) for gap in gaps.values()]), words)


def second(one: Measured) -> Finding:
    """Whether an axis of tier 2 explains more than one of tier 3, on average."""
    two, three = one.tier(2), one.tier(3)
    gap = stats.of_resamples(
        np.mean([one.whole(k) for k in two]) - np.mean([one.whole(k) for k in three]),
        np.mean([one.drawn(k) for k in two], axis=0)
        - np.mean([one.drawn(k) for k in three], axis=0),
    )
    means = (np.mean([one.whole(k) for k in tier]) for tier in (two, three))
    words = "mean share {:.0%} against {:.0%}".format(*means)
    return Finding(one.task, above(gap, 0), f"{words}; difference {gap.text('+.0%')}")


def carried(one: Measured, other: Measured) -> Finding:
    """Whether any axis that both search over the same range has another share on the other task."""
    scales = [{a.key: a.scale for a in m.stage.space} for m in (one, other)]
    keys = [k for k in scales[0] if scales[1].get(k) == scales[0][k]]
    z = {
        k: (one.whole(k) - other.whole(k))
        / float(np.hypot(one.drawn(k).std(ddof=1), other.drawn(k).std(ddof=1)))
        for k in keys
    }
    key = max(keys, key=lambda k: abs(z[k]))
    wall = float(norm.ppf(1 - 0.025 / len(keys)))  # as many tries as axes (Bonferroni)
    words = (
        f"of {len(keys)} axes, {key} differs most: {one.whole(key):.0%} against "
        f"{other.whole(key):.0%}, {abs(z[key]):.1f} standard errors of {wall:.1f} needed"
    )
    return Finding(
        f"{one.task} / {other.task}",
        Verdict.HOLDS if abs(z[key]) > wall else Verdict.OPEN,
        words,
    )


def run(lab: Lab) -> Section:
    tasks = QUICK if lab.quick else list(TASKS)
    every = [Measured(lab, task, run_stage(lab, task)) for task in tasks]
    rows, notes = [], []
    for m in every:
        for i, one in enumerate(m.found):
            key = one.axis.key
            rows.append(
                [
                    m.task if i == 0 else "",
                    key,
                    str(one.axis.tier or "–"),
                    f"{one.share:.0%} [{one.low:.0%}, {one.high:.0%}]",
                    f"{one.chance:.0%}",
                    f"{m.share[key]:.0%}",
                    m.beyond(key).text(".0%"),
                    f"{one.ped:.0%}",
                ]
            )
        said = " ".join(sentences(m.found, len(m.stage.losses)))
        notes.append(f"`caviar importance` says of {m.task}: {said}")
    sgd = [m for m in every if "optimizer.momentum" in m.share]
    adam = [m for m in every if "optimizer.beta1" in m.share]
    counted = ", ".join(f"{len(m.stage.losses)} on {m.task}" for m in every)
    short = "".join(
        f"To save time, {task} trains with {' '.join(words)}. "
        for task, (_, words) in TASKS.items()
        if words and task in tasks
    )
    if "text" in tasks:
        short += "It reads this Python's own library: another version has other numbers. "
    fixed = [(m, key) for m in adam for key in ("optimizer.beta1", "optimizer.beta2")]
    return Section(
        title="What matters most",
        lecture="The learning rate is the most important hyperparameter (tier 1); then momentum, "
        "hidden units and mini-batch size (tier 2); then layers and learning-rate decay (tier "
        "3). Adam's β₁ and β₂ are almost never tuned. And intuitions of one field do not carry "
        "over to another.",
        done="One stage of random search by `train.py -m` on each of these tasks, each over the "
        f"space of its experiment: {counted}. {short}Importance is the "
        "project's: the share of the variance of the losses' ranks that an axis explains by "
        "itself in trials held out (fANOVA on unit coordinates), with the 90 % interval that it "
        "prints, and *chance*, what no axis passes in 95 % of studies of noise. The verdicts are "
        "of differences between axes, and those are told by fANOVA as published, the share of the "
        "forest's own variance. Its forest finds something in an axis without effect, too, so the "
        "mean share of the same axis with its values shuffled among the trials is taken off.",
        claims=[
            Claim(
                "the learning rate matters most",
                "its share beyond chance is larger than every other axis'",
                [first(m) for m in every],
            ),
            Claim(
                "tier 2 matters more than tier 3",
                "the mean share beyond chance of an axis of tier 2 is the larger one",
                [second(m) for m in every],
            ),
            Claim(
                f"momentum, of tier 2, explains at least {LITTLE:.0%}",
                f"its share beyond chance is at least {LITTLE:.0%}",
                [
                    Finding(
                        m.task,
                        above(m.beyond("optimizer.momentum"), LITTLE),
                        m.beyond("optimizer.momentum").text(".0%"),
                    )
                    for m in sgd
                ],
            ),
            Claim(
                f"Adam's β₁ and β₂ explain at most {LITTLE:.0%} each",
                f"its share beyond chance is at most {LITTLE:.0%}",
                [
                    Finding(
                        f"{m.task} ({key.removeprefix('optimizer.')})",
                        below(m.beyond(key), LITTLE),
                        m.beyond(key).text(".0%"),
                    )
                    for m, key in fixed
                ],
            ),
            Claim(
                "what matters differs between tasks",
                "the share of some axis with the same range differs by more than its standard "
                "error allows, one axis among many counted as such; it cannot fail, only stay open",
                [carried(a, b) for a, b in itertools.combinations(sgd, 2)],
            ),
        ],
        figures=[picture(every)],
        tables=[
            Table(
                (
                    "task",
                    "axis",
                    "tier",
                    "share [90 %]",
                    "chance",
                    "as published",
                    "that beyond chance",
                    "PED-ANOVA",
                ),
                rows,
            )
        ],
        notes=notes,
    )


def picture(every: Sequence[Measured]) -> Chart:
    """Shares with intervals, one panel a task, coloured by tier."""
    panels: list[Spec] = []
    tiers = sorted({f"tier {o.axis.tier}" for m in every for o in m.found if o.axis.tier})
    for m in every:
        order = [one.axis.key for one in m.found]
        data = table(
            {
                "axis": order,
                "share": [one.share for one in m.found],
                "low": [one.low for one in m.found],
                "high": [one.high for one in m.found],
                "chance": [one.chance for one in m.found],
                "tier": [f"tier {one.axis.tier}" for one in m.found],
            }
        )
        y: Spec = {"field": "axis", "type": "nominal", "title": None, "sort": order}
        y["axis"] = {"labelExpr": "slice(datum.value, indexof(datum.value, '.') + 1)"}
        x: Spec = {
            "type": "quantitative",
            "title": "share of the variance of ranks",
            "axis": {"format": ".0%", "tickCount": 5},
            "scale": {"domain": [0, 1]},
        }
        tier: Spec = {
            "field": "tier",
            "type": "nominal",
            "sort": tiers,
            "scale": {"domain": tiers},
            "legend": {"columns": 4},
        }
        layer: list[Spec] = [
            {
                "mark": {"type": "bar", "height": 13},
                "encoding": {"x": {**x, "field": "share"}, "y": y, "color": tier},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 1.5, "color": {"expr": "ink"}},
                "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y},
            },
            {
                "mark": {"type": "tick", "thickness": 2, "size": 19, "color": {"expr": "faint"}},
                "encoding": {"x": {**x, "field": "chance"}, "y": y},
            },
        ]
        panels.append(
            {
                "title": {"text": m.task, "fontSize": 12, "anchor": "start"},
                "data": data,
                "width": 235,
                "height": {"step": 22},
                "layer": layer,
            }
        )
    return Chart(
        "importance",
        "How much of the result each hyperparameter explains by itself",
        {"concat": panels, "columns": 2},
        "Lines: 90 % intervals. Grey ticks: what no axis passes by chance in 95 % of studies.",
    )
