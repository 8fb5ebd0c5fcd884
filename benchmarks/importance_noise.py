"""Is importance silent where there is none, and does it see what there is? Studies made of noise.

    python benchmarks/importance_noise.py                           # half an hour on one core
    python benchmarks/importance_noise.py --studies 10 --trials 54  # two minutes

The first table is of studies whose losses know nothing of the settings. `as published` is fANOVA's
share of the forest's own variance, and the Pearson divergences of PED-ANOVA as shares of one
another; `ours` is what `caviar importance` prints. Of each the mean over axes and the 95th
percentile of the largest in a study; `seen` is how often an axis is said to matter, where it may be
said in 5 % of studies. The second table is of losses with an effect that is known: how often its
axis is seen, its share, how often the 90 % interval holds the true one, and how often any axis
without effect is seen beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from caviar.refine.fanova import Forest
from caviar.refine.importance import measure, prepared
from caviar.refine.ped import divergences
from caviar.space import Space

Array = NDArray[np.float64]

AXES = {
    "lr": {"scale": "log", "low": 1e-4, "high": 1},
    "momentum": {"scale": "one_minus_log", "low": 0.9, "high": 0.999},
    "width": {"scale": "integer", "low": 16, "high": 128},
    "weight_decay": {"scale": "log", "low": 1e-6, "high": 1e-2},
    "dropout": {"scale": "linear", "low": 0, "high": 0.5},
    "act": {"scale": "choice", "values": ["relu", "gelu", "tanh"]},
    "depth": {"scale": "integer", "low": 1, "high": 4},
    "decay": {"scale": "log", "low": 1e-3, "high": 1},
    "smoothing": {"scale": "linear", "low": 0, "high": 0.2},
    "clip": {"scale": "log", "low": 0.1, "high": 10},
}
COUNTS = (30, 54, 96, 300)
WIDTHS = (2, 6, 10)  # axes
TRIALS, SIX = 54, 6  # of the studies with an effect: 30 + 14 + 10, and their axes
# The share of the variance that each axis explains by itself, along a slope; the rest is noise.
EFFECTS: Sequence[dict[str, float]] = (
    {"lr": 0.3},
    {"lr": 0.6},
    {"lr": 0.9},
    {"lr": 1.0},
    {"lr": 0.6, "momentum": 0.1},
    {"lr": 0.5, "momentum": 0.5},
)


def study(
    count: int, width: int, effects: dict[str, float], seed: int
) -> tuple[Space, list[dict[str, Any]], list[float]]:
    """A space of `width` axes, trials drawn from it, and their losses."""
    space = Space.parse(dict(list(AXES.items())[:width]))
    columns = space.draw(seed, "01_coarse", count)
    rows = zip(*(c.tolist() for c in columns.values()), strict=True)
    points = [dict(zip(columns, row, strict=True)) for row in rows]
    units = space.to_unit(columns)
    noise = np.random.default_rng(seed).standard_normal(count)
    loss = noise * max(0.0, 1 - sum(effects.values())) ** 0.5
    for name, share in effects.items():
        j = [axis.key for axis in space].index(name)
        loss = loss + (units[:, j] - 0.5) * (12 * share) ** 0.5  # 12: a uniform one varies by 1/12
    return space, points, loss.tolist()


def true_share(effects: dict[str, float], name: str) -> float:
    """Of the variance of ranks, whose normal scores are not the losses: of many trials, in bins."""
    space, points, losses = study(4000, SIX, effects, 0)
    units, scores = prepared(space, points, losses)
    bins = np.floor(units[:, [axis.key for axis in space].index(name)] * 40).astype(int)
    means = np.array([scores[bins == b].mean() for b in bins])
    return float(means.var() / scores.var())


def published(space: Space, points: Sequence[Any], losses: Sequence[float]) -> tuple[Array, Array]:
    """fANOVA's shares of the forest's variance, and PED-ANOVA's of all divergences."""
    units, scores = prepared(space, points, losses)
    apart = divergences(space, units, scores)
    return Forest(space, units, scores, seed=0).shares(), apart / apart.sum()


def percents(shares: Array) -> str:
    """Mean, and the 95th percentile of the largest of a study, from shape (studies, axes)."""
    return f"{shares.mean():.0%}, {np.quantile(shares.max(axis=1), 0.95):.0%}"


def noise_table(counts: Sequence[int], studies: int) -> None:
    print("| trials | axes | fANOVA as published | ours | PED-ANOVA as published | ours | seen |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for count in counts:
        for width in WIDTHS:
            made = [study(count, width, {}, seed) for seed in range(studies)]
            plain, apart = map(np.array, zip(*(published(*one) for one in made), strict=True))
            found = [measure(*one) for one in made]
            ours, ped = (
                np.array([[getattr(i, name) for i in one] for one in found])
                for name in ("share", "ped")
            )
            seen = np.mean([any(i.seen for i in one) for one in found])
            print(
                f"| {count} | {width} | {percents(plain)} | {percents(ours)} | {percents(apart)} "
                f"| {percents(ped)} | {seen:.0%} |",
                flush=True,
            )
    print()


def effects_table(studies: int) -> None:
    print(f"{TRIALS} trials of {SIX} axes\n")
    print(
        "| of the losses | axis | of their ranks | seen | share | in the interval | others seen |"
    )
    print("|---|---|---:|---:|---:|---:|---:|")
    for effects in EFFECTS:
        found = [measure(*study(TRIALS, SIX, effects, seed)) for seed in range(studies)]
        others = np.mean([any(i.seen and i.axis.key not in effects for i in f) for f in found])
        made = ", ".join(f"{name} {share:.0%}" for name, share in effects.items())
        for name in effects:
            truth = true_share(effects, name)
            own = [i for one in found for i in one if i.axis.key == name]  # one of each study
            held = np.mean([i.low <= truth <= i.high for i in own])
            print(
                f"| {made} | {name} | {truth:.0%} | {np.mean([i.seen for i in own]):.0%} "
                f"| {np.mean([i.share for i in own]):.0%} | {held:.0%} | {others:.0%} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=int, default=100, help="of each kind")
    parser.add_argument("--trials", type=int, nargs="*", default=COUNTS, help="in those of noise")
    args = parser.parse_args()
    threadpool_limits(1)
    noise_table(args.trials, args.studies)
    effects_table(args.studies)


if __name__ == "__main__":
    main()
