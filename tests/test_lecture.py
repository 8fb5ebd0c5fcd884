"""benchmarks/lecture: its numbers against known answers, its verdicts, and a page in small."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT, Start

sys.path.append(str(ROOT / "benchmarks"))

from lecture import averages, beta, evidence, grid, matching, noise, scales, stages, stats
from lecture.evidence import Claim, Finding, Section, Table, Verdict
from lecture.page import Run, write_page
from lecture.run import SECTIONS
from lecture.stats import Estimate
from trainings import Job, train

RNG = np.random.default_rng(0)


# -- statistics


def test_the_expected_best_is_that_of_all_subsets() -> None:
    losses = [0.3, 2.0, 0.1, 0.7, 0.7]
    for n in range(1, 6):
        every = [min(chosen) for chosen in itertools.combinations(losses, n)]
        assert stats.expected_best(losses, n) == pytest.approx(np.mean(every))
    value, drawn = stats.best_of(losses, (1, 2), RNG)
    assert value == pytest.approx([np.mean(losses), stats.expected_best(losses, 2)])
    assert drawn.shape == (stats.RESAMPLES, 2)


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    found = [stats.mean(rng.normal(size=40), rng) for _ in range(200)]
    assert 0.88 <= np.mean([e.low <= 0 <= e.high for e in found]) <= 0.99


def test_a_paired_difference_is_narrower_than_what_both_share() -> None:
    shared = RNG.normal(size=50) * 100
    gap = stats.difference(shared + 1, shared + RNG.normal(size=50) * 0.1, RNG)
    assert gap.low > 0.9
    assert gap.high < 1.1


def test_a_proportion_has_wilsons_interval() -> None:
    some = stats.share(8, 10)  # Wilson 1927; the numbers of any statistics package
    assert (some.low, some.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert stats.share(0, 10).low == pytest.approx(0)


def test_what_is_counted_has_no_interval() -> None:
    assert stats.exactly(25).text(".0f") == "25"
    assert Estimate(0.5, 0.4, 0.6).text(".0%") == "50% [40%, 60%]"


# -- verdicts


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.51, 0.6, Verdict.HOLDS), (0.4, 0.49, Verdict.FAILS), (0.4, 0.6, Verdict.OPEN)],
)
def test_the_interval_decides(low: float, high: float, verdict: Verdict) -> None:
    number = Estimate((low + high) / 2, low, high)
    assert evidence.above(number, 0.5) is verdict
    assert evidence.below(Estimate(-number.value, -high, -low), -0.5) is verdict


def test_no_difference_at_all_is_no_gain() -> None:
    assert evidence.above(stats.exactly(0), 0) is Verdict.OPEN


def test_a_value_is_near_another_or_not_or_open() -> None:
    assert evidence.near(Estimate(1.5, 1.45, 1.6), 1.54, 0.2) is Verdict.HOLDS
    assert evidence.near(Estimate(1.0, 0.9, 1.1), 1.54, 0.2) is Verdict.FAILS
    assert evidence.near(Estimate(1.3, 1.1, 1.5), 1.54, 0.2) is Verdict.OPEN


def test_one_part_that_fails_is_enough() -> None:
    assert evidence.together([Verdict.HOLDS, Verdict.OPEN]) is Verdict.OPEN
    assert evidence.together([Verdict.HOLDS, Verdict.OPEN, Verdict.FAILS]) is Verdict.FAILS
    assert evidence.together([Verdict.HOLDS, Verdict.HOLDS]) is Verdict.HOLDS


def test_a_claim_says_where_it_holds_and_where_not() -> None:
    findings = [
        Finding("digits", Verdict.FAILS, ""),
        Finding("wine", Verdict.HOLDS, ""),
        Finding("text", Verdict.HOLDS, ""),
    ]
    said = Claim("it works", "it does", findings).verdict()
    assert said == "**holds** on wine and text; **does not hold** on digits"
    everywhere = [Finding(place, Verdict.FAILS, "") for place in ("a", "b", "c")]
    assert Claim("it works", "it does", everywhere).verdict() == "**does not hold** on any of 3"
    assert Claim("it works", "it does", []).verdict() == "not tested in this run"
    assert Claim("x", "y", [Finding("", Verdict.FAILS, "")]).verdict() == "**does not hold**"


# -- claims with known answers


def test_a_grid_shows_the_root_of_its_trials() -> None:
    units = matching.grid_units((3, 3, 2), np.array([0.5, 0.0, 0.9]))
    assert units.shape == (18, 3)
    assert units.min() >= 0
    assert units.max() < 1
    assert grid.distinct(dict(enumerate(units.T))) == [3, 3, 2]


def test_eight_trials_match_where_one_in_twelve_does() -> None:
    pool = np.arange(1000) / 1000
    grids = np.full(20, 0.083 - 0.0005)  # as good as 8.3 % of the trials
    numbers = np.array([1, 8])
    assert matching.chances(grids, pool, numbers) == pytest.approx([0.083, 1 - 0.917**8])
    assert matching.needed(grids, pool) == 8  # 1 - 0.917**8 is just above one half
    assert matching.needed(np.full(3, -1.0), pool) == matching.MOST  # no trial is as good


@pytest.mark.parametrize("way", beta.WAYS)
def test_shares_of_momenta_are_those_in_closed_form(way: str) -> None:
    drawn = beta.betas(way, 0, "test", 100_000)
    assert drawn.min() >= 0.9 - 1e-9
    assert drawn.max() <= 0.999 + 1e-9
    assert np.mean(drawn > 0.99) == pytest.approx(beta.LAW[way], abs=0.005)


def test_the_laws_are_those_of_the_method() -> None:
    stated = {"uniform": 0.091, "reflected": 0.095, "log in β": 0.087, "log in 1-β": 0.5}
    assert pytest.approx(stated, abs=5e-4) == beta.LAW


def test_learning_rates_fall_into_the_decades_of_their_scale() -> None:
    top = {way: np.mean(scales.rates(way, 0, "test", 100_000) > 0.1) for way in scales.WAYS}
    assert top == pytest.approx({"uniform": 0.9, "log-uniform": 0.25}, abs=0.005)


@pytest.mark.parametrize(("b", "steps"), [(0.9, 10), (0.9005, 10.05), (0.999, 1000)])
def test_the_window_of_an_average(b: float, steps: float) -> None:
    assert averages.window(b) == pytest.approx(steps, rel=1e-3)


def test_the_best_of_equal_settings_flatters_as_the_theory_says() -> None:
    assert [noise.flattery(n) for n in (10, 30, 60)] == pytest.approx([1.54, 2.04, 2.32], abs=0.005)
    normal = np.random.default_rng(0).normal(size=20_000)
    assert noise.gaps(normal) == pytest.approx([1.54, 2.04, 2.32], abs=0.06)


def test_the_stamp_of_a_stage_knows_its_options() -> None:
    assert stages.stamp(["a"]) == stages.stamp(["a"]) != stages.stamp(["b"])


# -- trainings


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_loss_does_not_depend_on_what_is_trained_beside_it() -> None:
    jobs = [Job((lr, 0.1, 1e-3, 0.1), seed) for seed, lr in enumerate((0.01, 1e30, 0.1))]
    together = train("wine", jobs)
    assert together == pytest.approx([train("wine", [job])[0] for job in jobs], rel=1e-4)
    assert [np.isfinite(loss) for loss in together] == [True, False, True]


# -- the page


def test_a_failed_section_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    claim = Claim("it works", "x is at least 1", [Finding("wine", Verdict.FAILS, "x 0.5")])
    kept = Section("On 1-β, and more", "said", "done", [claim], tables=[Table(("a",), [["b"]])])
    page = write_page(tmp_path, {"one": kept}, {"two": "ValueError: no"}, Run([], 1.0, 3))
    text = page.read_text(encoding="utf-8")
    assert "Section two failed and is missing" in text
    assert "| [On 1-β, and more](#on-1-β-and-more) | it works | **does not hold** on wine |" in text
    assert "*it works*: **does not hold** on wine. (Holds if x is at least 1.)" in text


def test_each_section_of_the_page_has_the_line_that_measures_it() -> None:
    text = (ROOT / "docs/lecture.md").read_text(encoding="utf-8")
    named = re.findall(r"^python benchmarks/lecture/main\.py --only (\w+)$", text, re.MULTILINE)
    assert named == list(SECTIONS)


@pytest.mark.slow
@pytest.mark.nightly  # its parts are tested by themselves
def test_a_page_in_small_is_the_same_with_any_number_of_workers(
    start: Start, tmp_path: Path
) -> None:
    pages = []
    for workers, only in ((2, "scales,averages"), (1, "scales")):
        output = tmp_path / str(workers)
        options = ["--quick", "--only", only, "--workers", str(workers), "--output", str(output)]
        process = start("benchmarks/lecture/main.py", *options)
        printed = process.wait()
        assert process.code == 0, printed
        text = (output / "lecture.md").read_text(encoding="utf-8")
        for name in re.findall(r"\]\((images/.*?)\)", text):
            assert (output / name).read_bytes().startswith(b"\x89PNG")
        pages.append(text.split("\n## "))
    (_, scales_of_two, *others), (_, scales_of_one) = pages
    assert scales_of_two == scales_of_one
    for section in (scales_of_two, *others):
        assert re.search(r": \*\*(holds|does not hold|cannot be told)\*\*", section)
        assert "![" in section
