"""One study in a real PostgreSQL: a worker elsewhere, dead workers, a restart."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from caviar.base.result import EXCEPTION, KILLED, Result
from caviar.ledger import Ledger, Planned, Trial
from caviar.space import Axis, Log, Space
from conftest import Main, Start, awaited, meanwhile
from postgres import Server, programs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed (no initdb)"),
]
SPACE = Space((Axis("optimizer.lr", Log(1e-4, 1.0)),))
SLOW = ["model._target_=slow_models.Slow", "trainer.max_epochs=6", "data.batch_size=32"]
STAGE = ["search.study=s", "~space.data", "search.num_trials=4", "hydra/launcher=pool", *SLOW]
BEAT = "search.heartbeat=1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("postgres"))
    yield started
    started.stop()


@pytest.fixture
def storage(server: Server, request: pytest.FixtureRequest) -> str:
    """A database of this test's own, opened: filters of warnings are no matter for two threads."""
    made = server.database(f"test_{abs(hash(request.node.name))}")
    opened(made)
    return made


@cache
def opened(storage: str) -> Ledger:
    return Ledger.open(storage, "s")


def trials(storage: str) -> list[Trial]:
    return opened(storage).trials("01_coarse")


def begun(storage: str, count: int = 1) -> Ledger:
    ledger = Ledger.open(storage, "s", heartbeat=1)
    ledger.begin("01", {"seed": 3}, "min")
    plan = [Planned({"optimizer.lr": 0.01}, seed) for seed in range(count)]
    ledger.extend("01", plan, SPACE)
    return ledger


def test_a_silent_worker_loses_its_trial_to_another(storage: str) -> None:
    """And what it writes later is not written."""
    ledger, other = begun(storage), Ledger.open(storage, "s", heartbeat=1)
    assert ledger.claim("01", 0)
    assert not other.claim("01", 0)
    assert other.claimable("01") == []
    ledger._claims.drop(ledger._trial_id("01", 0))  # it beats no more, and believes that it does
    awaited(lambda: other.claimable("01") == [0])
    assert other.claim("01", 0)
    assert not ledger.finish("01", 0, Result(best=1.0, best_epoch=0, last=1.0))
    ledger.report("01", 0, 0, 7.0)
    assert other.finish("01", 0, Result(best=2.0, best_epoch=0, last=2.0))
    (trial,) = other.trials("01")
    assert trial.result is not None
    assert (trial.result.best, trial.curve, trial.faults) == (2.0, {}, ("its worker died",))


def test_many_trials_are_claimed_and_finished_together(storage: str) -> None:
    ledger, other = begun(storage, 5), Ledger.open(storage, "s", heartbeat=1)
    assert other.claim("01", 1)
    assert ledger.claim_all("01", range(4)) == [0, 2, 3]
    time.sleep(7)  # longer than a silent worker has
    assert other.claim_all("01", range(5)) == [4]
    ledger.report_all("01", [(n, 0, n + 0.5) for n in range(5)])
    results = [(n, Result(best=n + 0.5, best_epoch=0, last=1.0)) for n in range(5)]
    assert ledger.finish_all("01", results) == [0, 2, 3]
    assert [t.curve for t in other.trials("01")] == [{0: 0.5}, {}, {0: 2.5}, {0: 3.5}, {}]


def test_values_that_are_not_finite_are_kept(storage: str) -> None:
    ledger = begun(storage, 2)
    for number, value in enumerate((math.nan, math.inf)):
        ledger.claim("01", number)
        ledger.report("01", number, 0, value)
        ledger.finish("01", number, Result("diverged"))
    assert math.isnan(ledger.trial("01", 0).curve[0])
    assert ledger.trial("01", 1).curve[0] == math.inf


def test_a_fault_is_forgiven_once(storage: str) -> None:
    ledger = begun(storage)
    for waits in (True, False):
        ledger.claim("01", 0)
        killed = Result(KILLED, error="killed by SIGKILL")
        assert ledger.fail("01", 0, killed, retries=1, pid=os.getpid()) is waits
    assert ledger.trial("01", 0).status == KILLED


def test_a_trial_is_put_back_once(storage: str) -> None:
    ledger, other = begun(storage, 2), Ledger.open(storage, "s", heartbeat=1)
    ledger.claim("01", 0)
    ledger.fail("01", 0, Result(EXCEPTION, error="no"), retries=1)
    with ThreadPoolExecutor(2) as at_once:
        asked = [at_once.submit(one.retry, "01", 0) for one in (ledger, other)]
    assert sorted(one.result() for one in asked) == [False, True]
    assert other.claimable("01") == [0, 1]
    assert other.claim("01", 0)
    assert other.finish("01", 0, Result(best=2.0, best_epoch=0, last=2.0))
    (trial, _) = ledger.trials("01")
    assert (trial.status, trial.faults) == ("complete", ("no",))


def test_a_driver_and_a_worker_share_a_study(
    start: Start,
    main: Main,
    caviar: Main,
    storage: str,
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two drivers are shown on a file, in test_process.py; here all claims are by heartbeats."""
    gate = runs.parent / "both have begun"
    waits = ["model._target_=slow_models.Waits", f"+model.until='{gate}'", "trainer.max_epochs=2"]
    named = [f"search.storage={storage}", BEAT, "hydra.launcher.num_workers=1"]
    driver = start("train.py", "-m", *STAGE, *waits, *named)
    awaited(lambda: any(t.running for t in trials(storage)))

    def open_gate() -> None:
        awaited(lambda: sum(t.running for t in trials(storage)) == 2)
        gate.touch()

    monkeypatch.setenv("CAVIAR_RUNS", str(runs / "elsewhere"))
    with meanwhile(open_gate):
        assert caviar("worker", "search.study=s", *named, "search.idle=2") == 0
    printed = driver.wait()
    assert driver.code == 0, printed
    found = trials(storage)
    assert [t.status for t in found] == ["complete"] * 4
    assert not any(t.faults for t in found)
    assert len({t.claim["token"] for t in found}) == 4
    here, elsewhere = (
        sorted(int(f.parent.name) for f in runs.glob(f"{place}s/01_coarse/*/result.json"))
        for place in ("", "elsewhere/")
    )
    assert here
    assert elsewhere
    assert sorted(here + elsewhere) == list(range(4))  # each was trained once
    assert "no trial of study s is left" in capsys.readouterr().out


@pytest.mark.nightly
def test_the_trials_of_a_dead_machine_are_taken_over(
    start: Start, caviar: Main, storage: str
) -> None:
    named = [f"search.storage={storage}", BEAT, "hydra.launcher.num_workers=2"]
    driver = start("train.py", "-m", *STAGE, *named)
    awaited(lambda: any(t.running and t.curve for t in trials(storage)))
    lost = [t for t in trials(storage) if t.running]
    driver.popen.kill()
    for trial in lost:
        os.killpg(trial.pid or 0, signal.SIGKILL)
    driver.wait()
    assert all(trials(storage)[t.number].running for t in lost)  # nobody has noticed yet
    assert caviar("worker", "search.study=s", *named, "search.idle=9") == 0
    found = trials(storage)
    assert [t.status for t in found] == ["complete"] * 4
    assert all("its worker died" in found[t.number].faults for t in lost)


@pytest.mark.nightly
def test_a_restart_of_the_database_loses_nothing(main: Main, server: Server, storage: str) -> None:
    def restart() -> dict[int, Result | None]:
        awaited(lambda: any(t.running and t.curve for t in trials(storage)))
        before = {t.number: t.result for t in trials(storage) if t.finished}
        server.stop()
        time.sleep(3)  # for which the database is away
        server.start()
        return before

    with meanwhile(restart) as restarted:
        assert main("-m", *STAGE, f"search.storage={storage}", "hydra.launcher.num_workers=2") == 0
    before, found = restarted.result(), trials(storage)
    assert [t.status for t in found] == ["complete"] * 4
    assert {n: found[n].result for n in before} == before
    assert not any(t.faults for t in found)


def test_a_wrong_address_is_a_clear_message(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = "search.storage=postgresql://caviar@127.0.0.1:1/nowhere"
    assert main("-m", *STAGE, nowhere) == 2
    printed = capsys.readouterr().err
    assert "search.storage=postgresql://caviar@127.0.0.1:1/nowhere" in printed
    assert "Traceback" not in printed
