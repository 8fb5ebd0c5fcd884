"""What the suite promises of itself: a test that is not marked slow starts no process."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable

import pytest


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run([sys.executable, "--version"], check=False),
        lambda: subprocess.check_output("true", shell=True),
        lambda: multiprocessing.get_context("spawn").Process(target=print).start(),
        lambda: multiprocessing.get_context("forkserver").Process(target=print).start(),
        lambda: os.system("true"),
        lambda: os.fork(),  # looked up when called: the real one would fork the whole suite
    ],
    ids=["run", "shell", "spawn", "forkserver", "system", "fork"],
)
def test_a_fast_test_starts_no_process(start: Callable[[], object]) -> None:
    with pytest.raises(pytest.fail.Exception, match="mark it slow"):
        start()


@pytest.mark.slow
def test_a_slow_test_may() -> None:
    assert subprocess.run([sys.executable, "-c", "pass"], check=False).returncode == 0
