"""A run in several processes: which of them is told to have failed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from caviar.base.errors import rank_error
from caviar.training.ddp import failed_rank

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
KILLED = "import os; os.kill(os.getpid(), 9)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "written", "error", "expected"),
    [
        # It has told, and its end takes long on a busy machine; or it dies on its way out.
        ([SLEEPS], {1: "ValueError: mine"}, LOST, "rank 1: ValueError: mine"),
        ([KILLED], {1: "ValueError: mine"}, LOST, "rank 1: ValueError: mine"),
        # It leaves without a word, later than a rank with an error of its own would wait.
        (["import time; time.sleep(3); exit(3)"], {}, LOST, "rank 1: it left with exit code 3"),
        (["exit(3)"], {1: ""}, LOST, "rank 1: it left with exit code 3"),
        ([KILLED], {}, LOST, "rank 1 was killed by SIGKILL"),
        # The others only lost it.
        (["exit(1)", KILLED], {1: LOST}, LOST, "rank 2 was killed by SIGKILL"),
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
