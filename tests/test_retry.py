"""Trials that failed are put back, by `caviar retry`, and failed tests by the command itself."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus

from caviar.base.errors import UserError
from caviar.base.result import EXCEPTION, KILLED, TIMEOUT, Result
from caviar.ledger import Ledger, Planned
from caviar.ledger.writer import UNSEEN
from caviar.search.driver import run_claimable
from caviar.search.retry import failed_trials, put_back
from caviar.search.study import Study
from conftest import Main, trials
from made_studies import made
from test_ledger import POINT, SPACE, begun
from test_ledger import storage as storage  # a journal file, and SQLite

HERE = "hydra/launcher=basic"  # inside this process
RAISED = Result(EXCEPTION, error="ValueError: no")


def failing(ledger: Ledger, number: int, result: Result = RAISED, stage: str = "01") -> None:
    """A try of a trial, which fails."""
    assert ledger.claim(stage, number)
    ledger.report(stage, number, 0, 0.5)
    ledger.fail(stage, number, result, retries=0)


def test_a_failed_trial_waits_again_with_its_faults(storage: str) -> None:
    ledger = begun(storage, trials=3)
    failing(ledger, 0)
    failing(ledger, 1, Result(TIMEOUT, error="too long"))
    other = Ledger.open(storage, "s")  # of another process, which looked before
    assert other.trial("01", 1).failed
    assert ledger.retry("01", 0)
    assert ledger.retry("01", 1, resume=True)
    for reader in (ledger, other, Ledger.open(storage, "s")):
        anew, goes_on, untouched = reader.trials("01")
        assert [t.number for t in (anew, goes_on, untouched)] == [0, 1, 2]
        assert {t.status for t in (anew, goes_on, untouched)} == {"waiting"}
        assert (anew.faults, goes_on.faults, untouched.faults) == (
            ("ValueError: no",),
            ("too long",),
            (),
        )
        assert [(t.point, t.seed, t.note) for t in (anew, goes_on)] == [
            (POINT, 0, "note"),
            (POINT, 1, "note"),
        ]
        # What goes on from a checkpoint keeps what it had reported, and the sign that it has one.
        assert (anew.curve, goes_on.curve) == ({}, {0: 0.5})
        assert goes_on.claim
        assert not anew.claim
        assert reader.claimable("01") == [0, 1, 2]
    assert other.claim("01", 1)
    assert not ledger.claim("01", 1)
    other.report("01", 1, 1, 0.4)
    other.finish("01", 1, Result(best=0.4, best_epoch=1, last=0.4))
    done = ledger.trial("01", 1)
    assert (done.status, done.curve, done.faults) == ("complete", {0: 0.5, 1: 0.4}, ("too long",))
    # Trials that are added later have the numbers that they would have had.
    ledger.extend("01", [Planned(POINT, seed, "note") for seed in range(5)], SPACE)
    assert [t.seed for t in other.trials("01")] == [0, 1, 2, 3, 4]
    assert other.claim("01", 4)


def test_only_what_failed_is_put_back_and_only_once(storage: str) -> None:
    ledger = begun(storage, trials=3)
    ledger.claim("01", 1)
    ledger.claim("01", 2)
    ledger.finish("01", 2, Result(best=1.0, best_epoch=0, last=1.0))
    assert [ledger.retry("01", number) for number in range(3)] == [False] * 3
    ledger.fail("01", 1, RAISED, retries=0)

    def one_more(_: int) -> bool:
        return Ledger.open(storage, "s").retry("01", 1)

    with ThreadPoolExecutor(4) as at_once:
        assert sorted(at_once.map(one_more, range(4))) == [False, False, False, True]
    assert ledger.claimable("01") == [0, 1]
    failing(ledger, 1)
    assert ledger.retry("01", 1)
    assert ledger.trial("01", 1).faults == ("ValueError: no", "ValueError: no")


def test_a_trial_that_was_put_back_is_forgiven_as_a_new_one(storage: str) -> None:
    ledger = begun(storage)
    killed = Result(KILLED, error="killed by SIGKILL")
    for _ in range(2):
        for waits in (True, False):
            ledger.claim("01", 0)
            assert ledger.fail("01", 0, killed, retries=1) is waits
        assert ledger.retry("01", 0)
    trial = ledger.trial("01", 0)
    assert (len(trial.faults), trial.forgiven) == (4, 4)
    assert UNSEEN not in trial.faults


def test_a_stage_is_withdrawn_only_while_nothing_of_it_was_seen(storage: str) -> None:
    ledger, other = begun(storage, trials=2), Ledger.open(storage, "s")
    assert len(other.trials("01")) == 2
    ledger.claim("01", 0)
    assert not ledger.withdraw("01")
    ledger.fail("01", 0, RAISED, retries=0)
    assert ledger.withdraw("01")
    assert ledger.withdraw("01")  # it is gone already
    assert (ledger.stages(), other.trials("01")) == ([], [])
    again = begun(storage)
    assert len(other.trials("01")) == 1
    again.claim("01", 0)
    again.finish("01", 0, Result(best=1.0, best_epoch=0, last=1.0))
    assert not ledger.withdraw("01")


@pytest.fixture
def study(runs: Path) -> Study:
    """Of its trials 2 raised, 5 ran out of time, 7 waits."""
    fates = {2: EXCEPTION, 5: TIMEOUT, 7: "waiting"}
    return made(runs / "s", fate=lambda number: fates.get(number, "complete"))


def test_which_trials_are_put_back(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    def numbers(named: list[str], statuses: list[str]) -> list[int]:
        return [t.number for t in failed_trials(study, named, statuses)]

    assert numbers([], []) == [2, 5]
    assert numbers([], ["timeout"]) == [5]
    assert numbers([], ["killed", "exception"]) == [2]
    assert numbers([], ["out of memory"]) == []
    assert numbers(["01_coarse/5", "01_coarse/5"], []) == [5]
    for named, statuses, message in [
        (["01_coarse/0"], [], "01_coarse/0 is complete; only a trial that failed is put back"),
        (["01_coarse/7"], [], "01_coarse/7 is waiting"),
        (["01_coarse/12"], [], "01_coarse has the trials 0 to 11"),
        (["02_fine/0"], [], "has no stage 02_fine, but 01_coarse"),
        (["01_coarse"], [], "write STAGE/NUMBER, such as 01_coarse/3"),
        ([], ["pruned"], "should be one of out of memory, exception, timeout, killed"),
        (["01_coarse/2"], ["timeout"], "write one of the two"),
    ]:
        with pytest.raises(UserError, match=message):
            failed_trials(study, named, statuses)
    # Once the settings to confirm are chosen, and once the test set is open.
    study.ledger.begin("confirm", {"overrides": [], "settings": []}, "min")
    with pytest.raises(UserError, match="01_coarse/2 stays as it is: the settings to confirm are"):
        failed_trials(study, ["01_coarse/2"], [])
    assert numbers([], []) == []
    assert "01_coarse: 2 failed trials not put back: the settings" in capsys.readouterr().out
    study.ledger.begin("test", {}, "min")
    study.ledger.extend("test", [Planned({}, 0)], SPACE)
    assert not study.tested
    study.ledger.claim("test", 0)
    study.ledger.finish("test", 0, Result(best=0.1, last=0.1))
    assert study.tested
    with pytest.raises(UserError, match="is confirmed and its test set open"):
        failed_trials(study, ["01_coarse/2"], [])


def test_a_confirmation_that_is_put_back_is_tested_anew(study: Study) -> None:
    """What is tested follows from what was confirmed; but not while it is being tested."""
    ledger = study.ledger
    for stage in ("confirm", "test"):
        ledger.begin(stage, {"overrides": []}, "min")
        ledger.extend(stage, [Planned({}, 0), Planned({}, 1)], SPACE)
        for number in (0, 1):
            ledger.claim(stage, number)
            ledger.fail(stage, number, RAISED, retries=0)
    with pytest.raises(UserError, match="tests again what failed"):
        failed_trials(study, ["test/0"], [])
    ledger.retry("test", 1)
    ledger.claim("test", 1)
    (trial,) = failed_trials(study, ["confirm/1"], [])
    with pytest.raises(UserError, match="is being tested"):
        put_back(study, [trial])
    ledger.fail("test", 1, RAISED, retries=0)
    assert [t.number for t in put_back(study, [trial])] == [1]
    assert put_back(study, [trial]) == []  # somebody else was faster
    assert "test" not in study.stages()
    assert [t.status for t in ledger.trials("confirm")] == [EXCEPTION, "waiting"]


@pytest.mark.slow
def test_the_command_says_what_it_does(
    study: Study, caviar: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (runs / "s/study.journal").read_bytes()
    (runs / "s/02_fine.yaml").touch()
    assert caviar("retry", "search.study=s", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "to put back in study s:" in said
    assert "  01_coarse: exception (boom) · trial 2: lr=" in said
    assert "02_fine: refined without them, and unchanged; the next refine counts" in said
    assert (runs / "s/study.journal").read_bytes() == before
    assert caviar("retry", "search.study=s", "01_coarse/0") == 2
    assert caviar("status", "search.study=s") == 0
    capsys.readouterr()
    assert caviar("retry", "search.study=s", "01_coarse/5", "01_coarse/2") == 0
    said = capsys.readouterr().out
    assert "trial 5: lr=" in said
    assert said.count("goes on from its last checkpoint") == 1
    assert said.count("begins anew") == 1
    assert f"  python train.py -m search.study=s search.sweep={runs / 's/01_coarse.yaml'}" in said
    assert caviar("retry", "search.study=s") == 0
    assert "no trial of study s is to be put back" in capsys.readouterr().out


def test_a_driver_that_runs_takes_what_is_put_back(study: Study) -> None:
    """It met the fault of a trial that waits again by now, as it has been mended."""

    def launch(jobs: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        failing(study.ledger, first, stage="01_coarse")
        assert study.ledger.retry("01_coarse", first)
        return [JobReturn(_return_value=RuntimeError("no"), status=JobStatus.FAILED)]

    assert run_claimable(study.changed(launch=launch), "01_coarse", [])
    assert study.ledger.trial("01_coarse", 7).waiting


def printed_command(said: str) -> list[str]:
    """The command that `caviar retry` prints last."""
    return shlex.split(said.rstrip().splitlines()[-1])


@pytest.mark.nightly
@pytest.mark.slow
def test_mended_trials_run_again_to_the_results_of_an_undisturbed_stage(
    main: Main,
    caviar: Main,
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One that raised begins anew, one that hung goes on from its last checkpoint."""
    stage = ["-m", "search.num_trials=3", "trainer.max_epochs=3", "space=tier_2", "logger=csv"]
    stage += ["model._target_=slow_models.Unmended"]
    assert main(*stage, "search.study=undisturbed", HERE) == 0
    undisturbed = trials(runs, study="undisturbed")
    monkeypatch.setenv("UNMENDED", "train")
    assert main(*stage, "search.study=s", "hydra.launcher.timeout=9") == 0
    said = capsys.readouterr().out
    assert "timeout: ran longer than hydra.launcher.timeout" in said
    assert "caviar retry search.study=s" in said
    raised, hung, _ = range(3)
    assert [t.status for t in trials(runs)] == ["exception", "timeout", "complete"]
    assert [len(t.faults) for t in trials(runs)] == [1, 1, 0]  # it would hang again
    folder = runs / "s/01_coarse"
    traceback = (folder / f"{raised}/error.txt").read_text()

    monkeypatch.setenv("UNMENDED", "")
    assert caviar("retry", "search.study=s") == 0
    words = printed_command(capsys.readouterr().out)
    assert words[:2] == ["python", "train.py"]
    assert main(*words[2:], "hydra.launcher.timeout=60") == 0
    for mended, alone in zip(trials(runs), undisturbed, strict=True):
        assert mended.status == "complete"
        assert mended.curve == alone.curve
        assert mended.result is not None
        assert alone.result is not None
        assert mended.result.metrics == alone.result.metrics
    assert trials(runs)[raised].faults == ("ValueError: not mended",)
    assert len(trials(runs)[hung].faults) == 1
    assert (folder / f"{raised}/error.1.txt").read_text() == traceback
    assert not (folder / f"{raised}/error.txt").exists()
    # It had one epoch behind it: only the other two were trained again.
    assert (folder / f"{hung}/epochs.txt").read_text() == "0 1 1 2 "
    assert (folder / f"{raised}/epochs.txt").read_text() == "0 1 0 1 2 "


@pytest.mark.nightly
@pytest.mark.slow
def test_what_fails_in_the_end_does_not_cost_the_study(
    main: Main,
    caviar: Main,
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """First the default's confirmation fails, then each test, then one test; then all is mended.

    Nothing that had finished is trained again, and the test set is open once a result was seen.
    """
    few = ["search.stages.coarse.num_trials=2", "~search.stages.fine", "~search.stages.finest"]
    seeds = ["search.confirm.budget=4", "search.confirm.top=1", "trainer.max_epochs=1"]
    search = ["-m", "search.action=search", "search.study=s", "space=tier_2", "logger=none", *few]
    search += [*seeds, "search.confirm.test=always", "model._target_=slow_models.Unmended", HERE]
    refine = ["refine", "search.study=s"]

    monkeypatch.setenv("UNMENDED", "confirm")
    assert main(*search) == 1
    said = capsys.readouterr().err
    assert "every run of the default setting failed" in said
    assert "caviar retry search.study=s, and repeat the command" in said
    assert caviar("retry", "search.study=s") == 0
    words = printed_command(capsys.readouterr().out)
    assert words[:3] == ["caviar", "confirm", "search.study=s"]

    monkeypatch.setenv("UNMENDED", "test")
    assert caviar(*words[1:], HERE) == 1  # what it prints is what goes on
    assert "the same command tests again: its result was not seen" in capsys.readouterr().err
    trained = {p: p.stat().st_mtime_ns for p in (runs / "s/confirm").glob("*/result.json")}
    assert len(trained) == 4
    assert not (runs / "s/verdict.json").exists()
    assert caviar(*refine) == 2
    assert "test set" not in capsys.readouterr().err
    assert caviar("status", "search.study=s") == 0
    assert "tests again what failed" in capsys.readouterr().out

    monkeypatch.setenv("UNMENDED", "test 1")
    assert main(*search) == 1
    printed = capsys.readouterr()
    tests = trials(runs, "test")
    assert [t.status == EXCEPTION for t in tests] == [t.number == 1 for t in tests]
    assert f"1 of {len(tests)} tests failed, and the verdict lacks them" in printed.err
    assert "s: default against" in printed.out
    assert caviar(*refine) == 2
    assert "test set open" in capsys.readouterr().err
    assert caviar("retry", "search.study=s", "test/1") == 2
    assert "caviar confirm search.study=s" in capsys.readouterr().err

    monkeypatch.setenv("UNMENDED", "")
    assert main(*search) == 0
    verdict = json.loads((runs / "s/verdict.json").read_text())
    assert [len(verdict[who]["test"]["test/loss"]) for who in ("default", "winner")] == [2, 2]
    tests = trials(runs, "test")
    assert {t.status for t in tests} == {"complete"}
    assert [len(t.faults) for t in tests] == [1 + (t.number == 1) for t in tests]
    assert trained == {p: p.stat().st_mtime_ns for p in trained}
    capsys.readouterr()
    assert main(*search) == 0
    assert "study s is complete" in capsys.readouterr().out
