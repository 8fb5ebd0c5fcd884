"""Rungs: who goes on is a function of the curves alone, and going on is the same training."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caviar.base.result import COMPLETE, DIVERGED, EXCEPTION, PRUNED, Result
from caviar.ledger import Planned, Trial
from caviar.search.rungs import Rungs, best_until, planned_trials, rungs_of
from caviar.search.settings import SearchSettings, StageSettings
from conftest import Main, awaited, meanwhile, trials
from made_studies import made

ONE, TWO = Rungs((2,), 0.5), Rungs((2, 4), 0.5)
STAGE = ["-m", "space=tier_1", "search.num_trials=6", "model.width=8", "trainer.max_epochs=5"]
RUNGS = [*STAGE, "search.rungs=[2]"]


def at_rung(number: int, values: list[float], rung: int = 0, status: str = PRUNED) -> Trial:
    """A trial with a curve, of which that was seen."""
    curve = dict(enumerate(values))
    result = Result(status, best=min(values), error="boom" if status == EXCEPTION else None)
    return Trial("01_coarse", number, status, Planned({}, 0), result, curve, rung=rung)


curves = st.lists(st.floats(0, 10), min_size=2, max_size=2)


@given(st.lists(curves, min_size=1, max_size=12), st.randoms())
def test_the_best_half_goes_on_in_whatever_order_they_are_seen(values, random):
    seen = [at_rung(i, curve) for i, curve in enumerate(values)]
    rung, going = TWO.promoted(seen, "min")
    random.shuffle(seen)
    assert TWO.promoted(seen, "min") == (rung, going)
    assert (rung, len(going)) == (1, max(1, round(len(values) / 2)))
    worst = max((min(values[i]), i) for i in going)
    assert all((min(v), i) > worst for i, v in enumerate(values) if i not in going)


@given(st.lists(st.lists(st.floats(0, 9), min_size=5, max_size=5), min_size=2, max_size=9))
def test_a_kill_in_the_middle_of_going_on_changes_nobody(values):
    stopped = [at_rung(i, curve[:2]) for i, curve in enumerate(values)]
    _, going = TWO.promoted(stopped, "min")
    # Some have gone on, and come to the next rung with other best values; the others have not.
    some = going[: len(going) // 2]
    seen = [
        at_rung(i, values[i][:4], rung=1) if i in some else stopped[i] for i in range(len(values))
    ]
    rest = [i for i in going if i not in some]
    assert rest
    assert TWO.promoted(seen, "min") == (1, rest)


def test_what_diverged_or_failed_does_not_go_on():
    seen = [
        at_rung(0, [0.1, float("nan")], status=DIVERGED),
        at_rung(1, [0.2], status=EXCEPTION),
        at_rung(2, [0.9, 0.8]),
        at_rung(3, [0.3, 0.7], status=COMPLETE),  # stopped by itself, before the rung or at it
        at_rung(4, [0.9, 0.85]),
    ]
    # Half of four: the one that has ended has its place, and needs no further training.
    assert TWO.promoted(seen, "min") == (1, [2])
    assert TWO.promoted(seen[:2], "min") == (0, [])


def test_a_trial_that_is_put_back_goes_on_if_it_is_among_the_best():
    stopped = [at_rung(i, [0.1 * i, 0.1 * i]) for i in range(1, 9)]
    _, going = ONE.promoted([*stopped, at_rung(9, [0.05], status=EXCEPTION)], "min")
    assert going == [1, 2, 3, 4]
    seen = [at_rung(i, [0.1 * i, 0.1 * i], rung=int(i in going)) for i in range(1, 9)]
    # Half of nine is four as well, and it is the best: the fifth, since 4 has gone on already.
    assert ONE.promoted([*seen, at_rung(9, [0.05, 0.05])], "min") == (1, [9])
    assert ONE.promoted([*seen, at_rung(9, [0.45, 0.45])], "min") == (0, [])


@given(st.lists(curves, min_size=2, max_size=12), st.integers(1, 11))
def test_only_trials_that_are_put_back_go_on_beside_those_that_keep_says(values, count):
    back = {*range(max(1, len(values) - count), len(values))}
    fates = [EXCEPTION if i in back else PRUNED for i in range(len(values))]
    failed = [at_rung(i, curve, status=fates[i]) for i, curve in enumerate(values)]
    _, first = ONE.promoted(failed, "min")
    seen = [at_rung(i, curve, rung=int(i in first)) for i, curve in enumerate(values)]
    _, more = ONE.promoted(seen, "min")
    _, best = ONE.promoted([at_rung(i, curve) for i, curve in enumerate(values)], "min")
    assert {*best} <= {*first, *more}
    assert len(first) + len(more) - len(best) <= len(back.intersection(more))


def test_a_metric_to_maximise_and_what_was_shown_at_the_rung():
    assert best_until(at_rung(0, [0.2, 0.5, 0.9]), 2, -1) == 0.5
    assert best_until(at_rung(0, [0.4, 0.5, 0.1]), 2, 1) == 0.4
    assert TWO.promoted([at_rung(0, [0.1, 0.2]), at_rung(1, [0.3, 0.1])], "max") == (1, [1])


@given(st.floats(0.1, 0.9), st.integers(5, 50))
def test_cost_is_what_is_trained(keep, total):
    rungs = Rungs((2, 4), keep)
    assert rungs.cost(total) == pytest.approx((2 + 2 * keep + (total - 4) * keep**2) / total)


def test_a_stage_has_its_share_of_the_budget(tmp_path):
    study = made(tmp_path / "s", stages={"01_coarse": 12})
    stages = {
        "coarse": StageSettings(share=30),
        "fine": StageSettings(share=14),
        "finest": StageSettings(share=10, rungs=[0.25], keep=0.33),
    }
    settings = SearchSettings(study="s", stages=stages, action="search")
    study = dataclasses.replace(study, settings=settings)
    # Begun: as it was. 15 epochs stop behind 4: 10 / (4/15 + 0.33 · 11/15) = 19.7
    assert planned_trials(study) == {"01_coarse": 12, "02_fine": 14, "03_finest": 19}
    less = dataclasses.replace(settings, budget=38)
    assert planned_trials(dataclasses.replace(study, settings=less))["02_fine"] == 7
    whole = dataclasses.replace(settings, action="stage")
    assert planned_trials(dataclasses.replace(study, settings=whole))["03_finest"] == 10
    assert rungs_of({}) is None  # of a stage that an earlier version began


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search.rungs=[4,2]"], "search.rungs=[4.0, 2.0] should be rising epochs"),
        (["search.rungs=[1.5]"], "or shares of the training below 1"),
        (["search.keep=1.5"], "search.keep=1.5 should be a share between 0 and 1"),
        (["search.rungs=[2]", "search.pruner=asha"], "search.pruner=asha should be none beside"),
        (["search.rungs=[40]"], "a training ends after 15 epochs"),
        (["search.action=search", "search.budget=5"], "search.budget=5 should be more than 11"),
    ],
)
def test_slips_are_told_before_anything_runs(words, message, main: Main, capsys) -> None:
    assert main("-m", *words) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["pool", "stacked"])
def test_going_on_is_the_same_training(launcher: str, main: Main, runs: Path, capsys) -> None:
    assert main(*RUNGS, f"hydra/launcher={launcher}", "search.study=s") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "01_coarse: 3 of 6 trials go on behind epoch 2" in said
    assert ("trained one by one" in said) is False
    assert main(*STAGE, f"hydra/launcher={launcher}", "search.study=whole") == 0
    ours, theirs = trials(runs), trials(runs, study="whole")
    going = sorted(range(6), key=lambda i: min(list(theirs[i].curve.values())[:2]))[:3]
    for one, other in zip(ours, theirs, strict=True):
        assert one.point == other.point
        length = 5 if one.number in going else 2
        assert [*one.curve.values()] == [*other.curve.values()][:length]
        if one.number not in going:
            assert one.status == PRUNED
            continue
        here, there = (runs / s / f"01_coarse/{one.number}" for s in ("s", "whole"))
        result, alone = (json.loads((f / "result.json").read_text()) for f in (here, there))
        for field in ("status", "best", "best_epoch", "last", "epochs", "steps", "metrics"):
            assert result[field] == alone[field], field
        assert (here / "metrics.csv").read_text() == (there / "metrics.csv").read_text()
    # The command once more changes nothing.
    assert main(*RUNGS, f"hydra/launcher={launcher}", "search.study=s") == 0
    assert trials(runs) == ours


@pytest.mark.slow
def test_a_trial_that_is_killed_behind_a_rung_goes_on(main: Main, runs: Path) -> None:
    long = ["trainer.max_epochs=40", "hydra/launcher=pool", "hydra.launcher.num_workers=1"]
    assert main(*RUNGS, *long, "search.study=whole") == 0

    def kill() -> None:
        awaited(lambda: any(t.running and len(t.curve) > 4 for t in trials(runs)))
        (running,) = [t for t in trials(runs) if t.running]
        os.kill(running.pid or 0, signal.SIGKILL)

    with meanwhile(kill):
        assert main(*RUNGS, *long, "search.study=s") == 0
    for ours, whole in zip(trials(runs), trials(runs, study="whole"), strict=True):
        assert (ours.status, ours.curve, ours.rung) == (whole.status, whole.curve, whole.rung)
    assert sum(len(t.faults) for t in trials(runs)) == 1


@pytest.mark.slow
def test_trials_that_cannot_wait_are_trained_whole(main: Main, runs: Path, capsys) -> None:
    assert main(*RUNGS, "callbacks=none", "search.study=s", "search.num_trials=2") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "trained whole, without rungs: no callback keeps its last checkpoint" in said
    assert [t.status for t in trials(runs)] == [COMPLETE] * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["optimizer=adamw", "scheduler=warmup_cosine"],
        [
            "space=tier_2",
            "~space.data",
            "space.model.width=${integer:4,12}",
            "hydra.launcher.least=2",
        ],
        ["model._target_=stack_models.NormedMLP"],
        ["callbacks=early_stopping", "callbacks.early_stopping.patience=1"],
    ],
    ids=["adamw, a schedule by the step", "several widths", "batch norm", "early stopping"],
)
def test_a_stack_goes_on_as_it_was(words: list[str], main: Main, runs: Path, capsys) -> None:
    stack = ["hydra/launcher=stacked", "hydra.launcher.num_workers=1", *words]
    stage = [word for word in STAGE if "space=tier_2" not in words or word != "model.width=8"]
    assert main(*stage, "search.rungs=[2]", *stack, "search.study=s") == 0
    assert "one by one" not in capsys.readouterr().out
    assert main(*stage, *stack, "search.study=whole") == 0
    for ours, theirs in zip(trials(runs), trials(runs, study="whole"), strict=True):
        length = len(ours.curve)
        assert length == 2 or ours.rung == 1
        assert [*ours.curve.values()] == pytest.approx([*theirs.curve.values()][:length], rel=1e-4)
        if ours.rung:
            assert ours.status == theirs.status
            assert length == len(theirs.curve)
    assert sum(t.rung for t in trials(runs)) == 3
