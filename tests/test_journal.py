"""Reading a journal: as Optuna reads the same file, and past snapshots that do not fit."""

from __future__ import annotations

import json
import math
import os
import pickle
import random
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caviar.base.result import DIVERGED, EXCEPTION, Length, Result
from caviar.ledger import Ledger, Planned, Trial, journal, snapshot
from caviar.ledger.journal import Journal
from caviar.ledger.overview import Overview
from caviar.space import Axis, Log, Space

SPACE = Space((Axis("optimizer.lr", Log(1e-4, 1.0)),))


def begun(path: Path, trials: int = 4) -> Ledger:
    ledger = Ledger.open(str(path), "s")
    ledger.begin("01", {"seed": 3}, "min")
    ledger.extend("01", [Planned({"optimizer.lr": 0.01}, n) for n in range(trials)], SPACE)
    return ledger


def as_optuna_has_it(path: Path) -> optuna.storages.BaseStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        return optuna.storages.JournalStorage(backend)


def same_as_optuna(path: Path) -> None:
    """Every fact of every try, by both readers."""
    storage, ours = as_optuna_has_it(path), Journal(path)
    studies = storage.get_all_studies()
    assert {s.study_name: s._study_id for s in studies} == ours.stages()
    for study in studies:
        assert ours.stage(study._study_id).attributes == study.user_attrs
        latest: dict[int, optuna.trial.FrozenTrial] = {}
        for frozen in storage.get_all_trials(study._study_id):
            latest[frozen.user_attrs.get("try_of", len(latest))] = frozen
        tries = ours.tries(study._study_id, [*latest], {})
        assert len(ours.stage(study._study_id).latest) == len(latest)
        for one, frozen in zip(tries, latest.values(), strict=True):
            assert one.id == frozen._trial_id
            assert one.state == frozen.state
            assert one.attributes == frozen.user_attrs
            assert repr(one.curve) == repr(frozen.intermediate_values)  # NaN is not itself
            assert one.started == frozen.datetime_start


def anything(ledger: Ledger, chance: random.Random) -> None:
    """One step of somebody who may do everything a ledger can."""
    stage, number = chance.choice(ledger.stages()), chance.randrange(6)
    if number >= len(ledger.trials(stage)):
        plan = [Planned({"optimizer.lr": 0.01}, n, "é") for n in range(number + 1)]
        ledger.extend(stage, plan, SPACE)
        return
    result = chance.choice([Result(best=0.5, seconds=2.0), Result(DIVERGED), Result(EXCEPTION)])
    step = chance.randrange(9)
    if step < 3:
        ledger.claim(stage, number, slot=1)
    elif step < 5:
        ledger.report(stage, number, chance.randrange(4), chance.choice([0.5, math.nan, -1e9]))
    elif step == 5:
        ledger.finish(stage, number, result)
    elif step == 6:
        ledger.retry(stage, number, resume=chance.random() < 0.5)
    elif step == 7:
        ledger.measure(stage, number, Length("step", 100, 10))
        ledger.release(stage, number)
    else:
        ledger.withdraw("02")
        ledger.begin("02", {"seed": 4}, "max")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_it_reads_what_optuna_reads(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """And what it has read bit by bit is what one reads who comes later, with a snapshot or not."""
    path = tmp_path_factory.mktemp("ledger") / "study.journal"
    chance, ledger = random.Random(seed), begun(path)
    for stage in ("02", "03"):
        ledger.begin(stage, {}, "max")
    for _ in range(40):
        anything(ledger, chance)
        if chance.random() < 0.2:
            ledger.trials("01")
        if chance.random() < 0.1:
            store = Journal(path)
            snapshot.save(store._replay, store._beside, path, store._upto)
    same_as_optuna(path)
    fresh = Ledger.open(str(path), "s")
    for stage in ledger.stages():
        shown = [repr(one.trials(stage)) for one in (ledger, fresh)]
        assert shown[0] == shown[1]
        same_overview(fresh.overview(stage), fresh.trials(stage))


def same_overview(ours: Overview, trials: list[Trial]) -> None:
    plain = Overview.of(trials, ours.mode)
    named = [[one.statuses[code] for code in one.codes] for one in (ours, plain)]
    assert named[0] == named[1] == [t.status for t in trials]
    assert np.array_equal(ours.values, plain.values, equal_nan=True)
    assert (ours.best(9), ours.failed, ours.running) == (plain.best(9), plain.failed, plain.running)
    assert (ours.finished, ours.faults) == (plain.finished, plain.faults)
    assert (ours.done, ours.unfinished) == (plain.done, plain.unfinished)
    assert ours.mean_seconds == plain.mean_seconds


def test_what_optuna_wrote_is_read(tmp_path: Path) -> None:
    """As the studies of earlier versions, and whatever a user does with Optuna's own tools."""
    path = tmp_path / "study.journal"
    study = optuna.create_study(study_name="s/01", storage=as_optuna_has_it(path))
    study.set_user_attr("facts", {"seed": 3})
    study._storage.set_study_system_attr(study._study_id, "of", "optuna")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    study.enqueue_trial({"x": 0.5})
    trial = study.ask()
    trial.report(0.25, 1)
    same_as_optuna(path)
    assert Ledger.open(str(path), "s").overview("01").counts["running"] == 1


def saved(path: Path) -> Path:
    store = Journal(path)
    snapshot.save(store._replay, store._beside, path, store._upto)
    return store._beside


def lies(path: Path, beside: Path, how: str) -> None:
    """Make the snapshot one that does not fit."""
    with np.load(beside, allow_pickle=False) as file:
        columns = dict(file)
    head = json.loads(columns["head"].tobytes())
    if how == "cut off":
        beside.write_bytes(beside.read_bytes()[:-200])
    elif how == "a bit flipped":
        content = bytearray(beside.read_bytes())
        content[len(content) // 2] ^= 4
        beside.write_bytes(content)
    elif how == "no snapshot":
        beside.write_text("hello")
    elif how == "empty":
        beside.write_bytes(b"")
    elif how == "a folder":
        beside.unlink()
        beside.mkdir()
    elif how == "of another journal":
        text = path.read_text().replace('"seed":3', '"seed":4')
        path.write_text(text)
    elif how == "of a longer journal":
        path.write_bytes(path.read_bytes()[: head["upto"] // 2].rpartition(b"\n")[0] + b"\n")
    else:
        if how == "of a later version":
            head["version"] += 1
        elif how == "a chain in a ring":
            columns["line_before"][:] = len(columns["line_before"]) - 1
        elif how == "lines beyond the end":
            columns["made_at"][:] = head["upto"] + 5
        elif how == "a column short":
            columns["state"] = columns["state"][:-1]
        elif how == "a column gone":
            del columns["study"]
        elif how == "other numbers":
            columns["best"] = columns["best"].astype(np.float32)
        columns["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
        with beside.open("wb") as out:
            np.savez(out, **columns)


DAMAGE = [
    "cut off", "a bit flipped", "no snapshot", "empty", "a folder", "of another journal",
    "of a longer journal", "of a later version", "a chain in a ring", "lines beyond the end",
    "a column short", "a column gone", "other numbers",
]  # fmt: skip


@pytest.mark.parametrize("how", DAMAGE)
def test_a_snapshot_that_does_not_fit_is_none(tmp_path: Path, how: str) -> None:
    path = tmp_path / "study.journal"
    ledger = begun(path)
    ledger.claim_all("01", range(3))
    ledger.report("01", 0, 0, 0.5)
    ledger.finish("01", 0, Result(best=0.5, best_epoch=0, last=0.5))
    beside = saved(path)
    assert snapshot.load(beside, path) is not None
    lies(path, beside, how)
    assert snapshot.load(beside, path) is None
    same_as_optuna(path)


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["pickle", "npy", "npz"])
def test_nothing_in_a_snapshot_is_executed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "study.journal"
    begun(path)
    beside, made = saved(path), tmp_path / "executed"
    trap = np.array([Touch(made)], object)
    with beside.open("wb") as file:
        if kind == "pickle":
            pickle.dump(Touch(made), file)
        elif kind == "npy":
            np.save(file, trap, allow_pickle=True)
        else:
            np.savez(file, allow_pickle=True, head=trap, study=trap)
    assert len(Ledger.open(str(path), "s").trials("01")) == 4
    assert not made.exists()


def test_a_long_journal_is_read_from_its_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads much of it leaves one, and the next reads no line before its end."""
    monkeypatch.setattr(journal, "TAIL", 20_000)
    path = tmp_path / "study.journal"
    ledger = begun(path, trials=100)
    ledger.trials("01")
    beside = tmp_path / "study.journal.npz"
    assert beside.exists()
    _, upto = snapshot.load(beside, path) or (None, 0)
    ledger.claim("01", 7)
    read: list[int] = []
    apply = journal.Replay.apply

    def counted(self: journal.Replay, line: bytes, at: int) -> None:
        read.append(at)
        apply(self, line, at)

    monkeypatch.setattr(journal.Replay, "apply", counted)
    assert Ledger.open(str(path), "s").trial("01", 7).running
    assert read
    assert min(read) >= upto
    same_as_optuna(path)


def test_a_folder_that_cannot_be_written_has_no_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.journal"
    begun(path, trials=20)
    monkeypatch.setattr(journal, "TAIL", 100)
    # Root may write everywhere; but not into a file that is a folder.
    (tmp_path / f".study.journal.npz.{os.getpid()}").mkdir()
    assert len(Ledger.open(str(path), "s").trials("01")) == 20
    assert not (tmp_path / "study.journal.npz").exists()


def test_a_torn_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    begun(path)
    path.write_bytes(path.read_bytes() + b'{"op_code":4,"wor\n')
    with pytest.raises(Exception, match=r"study\.journal"):
        Ledger.open(str(path), "s")


def test_threads_share_a_ledger(tmp_path: Path) -> None:
    """A screen reads it while trials report."""
    ledger = begun(tmp_path / "study.journal", trials=8)
    ledger.claim_all("01", range(8))
    failed: list[BaseException] = []

    def look() -> None:
        try:
            for _ in range(50):
                assert len(ledger.trials("01")) == ledger.overview("01").total == 8
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for point in range(40):
        ledger.report_all("01", [(n, point, 0.5) for n in range(8)])
    for thread in threads:
        thread.join()
    assert not failed
    assert all(len(t.curve) == 40 for t in ledger.trials("01"))


@pytest.mark.slow
def test_a_journal_needs_no_optuna(tmp_path: Path) -> None:
    """Each trial is a fresh process, and to import Optuna takes half a second."""
    code = (
        "import sys; from caviar.ledger import Ledger, Planned\n"
        "from caviar.space import Axis, Log, Space\n"
        "ledger = Ledger.open(sys.argv[1], 's'); ledger.begin('01', {}, 'min')\n"
        "space = Space((Axis('lr', Log(1e-4, 1.0)),))\n"
        "ledger.extend('01', [Planned({'lr': 0.1}, 0)], space); ledger.claim('01', 0)\n"
        "ledger.report('01', 0, 0, 0.5); ledger.trials('01'); ledger.overview('01')\n"
        "assert 'optuna' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "study.journal")])
    assert done.returncode == 0
