"""The rounds of a confirmation: given out by the ledger alone, so a kill or a second driver changes
nothing; what a seed that failed means; and studies that an earlier version began to confirm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from caviar.base.errors import SearchFailed, UserError
from caviar.base.result import COMPLETE, DIVERGED, EXCEPTION, Result
from caviar.ledger import Ledger, Planned
from caviar.search.confirm import confirm, confirm_spec, print_plan
from caviar.search.loop import print_verdict
from caviar.search.retry import going_on, put_back
from caviar.search.settings import VERDICT, ConfirmSettings
from caviar.search.study import Study
from caviar.search.verdict import Verdict, read_verdict, write_verdict
from caviar.space import Space
from conftest import ROOT
from made_studies import LR, WIDTH, made

Value = Callable[[str, int], float]  # of a setting and its seed's number; NaN: it fails
MEANS = {"default": 0.6, "candidate 1": 0.5, "candidate 2": 0.3, "candidate 3": 0.4}


def usual(note: str, k: int) -> float:
    return MEANS[note] + 0.01 * (k % 3) + 0.002 * len(note) * (k % 2)


class Killed(BaseException):
    """As if the driver had been killed."""


def opened(
    runs: Path, value: Value = usual, budget: int = 11, dies_after: int = 10**6, mode: str = "min"
) -> Study:
    """A searched study whose trainings are these values; the driver dies after so many."""
    folder = runs / "s"
    fresh = made(folder, Space((LR, WIDTH)), mode=mode) if not folder.exists() else None
    ledger, left = Ledger.open(str(folder / "study.journal"), "s"), [dies_after]

    def launch(jobs: Sequence[Sequence[str]], first: int) -> None:
        for job in jobs:
            if not left[0]:
                raise Killed
            left[0] -= 1
            number = int(next(o for o in job if o.startswith("trial.number=")).partition("=")[2])
            trials = ledger.trials("confirm")
            seeds = [t.seed for t in trials if t.note == trials[number].note]
            called = names(ledger)[trials[number].note]
            best = value(called, seeds.index(trials[number].seed))
            assert ledger.claim("confirm", number)
            if math.isnan(best):
                ledger.fail("confirm", number, Result(EXCEPTION, error="boom"), retries=0)
                continue
            told = Result(COMPLETE, best=best) if math.isfinite(best) else Result(DIVERGED)
            ledger.finish("confirm", number, told)

    study = fresh or made(runs / "unused", Space((LR, WIDTH)), mode=mode)
    settings = replace(study.settings, study="s", confirm=ConfirmSettings(budget=budget))
    return replace(
        study,
        settings=settings,
        folder=folder,
        storage=str(folder / "study.journal"),
        launch=launch,
    )


@pytest.fixture(autouse=True)
def project(runs: Path, monkeypatch: pytest.MonkeyPatch, hydra_state: None) -> None:
    monkeypatch.chdir(ROOT)


def given(study: Study) -> list[tuple[str, int]]:
    """Setting and seed of each training, in order."""
    called = names(study.ledger)
    return [(called[t.note], t.seed) for t in study.ledger.trials("confirm")]


def names(ledger: Ledger) -> dict[str, str]:
    """What a setting is called here, by its note: `candidate 1` is the most promising one."""
    notes = [c["note"] for c in ledger.spec("confirm")["settings"]]
    return {note: f"candidate {i}" if i else "default" for i, note in enumerate(notes)}


def values_of(study: Study, verdict: Verdict) -> dict[str, list[float]]:
    called = names(study.ledger)
    return {called[s.note]: s.values for _, s in verdict.rows()}


def winner_of(study: Study, verdict: Verdict) -> str:
    return names(study.ledger)[verdict.winner.note]


def test_the_worse_half_drops_out_and_the_last_meets_the_default(runs: Path) -> None:
    study = opened(runs)
    found = confirm(study)
    counts = {note: len(values) for note, values in values_of(study, found).items()}
    assert counts == {"default": 4, "candidate 2": 4, "candidate 3": 2, "candidate 1": 1}
    assert winner_of(study, found) == "candidate 2"
    assert found.clear
    # Seed k is the same for every setting.
    by_note: dict[str, list[int]] = {}
    for note, seed in given(study):
        by_note.setdefault(note, []).append(seed)
    assert all(seeds == by_note["default"][: len(seeds)] for seeds in by_note.values())


@pytest.mark.parametrize("dies_after", range(12))
def test_a_kill_changes_nothing(runs: Path, dies_after: int) -> None:
    study = opened(runs, dies_after=dies_after)
    if dies_after < 11:
        with pytest.raises(Killed):
            confirm(study)
    found = confirm(study := opened(runs))
    assert [note for note, _ in given(study)] == [
        *("default", "candidate 1", "candidate 2", "candidate 3"),
        *("default", "candidate 2", "candidate 3"),
        *("default", "candidate 2") * 2,
    ]
    assert values_of(study, found)["candidate 2"] == [usual("candidate 2", k) for k in range(4)]


def test_the_mode_max_prefers_what_is_larger(runs: Path) -> None:
    found = confirm(study := opened(runs, lambda note, k: 1 - usual(note, k), mode="max"))
    assert winner_of(study, found) == "candidate 2"
    assert found.gain > 0
    assert found.clear


@pytest.mark.parametrize("worst", [math.inf, math.nan])
def test_a_candidate_with_a_seed_that_diverged_or_failed_is_no_winner(
    runs: Path, worst: float
) -> None:
    study = opened(runs, lambda n, k: worst if (n, k) == ("candidate 2", 2) else usual(n, k))
    found = confirm(study)
    assert winner_of(study, found) != "candidate 2"
    assert values_of(study, found)["candidate 2"][2] == math.inf


@pytest.mark.parametrize("lost", [0, 1])
def test_a_failed_seed_of_the_default_is_left_out_of_all(
    runs: Path, lost: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def value(note: str, k: int) -> float:
        return math.nan if (note, k) == ("default", lost) else usual(note, k)

    found = confirm(study := opened(runs, value, budget=13))
    kept = [k for k in range(5) if k != lost]
    assert found.default.values == [usual("default", k) for k in kept]
    assert found.winner.values == [usual("candidate 2", k) for k in kept]
    assert found.paired.pairs == 4
    write_verdict(found, study.folder / VERDICT)
    assert read_verdict(study.folder / VERDICT).sentence() == found.sentence()
    print_verdict(found, study)
    assert ("none" in capsys.readouterr().out) == (lost == 0)  # candidate 1 has had that seed alone


def test_without_any_run_of_the_default_no_more_is_spent(runs: Path) -> None:
    study = opened(runs, lambda n, k: math.nan if n == "default" else usual(n, k))
    with pytest.raises(SearchFailed, match="every run of the default setting failed"):
        confirm(study)
    assert len(given(study)) == 7  # one failure may be its seed's
    # Mended, it goes on with the same seeds.
    put_back(study, [t for t in study.ledger.trials("confirm") if t.failed])
    study = opened(runs)
    assert winner_of(study, confirm(study)) == "candidate 2"


def test_a_default_that_is_best_is_kept(runs: Path) -> None:
    found = confirm(opened(runs, lambda n, k: 0.1 + k / 100 if n == "default" else usual(n, k)))
    assert found.winner is found.default
    assert found.sentence().endswith("; keep it.")
    assert len(found.others) == 3
    assert found.decided


def noisy(note: str, k: int) -> float:
    """A gain that four pairs do not show, and more of them do."""
    if note == "default":
        return 0.6
    if note != "candidate 2":
        return 0.9
    return [0.5, 0.6, 0.4, 0.55][k] if k < 4 else 0.2 + 0.01 * (k % 3)


def test_a_race_may_be_given_a_larger_budget_and_never_a_smaller_one(runs: Path) -> None:
    with pytest.raises(Killed):
        confirm(opened(runs, noisy, dies_after=8))
    with pytest.raises(UserError, match="begun with another confirm"):
        confirm(opened(runs, noisy, budget=10))
    study = opened(runs, noisy, budget=20)
    confirm(study)
    assert 11 < len(given(study)) <= 20


def judged(study: Study) -> Verdict:
    """Confirmed, and written down as the loop does."""
    found = confirm(study)
    write_verdict(found, study.folder / VERDICT)
    return read_verdict(study.folder / VERDICT)


def test_the_test_set_stays_shut_until_more_seeds_have_decided(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = judged(study := opened(runs, noisy))
    assert first.open
    assert not first.decided
    assert "test" not in study.stages()
    assert not study.complete
    assert study.closed == "is confirmed"  # and no search goes on, all the same
    print_verdict(first, study)
    assert "without a new search: caviar confirm search.study=s" in capsys.readouterr().out

    # The same command again has trained nothing, and so it is no second look.
    assert judged(opened(runs, noisy)).looks == 0
    done = given(study)
    second = judged(study := opened(runs, noisy, budget=40))
    assert given(study)[: len(done)] == done
    assert {note for note, _ in given(study)[len(done) :]} == {"default", winner_of(study, second)}
    assert second.looks == 1
    assert second.clear
    assert second.decided
    assert "test" in study.stages()
    assert study.complete
    # What is being tested was decided before; a budget does not decide it anew.
    done = given(study)
    confirm(opened(runs, noisy, budget=80))
    assert given(study) == done


def test_an_open_verdict_may_be_let_be(runs: Path) -> None:
    assert not judged(opened(runs, noisy)).decided
    study = opened(runs, noisy)
    study.settings.confirm.test = "always"
    found = judged(study)
    assert found.decided
    assert not found.clear
    assert "test" in study.stages()
    assert study.complete


def test_an_earlier_versions_study_keeps_its_seeds(runs: Path) -> None:
    study = opened(runs)
    spec = confirm_spec(study)
    seeds = {"default_seeds": 5, "top": 3, "seeds": 2}
    settings: list[dict[str, Any]] = [
        {**c, "seeds": 5 if c["note"] == "default" else 2} for c in spec["settings"]
    ]
    study.ledger.begin("confirm", {**spec, "confirm": seeds, "settings": settings}, "min")
    found = confirm(study)
    counts = {note: len(values) for note, values in values_of(study, found).items()}
    assert counts == {"default": 5, "candidate 2": 2, "candidate 3": 2, "candidate 1": 2}
    assert "over 2 pairs of seeds, where 4 are needed" in found.sentence()
    assert going_on(study, study.ledger.trials("confirm")) == ["caviar confirm search.study=s"]


def test_a_dry_run_prints_the_first_round(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(opened(runs))
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_two_drivers_give_out_the_same_round(runs: Path) -> None:
    """Both extend by position: what the other has added is not added again."""
    study = opened(runs)
    confirm(study)
    ledger = Ledger.open(study.storage, "s")
    plan = [t.planned for t in ledger.trials("confirm")]
    ledger.extend("confirm", [*plan[:7], Planned({}, 1, "default")], Space(()))
    assert [t.planned for t in ledger.trials("confirm")] == plan
