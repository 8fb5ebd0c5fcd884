"""A run in several processes: which of them is told to have failed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from caviar.base.errors import rank_error
from caviar.base.result import KILLED
from caviar.config import resolvers
from caviar.ledger import Planned
from caviar.pool.process import Fault
from caviar.search.settings import open_ledger, study_folder
from caviar.search.trial import record_fault
from caviar.space import Axis, Log, Space
from caviar.training.ddp import failed_rank
from conftest import ROOT

LOST = "[…/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:16808"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({}, ""),
        ({1: ""}, ""),  # opened, and not yet written
        ({1: "ValueError: mine\n"}, "rank 1: ValueError: mine"),
        ({1: "", 2: "Traceback\nValueError: mine\n"}, "rank 2: ValueError: mine"),
        ({2: "ValueError: first\n", 1: "ValueError: second\n"}, "rank 2: ValueError: first"),
        ({1: LOST, 2: "ValueError: mine\n", 3: LOST}, "rank 2: ValueError: mine"),
        ({11: LOST}, f"rank 11: {LOST}"),
    ],
)
def test_the_rank_that_failed_is_told_not_those_that_lost_it(
    tmp_path: Path, written: dict[int, str], told: str
) -> None:
    for seconds, (rank, text) in enumerate(written.items()):
        file = tmp_path / f"error_rank_{rank}.txt"
        file.write_text(text)
        os.utime(file, (seconds, seconds))
    assert rank_error(tmp_path) == told


SLEEPS = "import time; time.sleep(60)"
DIES = "import os; os.kill(os.getpid(), 9)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "written", "error", "expected"),
    [
        # It has told, and its end takes long on a busy machine; or it dies on its way out.
        ([SLEEPS], {1: "ValueError: mine"}, LOST, "rank 1: ValueError: mine"),
        ([DIES], {1: "ValueError: mine"}, LOST, "rank 1: ValueError: mine"),
        # It leaves without a word, later than a rank with an error of its own would wait.
        (["import time; time.sleep(3); exit(3)"], {}, LOST, "rank 1: it left with exit code 3"),
        (["exit(3)"], {1: ""}, LOST, "rank 1: it left with exit code 3"),
        ([DIES], {}, LOST, "rank 1 was killed by SIGKILL"),
        # The others only lost it.
        (["exit(1)", DIES], {1: LOST}, LOST, "rank 2 was killed by SIGKILL"),
        (["exit(1)", "exit(3)"], {1: LOST}, LOST, "rank 2: it left with exit code 3"),
        # The error is this rank's own, and its peers wait for it.
        ([SLEEPS], {}, "CUDA error", None),
        ([], {}, "CUDA error", None),
    ],
    ids=[
        "slow to leave",
        "killed on its way out",
        "leaves late",
        "leaves while it writes",
        "killed",
        "another was killed",
        "another left",
        "alive",
        "alone",
    ],
)
def test_what_another_rank_ended_with_is_found_out(
    tmp_path: Path, ranks: list[str], written: dict[int, str], error: str, expected: str | None
) -> None:
    for rank, text in written.items():
        (tmp_path / f"error_rank_{rank}.txt").write_text(text)
    processes = [subprocess.Popen([sys.executable, "-c", rank]) for rank in ranks]
    try:
        cause = failed_rank(processes, tmp_path, RuntimeError(error))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert (None if cause is None else str(cause)) == expected


@pytest.mark.usefixtures("runs", "hydra_state")
@pytest.mark.parametrize(
    ("written", "error"),
    [("", None), (LOST, None), ("ValueError: mine", "rank 1: ValueError: mine")],
)
def test_a_killed_trial_is_tried_again_unless_another_rank_raised(
    written: str, error: str | None
) -> None:
    """Its first rank was killed: from outside, or by Lightning, which saw the other one's end."""
    resolvers.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        trial = ["search.study=s", "trial.stage=01_coarse", "trial.number=0"]
        config = compose("train", trial)
    folder = study_folder(config) / "01_coarse" / "0"
    folder.mkdir(parents=True)
    (folder / "error_rank_1.txt").write_text(written)
    ledger = open_ledger(config)
    ledger.begin("01_coarse", {}, "min")
    space = Space((Axis("optimizer.lr", Log(1e-4, 1.0)),))
    ledger.extend("01_coarse", [Planned({"optimizer.lr": 0.01}, 0, "")], space)
    assert ledger.claim("01_coarse", 0)
    fault = Fault(KILLED, "killed by SIGKILL", os.getpid())
    assert record_fault(config, fault, retries=1) == error
    after = ledger.trial("01_coarse", 0)
    assert after.status == ("waiting" if error is None else "exception")
    assert after.faults == (error or "killed by SIGKILL",)
