"""The verdict: whether a gain is more than noise; and the winner as an experiment file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml

from caviar.search.more_seeds import enough, how_to_decide
from caviar.search.verdict import Setting, Verdict, read_verdict, standard_error, write_verdict
from caviar.search.winner import winner_text


def verdict(default: list[float], winner: list[float], noise: float, mode: str = "min") -> Verdict:
    return Verdict(
        metric="val/loss",
        mode=mode,
        noise=noise,
        default=Setting("default", {}, default, []),
        winner=Setting("01_coarse/3", {"optimizer.lr": 0.1}, winner, [], "01_coarse/3"),
        others=[],
        trials=1,
    )


DEFAULT = [1.0, 1.1, 0.9, 1.0]


def test_a_gain_that_is_shown_says_what_was_needed() -> None:
    found = verdict(DEFAULT, [0.5, 0.52, 0.48, 0.5], noise=0.1)
    assert found.gain == pytest.approx(0.5)
    assert found.gain_in_noise == pytest.approx(5)
    assert found.clear
    assert found.kept is found.winner
    assert [label for label, _ in found.rows()] == ["default", "01_coarse/3, winner"]
    assert found.sentence() == (
        "The winner, 01_coarse/3, beats the default: it gains 0.5 in val/loss, 15.1 standard "
        "errors of the difference (0.033), where 3.0 are needed to err in at most 5 % of studies."
    )


INSIDE = [0.9, 0.8, 1.0, 0.9]


def test_a_gain_that_is_not_shown_is_no_winners() -> None:
    found = verdict(DEFAULT, INSIDE, noise=0.1)
    assert not found.clear
    assert found.open
    assert found.kept is found.default
    assert [label for label, _ in found.rows()] == ["default", "01_coarse/3, best candidate"]
    said = found.sentence()
    assert said.startswith("Not shown to be better than the default; keep it: 01_coarse/3, the ")
    assert "where 3.0 are needed to err in at most 5 % of studies" in said
    assert "winner" not in said


@pytest.mark.parametrize(
    ("winner", "says"),
    [([0.3, 0.3], "it is worse there"), ([0.05, 0.05], "better there, too"), ([0.1], "no diff")],
)
def test_the_test_result_stands_in_the_verdict(winner: list[float], says: str) -> None:
    for values, shown in ((INSIDE, False), ([0.5, 0.52, 0.48, 0.5], True)):
        found = verdict(DEFAULT, values, noise=0.1)
        found.default.test = {"test/acc": [0.9, 0.9], "test/loss": [0.1, 0.11]}
        found.winner.test = {"test/acc": [0.8, 0.8], "test/loss": winner}
        assert found.clear is shown
        assert "On the test set its test/loss is " in found.sentence()
        assert says in found.sentence()


def test_more_seeds_are_as_many_as_the_gain_needs() -> None:
    found = verdict(DEFAULT, INSIDE, noise=0.1)
    budget = enough(found)
    assert budget is not None
    assert found.spent < budget < 80
    more, shut = how_to_decide(found, "s")
    assert more.endswith(f"caviar confirm search.study=s search.confirm.budget={budget}")
    assert shut.endswith("caviar confirm search.study=s search.confirm.test=always")
    found.winner.values = [1.0, 1.098, 0.9, 1.0]  # a gain that is all but none
    assert enough(found) is None
    assert "no affordable number of seeds" in how_to_decide(found, "s")[0]
    found.default.values, found.winner.values = [1.0], [0.9]  # no spread is known
    assert enough(found) == 8


def test_a_default_that_diverges_is_not_kept() -> None:
    found = verdict([0.5, math.inf, 0.5, 0.5], [0.9, 0.8, 0.9, 0.8], noise=0.1)
    assert found.sentence() == (
        "The default diverged with 1 of 4 seeds, and 01_coarse/3, the best candidate, with none; "
        "take that."
    )
    assert found.kept is found.winner
    assert not found.clear
    assert not found.open  # no seed can make up for it
    one = verdict([0.5], [0.4], noise=math.nan)
    assert one.noise_text == "noise σ unknown: one seed has no spread"


def test_a_later_look_is_stricter() -> None:
    found = verdict(DEFAULT, [0.8, 0.97, 0.71, 0.85], noise=0.1)
    assert found.clear
    found.looks = 1
    assert not found.clear


def test_the_best_of_more_candidates_needs_more() -> None:
    found = verdict(DEFAULT, [0.8, 0.97, 0.71, 0.85], noise=0.1)
    assert found.clear
    found.others = [Setting(f"candidate {i}", {}, [2.0], []) for i in (2, 3)]
    more = found.paired.needed
    found.others *= 3
    assert found.paired.needed > more
    assert not found.clear


def test_a_winner_that_spreads_more_than_the_default_is_not_clear() -> None:
    assert not verdict([1.0, 1.01, 0.99, 1.0], [0.5, 1.2, 0.4, 0.8], noise=0.01).clear
    assert verdict([1.0, 1.01, 0.99, 1.0], [0.8, 0.81, 0.8, 0.79], noise=0.01).clear


def test_a_few_seeds_show_nothing() -> None:
    found = verdict(DEFAULT, [0.1, 0.1], noise=0.1)
    assert not found.clear
    assert "over 2 pairs of seeds, where 4 are needed to show anything" in found.sentence()
    assert "σ" not in found.sentence()  # the spread of one training is no error of a difference


def test_a_gain_is_positive_when_the_winner_is_better() -> None:
    assert verdict([0.5, 0.5], [0.6, 0.6], noise=0.01, mode="max").gain == pytest.approx(0.1)


def test_a_default_that_wins_is_kept() -> None:
    found = verdict([0.5, 0.5], [0.6, 0.6], noise=0.01)
    found.winner = found.default
    assert found.sentence().endswith("; keep it.")
    assert not found.open


def test_a_verdict_without_noise_or_with_divergence_is_written_as_json_and_read_back(
    tmp_path: Path,
) -> None:
    inf = float("inf")
    path = tmp_path / "verdict.json"
    for found in (
        verdict([1.0, inf], [0.5, 0.5], noise=float("nan")),
        verdict([0.5, 0.5], [0.5, 0.5], noise=0.0),
        verdict([0.5, -inf], [0.6, 0.6], noise=float("nan"), mode="max"),
    ):
        write_verdict(found, path)
        json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
        again = read_verdict(path)
        assert again.default.values == found.default.values
        assert again.sentence() == found.sentence()
        assert "nan" not in found.sentence() + found.noise_text
        assert "inf " not in found.sentence()


def test_standard_errors() -> None:
    assert standard_error([1.0, 3.0]) == pytest.approx(1.0)
    assert standard_error([1.0, float("inf")]) == float("inf")


CHOICES = {"experiment": "breast_cancer", "optimizer": "sgd"}


def test_the_winner_keeps_what_the_search_fixed() -> None:
    found = verdict([1.0, 1.0], [0.5, 0.5], noise=0.1)
    found.winner.point = {"optimizer.lr": 0.1, "one_minus.optimizer.momentum": 0.02}
    overrides = ["experiment=breast_cancer", "optimizer=sgd", "trainer.max_epochs=3", "~logger"]
    text = winner_text("s", CHOICES, found, overrides, "", found.winner)
    written = yaml.safe_load(text)
    assert written["defaults"] == ["breast_cancer", {"override /optimizer": "sgd"}, "_self_"]
    assert written["optimizer"] == {"lr": 0.1, "momentum": 0.98}
    assert written["trainer"] == {"max_epochs": 3}
    assert written["name"] == "s_winner"  # its own, so that its study is not this one
    assert "~logger" in text
    kept = yaml.safe_load(winner_text("s", CHOICES, found, overrides, "", found.default))
    assert "optimizer" not in kept


def test_a_fixed_complement_may_be_a_whole_number() -> None:
    found = verdict([1.0, 1.0], [0.5, 0.5], noise=0.1)
    overrides = ["one_minus.optimizer.momentum=1"]
    written = yaml.safe_load(winner_text("s", {}, found, overrides, "", found.winner))
    assert written["optimizer"]["momentum"] == 0.0
