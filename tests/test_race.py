"""The race of a confirmation: who gets another seed; and the test: how often it errs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caviar.search.race import ERROR_RATE, FEWEST, gain_test, leader, next_seeds

LOSS = st.floats(-10, 10, allow_subnormal=False)
SEEDED = st.one_of(LOSS, LOSS, LOSS, st.just(math.inf))
# Each setting has more seeds than any budget below asks for.
STUDIES = st.integers(1, 6).flatmap(
    lambda k: st.lists(st.lists(SEEDED, min_size=20, max_size=20), min_size=k + 1, max_size=k + 1)
)
BUDGETS = st.integers(2, 40)


def raced(study: list[list[float]], budget: int) -> tuple[list[list[float]], list[list[int]]]:
    """The values that a race has seen, and its rounds."""
    values: list[list[float]] = [[] for _ in study]
    rounds = []
    while settings_ := next_seeds(values, budget):
        rounds.append(settings_)
        for i in settings_:
            values[i].append(study[i][len(values[i])])
    return values, rounds


def test_rounds_of_three_candidates_end_with_four_pairs() -> None:
    study = [[0.5, 0.52, 0.51, 0.49], [0.4] * 9, [0.6] * 9, [0.3] * 9]
    _, rounds = raced([[*row, *row, *row] for row in study], 11)
    assert rounds == [[0, 1, 2, 3], [0, 1, 3], [0, 3], [0, 3]]


def test_five_candidates_are_halved() -> None:
    study = [[1.0 + 8 * (k % 2) for k in range(20)], *([4 + i / 10] * 20 for i in range(5))]
    _, rounds = raced(study, 20)
    assert [len(r) for r in rounds] == [6, 4, 3, 2, 2, 2]


def test_a_clear_winner_ends_the_race_before_its_budget() -> None:
    rng = np.random.default_rng(0)
    near, far = (
        raced((rng.normal(size=(2, 40)) - [[0], [shift]]).tolist(), 40)[0] for shift in (0.5, 9)
    )
    assert len(far[1]) == FEWEST < len(near[1])


def test_a_candidate_that_is_behind_at_half_way_ends_it_too() -> None:
    values, _ = raced([[0.0 + k % 2 for k in range(9)], [3.0] * 9], 11)
    assert len(values[1]) == 3


def test_who_dropped_out_comes_back_when_all_others_diverge() -> None:
    study = [[5.0] * 9, [1.0, 1.0, math.inf, *[1.0] * 6], [2.0] * 9, [3.0] * 9]
    values, rounds = raced(study, 14)
    assert rounds[:5] == [[0, 1, 2, 3], [0, 1, 2], [0, 1], [2], [0, 2]]
    assert leader(values) == 2


def test_nobody_is_left_when_all_diverge() -> None:
    values = [[1.0], [math.inf], [math.inf]]
    assert next_seeds(values, 11) == []
    assert leader(values) is None


@settings(max_examples=50, deadline=None)
@given(STUDIES, BUDGETS)
def test_a_race_keeps_to_its_budget_and_gives_everybody_a_seed(
    study: list[list[float]], budget: int
) -> None:
    values, rounds = raced(study, budget)
    assert sum(map(len, values)) <= budget
    if len(study) <= budget:
        assert rounds[0] == [*range(len(study))]
    # Seed k of a candidate has the default's seed k for its pair.
    assert all(len(v) <= len(values[0]) for v in values)


@settings(max_examples=50, deadline=None)
@given(STUDIES, BUDGETS)
def test_a_race_goes_on_the_same_from_any_round(study: list[list[float]], budget: int) -> None:
    _, rounds = raced(study, budget)
    for done in range(len(rounds) + 1):
        seen = [sum(i in r for r in rounds[:done]) for i in range(len(study))]
        values = [row[:n] for row, n in zip(study, seen, strict=True)]
        assert next_seeds(values, budget) == (rounds[done] if done < len(rounds) else [])


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 6), BUDGETS, st.randoms(use_true_random=False))
def test_the_order_of_candidates_says_nothing(k: int, budget: int, random: object) -> None:
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    study = rng.normal(size=(k + 1, 40)).tolist()
    order = [0, *(1 + rng.permutation(k))]
    values, rounds = raced(study, budget)
    moved, moved_rounds = raced([study[i] for i in order], budget)
    assert moved == [values[i] for i in order]
    assert [sorted(order[i] for i in r) for r in moved_rounds] == rounds


@settings(max_examples=50, deadline=None)
@given(STUDIES, BUDGETS)
def test_a_setting_with_an_infinite_seed_is_no_winner(
    study: list[list[float]], budget: int
) -> None:
    values, _ = raced(study, budget)
    best = leader(values)
    if best is not None:
        assert all(map(math.isfinite, values[best]))
    for candidate in values[1:]:
        if not all(map(math.isfinite, candidate)):
            assert not gain_test(values[0], candidate, len(values) - 1).clear


def test_a_gain_is_that_of_pairs_and_counts_the_winners_own_spread() -> None:
    default, winner = [1.0, 1.2, 0.9, 1.1], [0.5, 0.8, 0.3, 0.6]
    found = gain_test(default, winner, candidates=1)
    difference = np.subtract(default, winner)
    own = np.var(winner, ddof=1) / 2
    assert found.gain == pytest.approx(0.5)
    assert found.error == pytest.approx(math.sqrt((np.var(difference, ddof=1) + own) / 4))
    assert found.clear
    # More candidates to choose from, and an earlier look, need more.
    needed = [gain_test(default, winner, k).needed for k in (1, 2, 3, 5)]
    assert needed == sorted(needed)
    assert gain_test(default, winner, 1, stricter=10).needed > needed[0]


@pytest.mark.parametrize("pairs", range(FEWEST))
def test_few_pairs_show_nothing(pairs: int) -> None:
    found = gain_test([9.0] * 7, [1.0] * pairs, candidates=1)
    assert found.pairs == pairs
    assert not found.clear


def test_a_default_that_diverged_has_no_gain_to_test() -> None:
    found = gain_test([1.0, math.inf, 1.0, 1.0], [0.5] * 4, candidates=1)
    assert found.gain == math.inf
    assert not found.clear


def test_equal_values_are_no_gain() -> None:
    assert not gain_test([0.5] * 5, [0.5] * 5, candidates=3).clear
    assert gain_test([0.5] * 5, [0.4] * 5, candidates=3).clear  # nothing is left to chance


@pytest.mark.parametrize(
    ("skewed", "spread", "candidates", "budget"),
    [(False, 1, 3, 11), (True, 3, 3, 11), (True, 3, 1, 11)],
)
def test_it_errs_no_more_often_than_it_says(
    skewed: bool, spread: float, candidates: int, budget: int
) -> None:
    """The worst cases of benchmarks/verdict.py, and the ordinary one."""
    rng, studies = np.random.default_rng(7), 2000
    z = rng.normal(size=(studies, candidates + 1, 6))
    losses = (np.exp(z / 2) - math.exp(1 / 8)) / 0.604 if skewed else z
    losses[:, 1:] *= spread
    errors = 0
    for study in losses.tolist():
        values, _ = raced(study, budget)
        best = leader(values)
        assert best is not None
        errors += gain_test(values[0], values[best], candidates).clear
    assert errors / studies < ERROR_RATE + 3 * math.sqrt(ERROR_RATE * 0.95 / studies)
