"""The ledger: claims, results, and files that survive kills and full disks."""

from __future__ import annotations

import fcntl
import math
import multiprocessing
import os
import resource
import signal
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest

from caviar.base.errors import UserError
from caviar.base.result import DIVERGED, EXCEPTION, KILLED, PRUNED, TIMEOUT, Result
from caviar.ledger import WAITING, Ledger, Planned
from caviar.ledger.trials import distribution
from caviar.ledger.writer import UNSEEN
from caviar.space import Axis, Choice, Log, Space

SPACE = Space((Axis("optimizer.lr", Log(1e-4, 1.0)), Axis("act", Choice(("relu", None, 3)))))
POINT = {"optimizer.lr": 0.01, "act": None}


@pytest.fixture(params=["study.journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/study.db"
    return str(tmp_path / request.param)


def begun(storage: str, trials: int = 1, mode: str = "min") -> Ledger:
    ledger = Ledger.open(storage, "s")
    ledger.begin("01", {"seed": 3}, mode)
    ledger.extend("01", [Planned(POINT, seed, "note") for seed in range(trials)], SPACE)
    return ledger


def test_a_trial_goes_from_waiting_to_its_result(storage: str) -> None:
    ledger = begun(storage)
    assert ledger.trials("01")[0].status == "waiting"
    assert ledger.claim("01", 0)
    assert not ledger.claim("01", 0)
    assert ledger.trials("01")[0].status == "running"
    ledger.report("01", 0, 0, 0.5)
    ledger.report("01", 0, 1, 0.4)
    ledger.finish("01", 0, Result(best=0.4, best_epoch=1, last=0.4, seed=7))
    trial = Ledger.open(storage, "s").trials("01")[0]
    assert (trial.status, trial.point, trial.note) == ("complete", POINT, "note")
    assert trial.curve == {0: 0.5, 1: 0.4}
    assert trial.result is not None
    assert trial.result.best == 0.4
    assert not ledger.claim("01", 0)


def test_facts_are_those_of_the_beginning(storage: str) -> None:
    ledger = begun(storage)
    assert ledger.begin("01", {"seed": 4}, "min") == {"seed": 3}


def test_stages_keep_their_order_and_studies_apart(storage: str) -> None:
    begun(storage)
    other = Ledger.open(storage, "s2")
    for stage in ("b", "a"):
        other.begin(stage, {}, "min")
    assert other.stages() == ["b", "a"]
    assert Ledger.open(storage, "s").stages() == ["01"]


def test_a_released_trial_can_be_claimed_again(storage: str) -> None:
    ledger = begun(storage)
    ledger.claim("01", 0)
    ledger.release("01", 0)
    assert ledger.claim("01", 0)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_diverged_trial_is_a_result_and_worst(storage: str, mode: str) -> None:
    ledger = begun(storage, mode=mode)
    ledger.claim("01", 0)
    ledger.finish("01", 0, Result(DIVERGED, best=0.1))
    trial = ledger.trials("01")[0]
    assert trial.status == DIVERGED
    assert trial.result is not None
    assert trial.result.loss(mode) == math.inf


def test_a_failed_trial_has_no_value(storage: str) -> None:
    ledger = begun(storage)
    ledger.claim("01", 0)
    ledger.finish("01", 0, Result(EXCEPTION, error="ValueError: no"))
    trial = ledger.trials("01")[0]
    assert trial.status == EXCEPTION
    assert trial.result is not None
    assert math.isnan(trial.result.loss("min"))


def claim_all(storage: str, count: int, won: multiprocessing.Queue[int]) -> None:
    ledger = Ledger.open(storage, "s")
    for number in range(count):
        if ledger.claim("01", number):
            won.put(number)
            ledger.finish("01", number, Result(best=1.0, best_epoch=0, last=1.0))


@pytest.mark.slow
def test_four_processes_claim_every_trial_once(storage: str) -> None:
    begun(storage, trials=20)
    context = multiprocessing.get_context("spawn")
    won: multiprocessing.Queue[int] = context.Queue()
    workers = [context.Process(target=claim_all, args=(storage, 20, won)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert sorted(won.get(timeout=5) for _ in range(20)) == list(range(20))
    assert won.empty()


def claim_and_die(storage: str) -> None:
    assert Ledger.open(storage, "s").claim("01", 0)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_the_trial_of_a_dead_process_can_be_claimed(storage: str) -> None:
    ledger = begun(storage)
    process = multiprocessing.get_context("spawn").Process(target=claim_and_die, args=(storage,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert ledger.trial("01", 0).running
    assert ledger.claimable("01") == [0]
    assert ledger.claim("01", 0)
    assert ledger.claimable("01") == []
    assert ledger.trial("01", 0).faults == (UNSEEN,)
    # As when the power failed: the first fault that somebody sees is still forgiven.
    killed = Result(KILLED, seed=1, error="killed by SIGKILL")
    assert ledger.fail("01", 0, killed, retries=1)
    assert ledger.claim("01", 0)
    assert not ledger.fail("01", 0, killed, retries=1)
    assert ledger.trial("01", 0).faults == (UNSEEN, killed.error, killed.error)


def test_claims_leave_no_files_behind(storage: str, tmp_path: Path) -> None:
    ledger = begun(storage, trials=3)
    for number in range(3):
        ledger.claim("01", number)
    assert len(list(tmp_path.glob("*.claims/[0-9]*"))) == 3
    ledger.finish("01", 0, Result(best=1.0, best_epoch=0, last=1.0))
    ledger.release("01", 1)
    assert not ledger.fail("01", 2, Result(EXCEPTION, error="no"), retries=1)
    assert [t.status for t in ledger.trials("01")] == ["complete", "waiting", EXCEPTION]
    assert not list(tmp_path.glob("*.claims/[0-9]*"))


def test_only_what_the_machine_may_have_done_is_forgiven(storage: str) -> None:
    ledger = begun(storage, trials=2)
    for number, status in enumerate((KILLED, TIMEOUT)):
        ledger.claim("01", number)
        again = ledger.fail("01", number, Result(status, error=status), retries=1)
        assert again is (status == KILLED)
    ledger.claim("01", 0)
    assert not ledger.fail("01", 0, Result(KILLED, error="killed again"), retries=1)
    assert ledger.trial("01", 0).status == KILLED
    assert ledger.trial("01", 0).faults == (KILLED, "killed again")


def test_a_pruned_trial_keeps_its_value(storage: str) -> None:
    ledger = begun(storage)
    ledger.claim("01", 0)
    ledger.finish("01", 0, Result(PRUNED, best=0.3, best_epoch=1, last=0.4))
    trial = ledger.trials("01")[0]
    assert trial.status == PRUNED
    assert trial.result is not None
    assert trial.result.loss("min") == 0.3


def test_a_torn_last_line_is_cut_off_before_the_next_is_written(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    begun(str(path), trials=2)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":4,"worker')  # killed in the middle of a line
    ledger = Ledger.open(str(path), "s")
    assert len(ledger.trials("01")) == 2
    assert ledger.claim("01", 1)
    statuses = [t.status for t in Ledger.open(str(path), "s").trials("01")]
    assert statuses == ["waiting", "running"]
    assert path.read_bytes().startswith(whole)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Held as by another process: flock does not know who opened a file."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a_locked_ledger_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    ledger = begun(str(path))
    with ThreadPoolExecutor(1) as other:
        with locked(path), locked(Path(f"{path}.claims/all")):
            claimed = other.submit(ledger.claim, "01", 0)
            with pytest.raises(TimeoutError):
                claimed.result(0.3)
        assert claimed.result(20)
    assert ledger.trial("01", 0).running


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """The system itself stops the write in the middle of a line."""
    path = tmp_path / "study.journal"
    ledger = begun(str(path), trials=100)
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 30, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            ledger.extend("01", [Planned(POINT, 7, "x" * 100)] * 101, SPACE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == whole
    assert Ledger.open(str(path), "s").claim("01", 0)
    assert path.read_bytes().startswith(whole)


def test_many_trials_are_claimed_reported_and_finished_together(storage: str) -> None:
    ledger, other = begun(storage, trials=6), Ledger.open(storage, "s")
    assert other.claim("01", 1)
    assert ledger.claim_all("01", [0, 1, 2, 3, 3], slot=7) == [0, 2, 3]
    assert ledger.claim_all("01", [0, 2]) == []
    # Of another's trial, and of one that nobody has, nothing is written.
    ledger.report_all("01", [(n, point, n + 0.5) for point in (0, 1) for n in (0, 1, 2, 5)])
    results = [(n, Result(best=n + 0.5, best_epoch=0, last=1.0)) for n in (0, 1, 2)]
    diverged = (3, Result(DIVERGED))
    assert ledger.finish_all("01", [*results, diverged, (5, Result(best=1.0))]) == [0, 2, 3]
    found = Ledger.open(storage, "s").trials("01")
    assert [t.status for t in found] == [
        "complete",
        "running",
        "complete",
        DIVERGED,
        *2 * [WAITING],
    ]
    assert [t.curve for t in found[:3]] == [{0: 0.5, 1: 0.5}, {}, {0: 2.5, 1: 2.5}]
    assert [t.result.best for t in found if t.result] == [0.5, 2.5, None]
    assert found[0].claim["slot"] == 7
    assert ledger.claim_all("01", range(6)) == [4, 5]
    assert ledger.claim_all("01", []) == ledger.finish_all("01", []) == []


def test_those_put_back_are_claimed_together(storage: str) -> None:
    ledger = begun(storage, trials=3)
    ledger.claim_all("01", range(3))
    ledger.finish_all("01", [(n, Result(EXCEPTION, error="no")) for n in range(3)])
    assert ledger.retry("01", 1)
    assert ledger.claim_all("01", range(3)) == [1]
    ledger.finish_all("01", [(1, Result(best=1.0, best_epoch=0, last=1.0))])
    assert [t.status for t in ledger.trials("01")] == [EXCEPTION, "complete", EXCEPTION]


def test_a_process_may_have_more_trials_than_files(tmp_path: Path) -> None:
    """A system allows 1024 open files at first, and many times more to who asks."""
    ledger = begun(str(tmp_path / "study.journal"), trials=100)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 20, hard))
    try:
        assert ledger.claim_all("01", range(100)) == [*range(100)]
    finally:
        for number in range(100):
            ledger.release("01", number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_full_disk_takes_all_of_many_or_none(tmp_path: Path) -> None:
    """And what was refused can be written once there is room."""
    path = tmp_path / "study.journal"
    ledger = begun(str(path), trials=50)

    @contextmanager
    def full() -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 1000, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with full():
        ledger.claim_all("01", range(50))
    assert ledger.claimable("01") == [*range(50)]
    assert Ledger.open(str(path), "s").claim("01", 49)  # it was let go
    assert ledger.claim_all("01", range(50)) == [*range(49)]
    results = [(n, Result(best=1.0, best_epoch=0, last=1.0)) for n in range(49)]
    with full():
        ledger.finish_all("01", results)
    assert all(t.running for t in ledger.trials("01"))
    assert ledger.finish_all("01", results) == [*range(49)]


def test_optuna_reads_what_was_written(tmp_path: Path) -> None:
    """So its dashboard does."""
    path = tmp_path / "study.journal"
    ledger = begun(str(path), trials=4, mode="max")
    ledger.claim_all("01", range(3))
    ledger.report_all("01", [(0, 0, 0.25), (0, 1, 0.5), (2, 0, math.nan)])
    pruned = Result(PRUNED, best=0.1, best_epoch=0, last=0.1)
    best = Result(best=0.5, best_epoch=1, last=0.5)
    ledger.finish_all("01", [(0, best), (1, pruned), (2, Result(DIVERGED))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        study = optuna.load_study(
            study_name="s/01", storage=optuna.storages.JournalStorage(backend)
        )
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert study.best_value == 0.5
    assert [t.state.name for t in study.trials] == ["COMPLETE", "PRUNED", "COMPLETE", "WAITING"]
    assert [t.value for t in study.trials] == [0.5, 0.1, -math.inf, None]
    assert all(t.params == POINT for t in study.trials)
    assert study.trials[0].intermediate_values == {0: 0.25, 1: 0.5}
    assert study.trials[0].duration is not None
    shown = study.trials[0].distributions
    assert shown == {axis.name: distribution(axis) for axis in SPACE}


@pytest.mark.parametrize(
    ("storage", "shown"),
    [
        ("mysql://me:secret@host/db", "mysql://me@host/db"),
        ("mysql+pymysql://me:secret@host:3306/db", "mysql+pymysql://me@host:3306/db"),
        ("mysql://me:sec?ret@host/db", "mysql://me@host/db"),
        ("mssql://host/db?password=secret", "mssql://host/db"),
        ("mssql://host/db?password=se@cret", "mssql://host/db"),
        ("oracle://host/db", "oracle://host/db"),
        ("redis://:secret@host", "redis://@host"),
        ("postgres://host/db", "postgres://host/db"),
        ("nosuch://me:secret@host/db", "nosuch://me@host/db"),
        ("sqlite://", "sqlite://"),  # in memory: every process would have its own
    ],
)
def test_only_what_machines_can_share_is_a_ledger(
    storage: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the refusal shows no password, and leaves no file."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as refused:
        Ledger.open(storage, "s")
    message = str(refused.value)
    assert message.startswith(f"search.storage={shown}: ")
    assert all(kind in message for kind in ("PATH", "sqlite:///", "postgresql://"))
    assert not any(part in message for part in ("secret", "cret", "password"))
    assert not list(tmp_path.iterdir())


def test_an_unreachable_database_is_named_without_its_password() -> None:
    """Nothing listens on port 1."""
    with pytest.raises(UserError) as raised:
        Ledger.open("postgresql://me:secret@127.0.0.1:1/db", "s")
    assert str(raised.value).startswith("search.storage=postgresql://me@127.0.0.1:1/db: ")
    assert "secret" not in str(raised.value)
