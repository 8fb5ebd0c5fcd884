"""How often is a setting called better than the default when none is, and how often when one is?

    python benchmarks/verdict.py             # 8,000 studies of each case, 10 minutes on a core
    python benchmarks/verdict.py --quick     # 1,000 of each

Every study is a confirmation by simulated losses: `caviar.search.race`, the functions that
`caviar confirm` calls, say who gets another seed and whether the gain is shown. Beside it stands
the rule before it: 5 seeds of the default and 2 of each candidate, and a gain of two standard
errors. All settings have the same mean loss, or some are better by so many σ of the default.

The cases are all combinations of: the best of 1, 2, 3 or 5 candidates; normal losses, Student's t
with 3 degrees of freedom, log-normal ones (of log-sd 0.5: a skewness of 1.75); all candidates with
1/3, 1 or 3 times the default's σ, or one of them with 3 times; pairs of seeds correlated by 0 or
0.8; a budget that ends with the fewest pairs, and one with several looks that may stop it.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from caviar.search import race

Array = NDArray[np.float64]
# Candidates, budget: those of the default and of fewer candidates; then with looks before the end.
RACES = ((1, 8), (1, 11), (2, 11), (3, 11), (3, 16), (5, 20), (1, 30), (3, 30), (5, 30))
AGAIN = ((3, (11, 23, 45)), (5, (20, 40, 80)))
LOSSES = ("normal", "t3", "log-normal")
SPREADS = ("1/3", "1", "3", "one 3")  # σ of the candidates, in units of the default's
PAIRED = (0.0, 0.8)
GAINS = (1, 2, 4)
MOST = 16  # seeds of a setting that a budget of 30 can come to
OLD_DEFAULT, OLD_SEEDS, OLD_CLEAR = 5, 2, 2.0


def losses(
    rng: np.random.Generator,
    count: int,
    sigma: Sequence[float],
    kind: str,
    paired: float,
    seeds: int = MOST,
) -> Array:
    """Mean 0 and the given σ of each setting; shape (studies, settings, seeds)."""
    shape = (count, len(sigma), seeds)
    seed = rng.standard_normal((count, 1, seeds))  # what a seed does to every setting
    z = np.sqrt(paired) * seed + np.sqrt(1 - paired) * rng.standard_normal(shape)
    if kind == "t3":
        z = stdtrit(3, ndtr(z)) / np.sqrt(3)
    elif kind.startswith("log-normal"):
        s = 1.0 if kind.endswith("1") else 0.5
        z = (np.exp(s * z) - np.exp(s**2 / 2)) / np.sqrt(np.expm1(s**2) * np.exp(s**2))
    return z * np.asarray(sigma)[:, None]


def sigmas(candidates: int, spread: str) -> list[float]:
    if spread == "one 3":
        return [1.0, 3.0, *[1.0] * (candidates - 1)]
    return [1.0, *[{"1/3": 1 / 3, "1": 1.0, "3": 3.0}[spread]] * candidates]


def called(studies: Array, *budgets: int) -> tuple[float, float]:
    """The share of studies in which a candidate is called better, and the mean of trainings.

    Arguments:
        studies: shape (studies, settings, seeds).
        budgets: of the race, and then those that a verdict that is left open is given.
    """
    clear = trainings = 0
    for study in studies.tolist():
        values: list[list[float]] = [[] for _ in study]
        for look, budget in enumerate(budgets):
            stricter = race.AGAIN if look else race.STRICTER
            while settings := race.next_seeds(values, budget, stricter):
                for i in settings:
                    values[i].append(study[i][len(values[i])])
            best = race.leader(values)
            assert best is not None
            level = race.AGAIN if look else 1
            found = race.gain_test(values[0], values[best], len(study) - 1, level)
            if found.clear or found.gain <= 0:
                break
        clear += found.clear
        trainings += sum(map(len, values))
    return clear / len(studies), trainings / len(studies)


def called_before(studies: Array) -> float:
    """By the rule before: best mean of two seeds, two standard errors of pooled spreads."""
    default, others = studies[:, 0, :OLD_DEFAULT], studies[:, 1:, :OLD_SEEDS]
    best = others.mean(axis=2).argmin(axis=1)[:, None, None]
    winner = np.take_along_axis(others, best, axis=1)[:, 0]
    within = default.var(axis=1, ddof=1) * (OLD_DEFAULT - 1) + others.var(axis=2, ddof=1).sum(1)
    pooled = within / (OLD_DEFAULT - 1 + others.shape[1])
    own = np.maximum(pooled, winner.var(axis=1, ddof=1))
    error = np.sqrt(default.var(axis=1, ddof=1) / OLD_DEFAULT + own / OLD_SEEDS)
    gain = default.mean(axis=1) - winner.mean(axis=1)
    return float((gain > OLD_CLEAR * error).mean())


def row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def head(*cells: str) -> None:
    row(*cells)
    row(*["---"] * len(cells))


def errors(rng: np.random.Generator, count: int) -> float:
    """Print how often nothing is called better; the worst of all."""
    print(f"\nCalled better when nothing is, % of {count:,} studies each: now (before)\n")
    head("losses", "σ of candidates", "paired", *(f"best of {k}, {b}" for k, b in RACES))
    worst = np.zeros(len(RACES))
    before: dict[tuple[object, ...], float] = {}
    for kind, spread, paired in itertools.product(LOSSES, SPREADS, PAIRED):
        cells = []
        for i, (candidates, budget) in enumerate(RACES):
            if candidates == 1 and spread == "one 3":
                cells.append("")
                continue
            studies = losses(rng, count, sigmas(candidates, spread), kind, paired)
            rate, _ = called(studies, budget)
            worst[i] = max(worst[i], rate)
            cells.append(f"{100 * rate:.1f}")
            if (case := (kind, spread, paired, candidates)) not in before:
                before[case] = called_before(studies)
                cells[-1] += f" ({100 * before[case]:.1f})"
        row(kind, spread, f"{paired:g}", *cells)
    row("**worst**", "", "", *(f"**{100 * rate:.1f}**" for rate in worst))
    old = max(before, key=lambda case: before[case])
    print(f"\nthe worst before: {100 * before[old]:.1f} %, {old}")
    return float(worst.max())


def errors_again(rng: np.random.Generator, count: int) -> float:
    """Print how often nothing is called better where open verdicts get more seeds; the worst."""
    print(f"\nThe same, % of {count:,} studies each, when an open verdict gets more seeds, twice\n")
    head("losses", "σ of candidates", "paired", *(f"best of {k}, {b}" for k, b in AGAIN))
    worst = 0.0
    for kind, spread, paired in itertools.product(LOSSES, SPREADS, PAIRED):
        rates = []
        for candidates, budgets in AGAIN:
            sigma = sigmas(candidates, spread)
            studies = losses(rng, count, sigma, kind, paired, seeds=max(budgets))
            rates.append((called(studies, budgets[0])[0], called(studies, *budgets)[0]))
        row(kind, spread, f"{paired:g}", *(f"{100 * a:.1f} → {100 * b:.1f}" for a, b in rates))
        worst = max(worst, *(b for _, b in rates))
    return worst


def power(rng: np.random.Generator, count: int) -> None:
    """Print how often a true gain is called, with normal losses of equal σ."""
    print(f"\nA true gain is called, % of {count:,} studies each, after so many trainings\n")
    cases = [(gain, everyone) for gain in GAINS for everyone in (False, True)]
    names = [f"{'all' if everyone else 'one'} {gain} σ" for gain, everyone in cases]
    head("candidates", "budget", "paired", "none better", *names)
    for candidates, budget in (*RACES, (3, 0)):
        for paired in PAIRED:
            cells = []
            for gain, everyone in [(0, False), *cases]:
                studies = losses(rng, count, sigmas(candidates, "1"), "normal", paired)
                studies[:, 1 : None if everyone else 2] -= gain
                if not budget:
                    cells.append(f"{100 * called_before(studies):.0f}")
                    continue
                rate, trainings = called(studies, budget)
                cells.append(f"{100 * rate:.0f} ({trainings:.1f})")
            name = str(budget) if budget else "11, the rule before"
            row(str(candidates), name, f"{paired:g}", *cells)


def beyond(rng: np.random.Generator, count: int) -> None:
    """Print what is not promised: losses that are more skewed."""
    print("\nNot promised: log-normal losses of log-sd 1, a skewness of 6.2; % as above\n")
    head("σ of candidates", "paired", *(f"best of {k}, {b}" for k, b in RACES))
    for spread, paired in itertools.product(SPREADS[1:3], PAIRED):
        rates = []
        for candidates, budget in RACES:
            studies = losses(rng, count, sigmas(candidates, spread), "log-normal 1", paired)
            rates.append(
                f"{100 * called(studies, budget)[0]:.1f} ({100 * called_before(studies):.1f})"
            )
        row(spread, f"{paired:g}", *rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="1,000 studies of each case")
    parser.add_argument("--studies", type=int, help="of each case (default 8000)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    count = args.studies or (1000 if args.quick else 8000)
    start, rng = time.perf_counter(), np.random.default_rng(args.seed)
    worst = errors(rng, count)
    power(rng, count // 2)
    beyond(rng, count // 2)
    worst = max(worst, errors_again(rng, count))
    error = np.sqrt(race.ERROR_RATE * (1 - race.ERROR_RATE) / count)
    holds = worst <= race.ERROR_RATE + 3 * error
    print(
        f"\nat most {100 * race.ERROR_RATE:.0f} % in every case: {'holds' if holds else 'BROKEN'}, "
        f"the worst is {100 * worst:.1f} % (± {100 * error:.1f})"
    )
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes. The same numbers again:")
    print(f"    python benchmarks/verdict.py --studies {count} --seed {args.seed}")
    sys.exit(not holds)


if __name__ == "__main__":
    main()
