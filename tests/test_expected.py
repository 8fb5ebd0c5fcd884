"""Expected best after n trials, against all subsets and all sequences, counted out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caviar.refine.expected import expected_best

losses = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5)


@settings(deadline=None)  # the first call imports
@given(losses)
def test_both_forms_are_what_counting_gives(values: list[float]) -> None:
    found = expected_best(values)
    for n in range(1, len(values) + 1):
        subsets = [min(c) for c in itertools.combinations(values, n)]
        sequences = [min(c) for c in itertools.product(values, repeat=n)]
        assert found.unbiased[n - 1] == pytest.approx(np.mean(subsets), abs=1e-6)
        assert found.biased[n - 1] == pytest.approx(np.mean(sequences), abs=1e-6)
        ends = np.quantile(subsets, [0.1, 0.9], method="inverted_cdf")
        assert [found.low[n - 1], found.high[n - 1]] == pytest.approx(ends.tolist())


@given(losses)
def test_more_trials_never_hurt_and_all_of_them_give_the_best(values: list[float]) -> None:
    found = expected_best(values)
    assert (np.diff(found.unbiased) <= 1e-9).all()
    assert found.unbiased[-1] == pytest.approx(min(values))
    assert (found.biased >= found.unbiased - 1e-9).all()


def test_it_is_unbiased_on_uniform_draws() -> None:
    """The expected smallest of n uniform numbers is 1 / (n + 1)."""
    rng = np.random.default_rng(0)
    mean = np.mean([expected_best(rng.random(20).tolist()).unbiased for _ in range(4000)], axis=0)
    assert mean == pytest.approx(1 / (np.arange(1, 21) + 1), rel=0.03)


def test_diverged_trials_count_as_the_worst() -> None:
    assert expected_best([1.0, 3.0, math.inf]).unbiased[0] == pytest.approx(7 / 3)
    with pytest.raises(ValueError, match="no trial"):
        expected_best([math.inf])


def test_thousands_of_trials() -> None:
    found = expected_best(np.linspace(0, 1, 3000).tolist())
    assert np.isfinite(found.unbiased).all()
    assert found.n[[0, -1]].tolist() == [1, 3000]
    assert len(found.n) <= 200
    assert found.unbiased[0] == pytest.approx(0.5)
