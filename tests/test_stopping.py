"""Whether another round is worth it: what is left to gain, against the noise of a training."""

from __future__ import annotations

import math

import numpy as np
import pytest

from caviar.refine import Outlook, expected_gain
from caviar.space import Axis, Log, Space
from conftest import Main, trials

SPACE = Space((Axis("lr", Log(1e-4, 1.0)), Axis("decay", Log(1e-4, 1.0))))


def bowl(count: int, noise: float, seed: int = 0, part: float = 1.0):
    """Trials on a bowl, whose best setting has a loss of 1, in a part of the space on one side."""
    rng = np.random.default_rng(seed)
    units = rng.random((count, 2)) * [part, 1]
    columns = SPACE.from_unit(units)
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    points = [dict(zip(columns, row, strict=True)) for row in rows]
    losses = 1 + ((units - 0.6) ** 2).sum(axis=1) + noise * rng.standard_normal(count)
    return points, losses.tolist()


def test_little_is_left_where_the_best_is_known_and_much_where_it_is_not():
    known = expected_gain(SPACE, SPACE, *bowl(300, 0.03), 10)
    # The best lies where no trial has been.
    unknown = expected_gain(SPACE, SPACE, *bowl(60, 0.01, part=0.3), 10)
    assert known is not None
    assert unknown is not None
    assert not known.worth
    assert unknown.worth
    assert unknown.gain > 5 * known.gain


def test_noise_is_that_of_a_training():
    found = expected_gain(SPACE, SPACE, *bowl(80, 0.05), 10)
    assert found is not None
    assert 0.02 < found.noise < 0.1


def test_it_says_nothing_of_few_trials_and_bears_diverged_ones():
    points, losses = bowl(30, 0.01)
    assert expected_gain(SPACE, SPACE, points[:9], losses[:9], 10) is None
    losses[3] = math.inf
    losses[4] = math.nan
    one = expected_gain(SPACE, SPACE, points, losses, 10)
    assert one == expected_gain(SPACE, SPACE, points, losses, 10)
    assert one is not None
    assert math.isfinite(one.gain)


def test_in_words():
    assert Outlook(0.012, 0.02, 10).sentence("val/loss") == (
        "a round of 10 more trials: expected to gain 0.012 in val/loss, where one training is "
        "uncertain by 0.02: worth its trainings"
    )
    assert "hardly worth" in Outlook(0.001, 0.02, 10).sentence("val/loss")


@pytest.mark.nightly
@pytest.mark.slow
def test_a_search_goes_on_as_long_as_it_is_worth_it(
    caviar: Main, runs, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    import caviar.refine.stopping as stopping

    monkeypatch.setattr(stopping, "WORTH", math.inf)
    few = ["space=tier_1", "model.width=8", "trainer.max_epochs=2", "search.rehearse=false"]
    search = ["search", "search.study=s", "search.stages=auto", "search.budget=25", *few]
    assert caviar(*search) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "hardly worth its trainings" in said
    assert "02_second is left out (search.stop): on to confirm" in said
    assert len(trials(runs, "confirm")) == 11
    assert not trials(runs, "02_second")
