"""What the report says in words, on studies where it would be easy to say something false."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from caviar.base.result import COMPLETE, DIVERGED, EXCEPTION, Result
from caviar.pages import snapshot
from caviar.pages.axes import axes_section
from caviar.pages.budget import budget_section
from caviar.pages.channels import metric_domain, range_ends
from caviar.pages.explorer import explorer_data
from caviar.pages.importance import importance_section
from caviar.pages.marks import LEGEND, ZOOM
from caviar.pages.png import _still
from caviar.pages.snapshot import Snapshot
from caviar.pages.trials import trials_section
from caviar.pages.verdict import verdict_section, worth_sentence
from caviar.search.verdict import Setting, Verdict, mean_text
from caviar.space import Axis, Choice, Space
from conftest import ROOT
from made_studies import BATCH, LR, WIDTH, made

SMALL = Space((LR, BATCH))


@pytest.fixture(autouse=True)
def project(runs: Path, monkeypatch: pytest.MonkeyPatch, hydra_state: None) -> None:
    monkeypatch.chdir(ROOT)


def snapshot_of(runs: Path, *losses: list[float], noise: float | None = None) -> Snapshot:
    """A study with these losses, a stage each; confirmed if the noise is given."""
    names = ("01_coarse", "02_fine", "03_finest")
    study = made(runs / "s", SMALL, {n: len(v) for n, v in zip(names, losses, strict=False)})
    snapshot = Snapshot.of(study)
    stages = []
    for stage, values in zip(snapshot.stages, losses, strict=True):
        trials = [
            replace(t, status=status, result=Result(status, best=v, seconds=1.0))
            for t, v in zip(stage.trials, values, strict=True)
            for status in [COMPLETE if math.isfinite(v) else DIVERGED]
        ]
        stages.append(replace(stage, trials=trials))
    default = Setting("default", {}, [0.5, 0.6], [0, 1])
    verdict = Verdict("val/loss", "min", noise or 0.0, default, default, [], 9)
    return replace(snapshot, stages=stages, verdict=None if noise is None else verdict)


WIDE = [0.1 * k for k in range(1, 11)]


def test_a_stage_that_found_worse_is_not_called_better(runs: Path) -> None:
    sentence = worth_sentence(snapshot_of(runs, WIDE, [x + 1 for x in WIDE], noise=0.01))
    assert (
        "1 (100.0 σ) worse than 01_coarse; another stage (10 trials, 10 s of training)" in sentence
    )
    assert sentence.endswith("is hardly worth it.")


def test_a_clear_gain_is_worth_another_stage(runs: Path) -> None:
    sentence = worth_sentence(snapshot_of(runs, [x + 1 for x in WIDE], WIDE, noise=0.01))
    assert "1 (100.0 σ) better than 01_coarse" in sentence
    assert sentence.endswith("may well be worth it.")


def test_a_gain_inside_of_the_noise_is_not(runs: Path) -> None:
    sentence = worth_sentence(snapshot_of(runs, [x + 0.001 for x in WIDE], WIDE, noise=0.1))
    assert sentence.endswith("is not worth it: that is less than seeds alone make.")


def test_without_a_confirmation_the_noise_is_to_be_measured(runs: Path) -> None:
    assert "which confirm measures" in worth_sentence(snapshot_of(runs, WIDE))


def test_where_no_noise_could_be_measured_nothing_is_promised(runs: Path) -> None:
    sentence = worth_sentence(snapshot_of(runs, WIDE, noise=math.nan))
    assert "cannot be told, as the noise is not known" in sentence


@pytest.mark.parametrize("losses", [[0.5] * 10, [0.3] + [math.inf] * 9, [math.inf] * 10])
def test_no_gain_is_made_of_rounding_or_of_one_loss(runs: Path, losses: list[float]) -> None:
    sentence = worth_sentence(snapshot_of(runs, losses, noise=0.0))
    assert "nothing better" in sentence or "Too few trials" in sentence
    assert "e-1" not in sentence


def test_the_best_is_of_stages_that_trained_alike(runs: Path) -> None:
    snapshot = snapshot_of(runs, WIDE, [x + 1 for x in WIDE])
    coarse, fine = snapshot.stages
    longer = replace(fine, spec={**fine.spec, "overrides": ["trainer.max_epochs=2"]})
    assert snapshot.best is not None
    assert snapshot.best.stage == "01_coarse"
    other = replace(snapshot, stages=[coarse, longer])
    assert other.best is not None
    assert other.best.stage == "02_fine"


def test_only_finished_trials_are_counted(runs: Path) -> None:
    study = made(
        runs / "s", stages={"01_coarse": 30}, fate=lambda n: COMPLETE if n < 3 else "waiting"
    )
    sentence = verdict_section(Snapshot.of(study)).words[0]
    assert "as the best of 3 trials it flatters itself" in sentence


def test_importance_uses_the_latest_stage_that_has_something_to_say(runs: Path) -> None:
    study = made(runs / "s", stages={"01_coarse": 20})
    made(runs / "s", stages={"02_fine": 5}, fate=lambda n: "waiting")
    assert "From 20 trials." in importance_section(Snapshot.of(study)).words[0]


def test_reasons_are_found_beside_a_stage_that_was_run_from_its_file(runs: Path) -> None:
    alarm = "boundary alarm at the high wall: grown past 1"
    study = made(runs / "s", stages={"01_coarse": 12, "02_fine": 6})
    section = axes_section(Snapshot.of(study))
    assert not any("boundary alarm" in word.lower() for word in section.words)  # nothing is known
    fine = replace(study.begun_sweep("02_fine"), reasons={LR.name: [alarm]})
    fine.write(study.sweep_path("02_fine"))
    words = axes_section(Snapshot.of(study)).words
    assert "Boundary alarm: optimizer.lr in 02_fine: at the high wall: grown past 1." in words


def test_a_stage_without_trials_is_not_called_unbegun(runs: Path) -> None:
    study = made(runs / "s", stages={"01_coarse": 0})
    assert axes_section(Snapshot.of(study)).words[0] == "01_coarse: 0 trials."
    next_one = replace(study.begun_sweep("01_coarse"), stage="02_fine")
    next_one.write(study.sweep_path("02_fine"))
    assert "02_fine: 0 trials, not begun" in axes_section(Snapshot.of(study)).words[0]


def test_one_far_loss_does_not_flatten_the_pictures() -> None:
    assert metric_domain([0.5, 0.6, 0.7, -1e30], "max")[0][0] > -10  # type: ignore[index]
    assert metric_domain([0.0, 0.1, 0.2, 1e30], "min")[0][1] < 10  # type: ignore[index]
    low, high = metric_domain([0.12345678, 0.123456784], "min")[0]  # type: ignore[index]
    assert low < high


def test_every_picture_of_an_axis_has_the_stages_ranges_and_their_waiting_trials(
    runs: Path,
) -> None:
    study = made(
        runs / "s",
        SMALL,
        {"01_coarse": 12, "02_fine": 6},
        fate=lambda n: COMPLETE if n < 4 else DIVERGED if n < 6 else "waiting",
    )
    charts = {c.name: c for c in axes_section(Snapshot.of(study)).charts}
    assert list(charts) == ["trials", "axis_optimizer.lr", "axis_data.batch_size"]
    for name in list(charts)[1:]:
        layers = [part["data"]["values"].splitlines() for part in charts[name].spec["layer"]]
        points, crosses, ring, bars, stops, waiting = (rows[1:] for rows in layers)
        assert (len(points), len(crosses), len(ring)) == (8, 4, 1)
        assert [row.partition(",")[0] for row in bars] == ["01_coarse", "02_fine"]
        assert len(stops) == 4
        assert len(waiting) == 6


def test_pictures_into_files_are_never_clipped() -> None:
    """Where a reader may zoom, lines are clipped, each by itself: a minute for a thousand."""
    layer = {"mark": {"type": "line", "clip": True}, "params": [ZOOM, LEGEND]}
    y = {"scale": {"domain": [0, 1], "clamp": False}}
    still = _still({"layer": [{**layer, "encoding": {"y": y}, "data": {"values": "clip"}}]})
    assert "clip" not in still["layer"][0]["mark"]
    assert still["layer"][0]["params"] == [LEGEND]  # the one that zooms brings clipping along
    assert still["layer"][0]["encoding"]["y"]["scale"]["clamp"]  # nothing leaves the frame
    assert still["layer"][0]["data"] == {"values": "clip"}


def test_one_seed_has_a_mean_and_no_error() -> None:
    assert mean_text([0.21]) == "0.21"
    assert mean_text([0.3, 0.31]) == "0.305 ± 0.005"
    assert mean_text([0.3, math.inf]) == "1 of 2 diverged or failed"


@pytest.mark.parametrize(
    ("axis", "values", "ends"),
    [
        (WIDTH, (32, 64), (32, 64)),
        (WIDTH, (64, 32, 48), (32, 64)),  # in any order
        (LR, (0.01,), (0.01, 0.01)),
        (LR, (0.1, 0.01), (0.01, 0.1)),
        (BATCH, (64, 16), (-0.4, 2.4)),  # positions in its own list
    ],
)
def test_a_range_that_was_edited_into_a_list_reaches_over_all_of_it(
    axis: Axis, values: tuple[float, ...], ends: tuple[float, float]
) -> None:
    assert range_ends(Axis(axis.key, Choice(values)), axis) == ends


def test_the_bar_of_a_stage_spans_its_edited_list(runs: Path) -> None:
    study = made(runs / "s", Space((WIDTH, BATCH)))
    made(runs / "s", Space((Axis(WIDTH.key, Choice((64, 32))), BATCH)), {"02_fine": 6})
    charts = {c.name: c for c in axes_section(Snapshot.of(study)).charts}
    strip = [part["data"]["values"] for part in charts["axis_model.width"].spec["layer"]]
    assert any("02_fine,32,64," in rows for rows in strip)


def test_a_large_stage_is_drawn_from_a_sample_and_says_so(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its counts, its seconds and its best are those of all trials."""
    monkeypatch.setattr(snapshot, "WHOLE", 50)
    monkeypatch.setattr(snapshot, "SAMPLE", 30)
    fates = {7: DIVERGED, 50: EXCEPTION, 51: EXCEPTION, 99: "waiting"}
    counts = {"01_coarse": 100, "02_fine": 40}
    study = made(runs / "s", SMALL, counts, fate=lambda number: fates.get(number, COMPLETE))
    large = Snapshot.of(study)
    monkeypatch.setattr(snapshot, "WHOLE", 5000)
    whole = Snapshot.of(study)
    first, second = large.stages
    assert len(first.trials) == 30
    assert (len(second.trials), second.whole) == (40, None)
    assert large.best == whole.best
    assert large.counts == {k: v for k, v in whole.counts.items() if v}
    assert large.stages[0].seconds == pytest.approx({**first.seconds, **whole.stages[0].seconds})
    numbers = [t.number for t in large.trials if t.stage == "01_coarse"]
    assert len({*numbers}) == len(numbers) == 30 + len(first.beside)
    told = "of the 100 trials of 01_coarse, 30 at even distances"
    for section in (axes_section(large), trials_section(large)):
        assert told in " ".join(section.words)
        assert told not in " ".join(axes_section(whole).words)
    assert axes_section(large).words[0] == axes_section(whole).words[0]
    assert len(explorer_data([large])["trials"]["number"]) == len(large.everything)
    (table,) = budget_section(large).tables
    assert [row[1] for row in table.rows] == ["100", "40", "140"]
    assert "A sample of" not in worth_sentence(whole)
