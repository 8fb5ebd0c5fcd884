"""The pool as a launcher of Hydra's: its own suites for launchers, GPUs, and processes that end."""

from __future__ import annotations

import os
import signal
import threading
import time
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

from caviar.pool import machine
from caviar.pool.alone import Script
from caviar.pool.pool import Pool
from caviar.pool.process import Job, Running, start_server
from caviar.pool.worker import Launched

LAUNCHER = "pool"
BARE = "hydra.launcher.preload=[]"  # these jobs do not train


def test_the_pool_is_found_by_hydra() -> None:
    names = [plugin.__name__ for plugin in Plugins.instance().discover(Launcher)]
    assert "PoolLauncher" in names


@pytest.mark.slow
@pytest.mark.parametrize(("launcher_name", "overrides"), [(LAUNCHER, [BARE])])
class TestLauncher(LauncherTestSuite):
    """Hydra's suite, whole."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [(LAUNCHER, ["hydra/sweeper=basic", "hydra.sweeper.max_batch_size=2", BARE])],
)
class TestBatches(BatchedSweeperTestSuite):
    """Hydra's suite, whole."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [({}, ["-m", f"hydra/launcher={LAUNCHER}", BARE])],
)
class TestIntegration(IntegrationTestSuite):
    """Hydra's suite, whole."""


class Looks:
    """A task that tells what its process sees."""

    def __call__(self, config: Any) -> tuple[str | None, str | None, float, float]:
        began = time.monotonic()
        time.sleep(0.3 * config.a)
        shown = os.environ.get("CUDA_VISIBLE_DEVICES")
        return shown, os.environ.get("OMP_NUM_THREADS"), began, time.monotonic()


def looked(sweep: Any, tmpdir: Path, *settings: str, jobs: str) -> list[Any]:
    with sweep(
        calling_file=None,
        calling_module="hydra.test_utils.a_module",
        config_path=None,
        config_name=None,
        task_function=Looks(),
        overrides=[f"hydra/launcher={LAUNCHER}", BARE, f"+a={jobs}", *settings],
        temp_dir=tmpdir,
    ) as runner:
        return [job.return_value for job in runner.returns[0]]


@pytest.mark.slow
@pytest.mark.usefixtures("hydra_restore_singletons")
class TestGpus:
    """Dealt out by CUDA_VISIBLE_DEVICES, which needs no GPU to be tested."""

    def test_each_job_sees_its_own_and_none_waits_for_another(
        self, hydra_sweep_runner: Any, tmpdir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7")
        # One long job and three short ones: a batch of two would wait for the long one.
        seen = looked(hydra_sweep_runner, tmpdir, jobs="12,1,1,1")
        assert [s[0] for s in seen] == ["4", "GPU-7", "GPU-7", "GPU-7"]
        assert seen[3][3] < seen[0][3]
        assert {s[1] for s in seen} == {"1"}

    def test_a_gpu_can_be_shared_and_left_alone(
        self, hydra_sweep_runner: Any, tmpdir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
        half = "hydra.launcher.gpus_per_trial=0.5"
        seen = looked(hydra_sweep_runner, tmpdir, half, jobs="6,6,6,6")
        assert sorted(s[0] for s in seen) == ["0", "0", "1", "1"]
        assert max(s[2] for s in seen) < min(s[3] for s in seen)  # all at once


@pytest.mark.slow
@pytest.mark.parametrize("milliseconds", [0, 1, 2, 3, 5, 10, 200])
def test_a_process_can_be_ended_at_any_moment_of_its_life(milliseconds: int) -> None:
    """Also before it has a process group of its own, by which all that it starts is killed."""
    start_server([])
    for _ in range(4):
        running = Running(Job(0, []), b"", None)
        time.sleep(milliseconds / 1000)  # nothing announces how far it is
        ending = threading.Thread(target=running.end, daemon=True)
        ending.start()
        ending.join(10)
        ended = not ending.is_alive()
        if not ended:
            os.kill(running.process.pid or 0, signal.SIGKILL)
            ending.join()
        assert ended
        assert running.process.exitcode == -signal.SIGKILL


class OfTwo(Exception):
    """Can be pickled, and not be loaded again, as many libraries' exceptions."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class Raises:
    """Cannot be loaded in a worker."""

    def __reduce__(self) -> Any:
        return raise_of_two, ()


def raise_of_two() -> None:
    raise OfTwo(1, 2)


@pytest.mark.slow
def test_an_answer_that_cannot_be_read_is_an_error_of_its_job_alone() -> None:
    start_server([])
    running = Running(Job(0, []), cloudpickle.dumps(Raises()), None)
    slot = machine.Slot(0)
    running.begin(slot, 0)
    running.receive()
    assert isinstance(running.answer, RuntimeError)
    assert "the job's return value: TypeError: OfTwo" in str(running.answer)
    running.end()
    slot.close()


@pytest.mark.slow
def test_a_server_that_dies_while_it_forks_is_started_again() -> None:
    start_server([])
    server = forkserver._forkserver._forkserver_pid
    os.kill(server, signal.SIGSTOP)  # so that it is asked, and never answers
    death = threading.Timer(0.3, os.kill, (server, signal.SIGKILL))
    death.start()
    launched = Launched(None, None, None, {}, {}, Script.of_driver())
    pool = Pool([], launched, [], None, 0, 0, lambda *_: None)
    running = pool._forked(Job(0, []))
    death.join()
    assert forkserver._forkserver._forkserver_pid != server
    assert running.process.exitcode is None
    running.end()
