"""A trial of the pool is, to the code that it runs, a process like that of a single run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, awaited, trials
from test_faults import alive

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

OWN = [
    "data._target_=__main__.Data",
    "model._target_=__main__.Net",
    "logger=none",
    "callbacks=none",
]
STAGE = [
    "-m",
    "search.study=s",
    "search.num_trials=3",
    "trainer.max_epochs=2",
    "hydra.launcher.num_workers=2",
    "hydra.launcher.retries=0",
]


def ran(place: Path, *overrides: str) -> None:
    """A script of a user's own, whose last trial dies; all that it writes is in `place`."""
    environment = {
        **os.environ,
        "CAVIAR_RUNS": str(place),
        "CAVIAR_ROOT": str(ROOT),
        "PLACE": str(place),
        "DIES": "2",
        "TMPDIR": str(place),
    }
    command = [sys.executable, str(ROOT / "tests/own_script.py"), *overrides, *OWN]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a stage of three trials and a single run have written what they saw."""
    folder = tmp_path_factory.mktemp("alone")
    ran(folder, *STAGE)
    return folder


def test_a_trial_is_a_process_like_that_of_a_single_run(place: Path) -> None:
    """Its loaders' workers start as fast, a lambda needs not be pickled, what the script defines
    is found, and what is registered for its end is done."""
    assert [t.status for t in trials(place)] == ["complete", "complete", "killed"]
    assert (place / "ended").exists()
    said = [(place / f"s/01_coarse/{number}/output.txt").read_text() for number in range(2)]
    assert not any("leaked" in words for words in said)
    ran(place, "trainer.max_epochs=1")
    alone, trial = (json.loads((place / f"{epochs}.json").read_text()) for epochs in (1, 2))
    more = {*trial.pop("variables")} - {*alone.pop("variables")}
    assert trial == alone
    ours = {f"CAVIAR_{name}" for name in ("SLOT", "RETRIES", "PORT", "COMMAND")}
    threads = {f"{name}_NUM_THREADS" for name in ("OMP", "MKL", "OPENBLAS")}
    imports = {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}  # of scikit-learn, which is preloaded
    assert more <= ours | threads | imports


def test_data_are_prepared_once_for_all_trials(place: Path) -> None:
    """Slowly, while the others wait for it; the single run afterwards does it again."""
    calls = (place / "calls").read_text().splitlines()
    assert calls.count("in a trial") == 1


def test_a_killed_trial_leaves_nothing_behind(place: Path) -> None:
    """Neither what it started, in a process group of its own, nor semaphores and shared memory,
    which the tracker removes that it started as well: that one is not killed with the rest."""
    names, other = json.loads((place / "left.json").read_text())
    assert not alive(other)
    left = {name.replace("/", "sem.") for name in names}
    awaited(lambda: not left & {*os.listdir("/dev/shm")}, seconds=10)
