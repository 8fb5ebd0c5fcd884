"""The ledger: claims, results, and files that survive kills and full disks."""

from __future__ import annotations

import math
import multiprocessing
import resource
from pathlib import Path

import pytest

from caviar.errors import UserError
from caviar.ledger import Ledger, only_driver
from caviar.result import DIVERGED, FAILED, Result
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
    for seed in range(trials):
        ledger.add("01", POINT, SPACE, seed, "note")
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
    ledger.finish("01", 0, Result(FAILED, error="ValueError: no"))
    trial = ledger.trials("01")[0]
    assert trial.status == FAILED
    assert trial.result is not None
    assert math.isnan(trial.result.loss("min"))


def claim_all(storage: str, count: int, won: multiprocessing.Queue[int]) -> None:
    ledger = Ledger.open(storage, "s")
    for number in range(count):
        if ledger.claim("01", number):
            won.put(number)


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


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """The system itself stops the write in the middle of a line."""
    path = tmp_path / "study.journal"
    ledger = begun(str(path), trials=100)
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 30, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            ledger.add("01", POINT, SPACE, 7, "x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == whole
    assert Ledger.open(str(path), "s").claim("01", 0)
    assert path.read_bytes().startswith(whole)


def test_an_unreachable_database_is_named_without_its_password() -> None:
    with pytest.raises(UserError, match=r"search.storage=nosuch://me@host/db") as raised:
        Ledger.open("nosuch://me:secret@host/db", "s")
    assert "secret" not in str(raised.value).splitlines()[0].split(": ")[0]


def test_a_study_has_one_driver_at_a_time(tmp_path: Path) -> None:
    with (
        only_driver(tmp_path),
        pytest.raises(UserError, match="is being searched by process"),
        only_driver(tmp_path),
    ):
        pass
    with only_driver(tmp_path):
        pass
