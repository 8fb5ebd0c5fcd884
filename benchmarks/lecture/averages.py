"""Why 1-β: exponentially weighted averages of a noisy signal, at 0.9 and at 0.999.

python benchmarks/lecture/main.py --only averages
"""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from caviar.pages.marks import Chart, table
from lecture import stats
from lecture.evidence import Claim, Finding, Section, Table, above, near, together
from lecture.lab import Lab
from lecture.pictures import Spec
from lecture.stats import Array, exactly

PAIRS = ((0.9, 0.9005), (0.999, 0.9995))  # the lecture's, each 0.0005 apart
SHOWN = 6000  # steps in the picture
WARM = 30_000  # steps before anything is measured: many windows
MEASURED = 20_000


def average(beta: float, signal: Array) -> Array:
    """v_t = β v_{t-1} + (1-β) θ_t from v = 0, along the last axis."""
    return np.asarray(lfilter([1 - beta], [1, -beta], signal, axis=-1))


def window(beta: float, steps: int = 100_000) -> float:
    """Steps by which the average is late: the area between a unit step and its average, plus the
    step itself that the average already counts."""
    return float((1 - average(beta, np.ones(steps))).sum() + 1)


def run(lab: Lab) -> Section:
    rng = lab.rng("averages")
    count = lab.repeat(64, 8)
    noise = rng.standard_normal((count, WARM + MEASURED))
    rows, findings, apart = [], [], []
    for pair in PAIRS:
        late = [window(beta) for beta in pair]
        one, other = (average(beta, noise)[:, WARM:] for beta in pair)
        # Root mean square of their difference, against the spread of the first one itself.
        relative = np.sqrt(((one - other) ** 2).mean(axis=1) / (one**2).mean(axis=1))
        apart.append(relative)
        moved = stats.mean(relative, lab.rng("averages", str(pair[0])))
        rows.append([f"{pair[0]} → {pair[1]}", *(f"{w:,.2f}" for w in late), moved.text(".2%")])
        for beta, w in zip(pair, late, strict=True):
            stated = 1 / (1 - beta)
            findings.append((near(exactly(w), stated, 0.01 * stated), f"β {beta}: {w:,.2f} steps"))
    ratio = stats.mean(apart[1] / apart[0], lab.rng("averages", "ratio"))
    return Section(
        title="Why 1-β",
        lecture="An exponentially weighted average runs over about 1/(1-β) steps. From β = 0.9000 "
        "to 0.9005 that is 10 to 10.05 steps and hardly a change; from 0.9990 to 0.9995 it is "
        "1000 to 2000. So β must be drawn more densely near 1.",
        done="The window is measured from the average's answer to a step: the area between the "
        f"two, in steps. Then both averages of a pair follow the same noise, {count} times "
        f"{MEASURED:,} steps, and the root mean square of their difference is compared with the "
        "spread of the average itself.",
        claims=[
            Claim(
                "the window goes from 10 to 10.05 steps and from 1000 to 2000",
                "each measured window is 1/(1-β), give or take 1 %",
                [
                    Finding(
                        "", together([v for v, _ in findings]), "; ".join(w for _, w in findings)
                    )
                ],
            ),
            Claim(
                "the same step of 0.0005 changes an average near 0.999 far more than one near 0.9",
                "it moves the average at least ten times as far, relative to its spread",
                [Finding("", above(ratio, 10), f"{ratio.text('.0f')} times as far")],
            ),
        ],
        figures=[picture(lab)],
        tables=[Table(("β", "window", "window after", "difference of the averages"), rows)],
    )


def picture(lab: Lab) -> Chart:
    """Both pairs on the same noisy signal, at the scale of their windows."""
    rng = lab.rng("averages", "picture")
    steps = np.arange(-WARM, SHOWN)
    signal = np.sin(steps * 2 * np.pi / SHOWN) + 0.5 * rng.standard_normal(len(steps))
    panels: list[Spec] = []
    for pair, length in zip(PAIRS, (120, SHOWN), strict=True):
        every = max(1, length // 600)
        kept = slice(WARM, WARM + length, every)
        names = [f"β = {beta:.4f}" for beta in pair]
        lines = {
            "step": steps[kept].tolist() * 2,
            "v": [v for beta in pair for v in average(beta, signal)[kept].tolist()],
            "average": [n for n in names for _ in steps[kept]],
        }
        x: Spec = {"field": "step", "type": "quantitative", "title": "step"}
        x["scale"] = {"domain": [0, length], "nice": False}
        y: Spec = {"type": "quantitative", "title": "signal and averages"}
        dots = table({"step": steps[kept].tolist(), "signal": signal[kept].tolist()})
        line: Spec = {
            "data": table(lines),
            "mark": {"type": "line", "strokeWidth": 2.5},
            "encoding": {
                "x": x,
                "y": {**y, "field": "v"},
                "color": {"field": "average", "type": "nominal", "sort": names},
                "strokeDash": {
                    "field": "average",
                    "type": "nominal",
                    "sort": names,
                    "scale": {"range": [[1, 0], [5, 4]]},
                    "legend": None,
                },
            },
        }
        points: Spec = {
            "data": dots,
            "mark": {"type": "point", "filled": True, "size": 6, "color": {"expr": "faint"}},
            "encoding": {"x": x, "y": {**y, "field": "signal"}},
        }
        panels.append({"width": 620, "height": 150, "layer": [points, line]})
    spec = {"vconcat": panels, "resolve": {"scale": {"color": "independent"}}}
    spec["resolve"]["scale"]["strokeDash"] = "independent"
    return Chart(
        "averages",
        "Two averages of the same noisy signal, β apart by 0.0005: near 0.9 and near 0.999",
        spec,
        "The signal is dotted; 120 steps of it above and 6000 below.",
    )
