"""Is our own fANOVA and PED-ANOVA worth its lines beside Optuna's? What each costs.

    python benchmarks/importance.py            # 54, 300 and 1000 trials of six axes, minutes
    python benchmarks/importance.py --quick    # 54 trials only, some seconds

`caviar importance` measures on all trials and with their scores shuffled 39 times. Each row times
such 40 measurements on the same unit coordinates: by our code, and by Optuna's evaluator with the
same settings, for which a study must be built each time, because it reads trials of a study and
nothing else. `apart` is the largest difference between two shares of all trials. What the command
prints, shares of trials that a forest's trees have left out, Optuna does not have: the last row of
each number of trials times all of it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
)
from optuna.trial import create_trial
from threadpoolctl import threadpool_limits

from caviar.refine.chance import SHUFFLES
from caviar.refine.fanova import DEPTH, TREES, Forest
from caviar.refine.importance import measure
from caviar.refine.ped import BEST, divergences
from caviar.refine.surrogate import normal_scores
from caviar.space import Choice, Space

Array = NDArray[np.float64]

SPACE = Space.parse(
    {
        "lr": {"scale": "log", "low": 1e-4, "high": 1},
        "momentum": {"scale": "one_minus_log", "low": 0.9, "high": 0.999},
        "weight_decay": {"scale": "log", "low": 1e-6, "high": 1e-2},
        "dropout": {"scale": "linear", "low": 0, "high": 0.5},
        "width": {"scale": "integer", "low": 16, "high": 128},
        "act": {"scale": "choice", "values": ["relu", "gelu", "tanh"]},
    }
)
COUNTS = (54, 300, 1000)  # a study of 30 + 14 + 10, a long one, and one on a cluster
REPEATS = 3  # of each time, whose median is shown


def trials(count: int) -> tuple[Array, Array]:
    """Unit coordinates and scores of trials: a bowl with noise, and an edge that diverged."""
    units = SPACE.to_unit(SPACE.draw(0, "01_coarse", count))
    noise = 0.1 * np.random.default_rng(0).standard_normal(count)
    loss = (units - 0.4) ** 2 @ [3.0, 1.0, 0.3, 0.3, 0.5, 0.5] + noise
    return units, normal_scores(np.where(units[:, 0] > 0.85, np.inf, loss))


def study_of(units: Array, scores: Array) -> optuna.Study:
    """The trials as Optuna's evaluators take them: a study in memory, on unit coordinates."""
    shown: dict[str, BaseDistribution] = {}
    for j, axis in enumerate(SPACE):
        low, high = min(0.0, units[:, j].min()), max(1.0, units[:, j].max())
        discrete = isinstance(axis.scale, Choice)
        places = axis.scale.to_unit(list(axis.scale.values)).tolist() if discrete else None
        shown[axis.name] = (
            CategoricalDistribution(places) if places else FloatDistribution(low, high)
        )
    study = optuna.create_study()
    study.add_trials(
        create_trial(
            params=dict(zip(SPACE.names, row, strict=True)), distributions=shown, value=score
        )
        for row, score in zip(units.tolist(), scores.tolist(), strict=True)
    )
    return study


def optuna_shares(evaluator: BaseImportanceEvaluator, units: Array, scores: Array) -> Array:
    shares = evaluator.evaluate(study_of(units, scores))
    return np.array([shares[name] for name in SPACE.names])


def optuna_fanova(units: Array, scores: Array, seed: int) -> Array:
    evaluator = FanovaImportanceEvaluator(n_trees=TREES, max_depth=DEPTH, seed=seed)
    return optuna_shares(evaluator, units, scores)


def optuna_ped(units: Array, scores: Array, seed: int) -> Array:
    shares = optuna_shares(PedAnovaImportanceEvaluator(target_quantile=BEST), units, scores)
    return shares / shares.sum()


def our_ped(units: Array, scores: Array, seed: int) -> Array:
    apart = divergences(SPACE, units, scores)
    return apart / apart.sum()


def built(units: Array, scores: Array, seed: int) -> Array:
    """Nothing is measured: what the studies cost alone."""
    study_of(units, scores)
    return np.zeros(len(SPACE))


Measure = Callable[[Array, Array, int], Array]
MEASURES: dict[str, tuple[Measure, Measure]] = {
    "fANOVA": (lambda u, s, seed: Forest(SPACE, u, s, seed).shares(), optuna_fanova),
    "PED-ANOVA": (our_ped, optuna_ped),
}


def often(shares: Measure, units: Array, scores: Array) -> tuple[float, Array]:
    """CPU seconds, and shares, shape (1 + SHUFFLES, axes): of scores as they are, and shuffled."""
    rng = np.random.default_rng(0)
    mixed = [scores, *(rng.permutation(scores) for _ in range(SHUFFLES))]
    start = time.process_time()
    found = [shares(units, each, seed) for seed, each in enumerate(mixed)]
    return time.process_time() - start, np.array(found)


def whole(units: Array, scores: Array) -> float:
    """CPU seconds of all that `caviar importance` measures."""
    columns = {axis.name: axis.scale.from_unit(u) for axis, u in zip(SPACE, units.T, strict=True)}
    points = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    start = time.process_time()
    measure(SPACE, points, scores.tolist())
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="54 trials only")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    threadpool_limits(1)

    print(
        f"CPU time of all trials, as they are and {SHUFFLES} times shuffled, median of {REPEATS}\n"
    )
    print("| trials | measure | ours, s | Optuna's, s | its studies alone, s | ratio | apart |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for count in COUNTS[:1] if args.quick else COUNTS:
        units, scores = trials(count)
        for name, measures in MEASURES.items():
            # In turn, so that a busy moment of the machine strikes all of them.
            runs = [[often(m, units, scores) for m in (*measures, built)] for _ in range(REPEATS)]
            ours, optunas, studies = (
                statistics.median(seconds for seconds, _ in column)
                for column in zip(*runs, strict=True)
            )
            (_, own), (_, other), _ = runs[0]
            print(
                f"| {count} | {name} | {ours:.2f} | {optunas:.2f} | {studies:.2f} "
                f"| {optunas / ours:.1f} | {np.abs(own - other)[0].max():.3f} |",
                flush=True,
            )
        seconds = statistics.median(whole(units, scores) for _ in range(REPEATS))
        print(f"| {count} | `measure` | {seconds:.2f} | | | | |", flush=True)


if __name__ == "__main__":
    main()
