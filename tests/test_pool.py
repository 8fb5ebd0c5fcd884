"""The pool as a launcher of Hydra's: Hydra's own suites for launchers, and its settings."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

from caviar.base.errors import UserError
from caviar.pool import machine
from caviar.pool.settings import PoolSettings

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
        seen = looked(hydra_sweep_runner, tmpdir, half, jobs="1,1,1,1")
        assert sorted(s[0] for s in seen) == ["0", "0", "1", "1"]
        assert max(s[2] for s in seen) < min(s[3] for s in seen)  # all at once


@pytest.mark.parametrize(
    ("workers", "gpus", "expected"),
    [
        (None, None, [("0",), ("1",), ("2",), ("3",)]),
        (None, 2, [("0", "1"), ("2", "3")]),
        (3, None, [("0",), ("1",), ("2",)]),
        (None, 0.5, [("0",), ("1",), ("2",), ("3",)] * 2),
        (2, 0, [(), ()]),
    ],
)
def test_gpus_are_dealt_out(
    monkeypatch: pytest.MonkeyPatch, workers: int | None, gpus: float | None, expected: list[Any]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    found = machine.slots(workers, gpus, 1)
    assert [slot.gpus for slot in found] == expected
    assert len({slot.port for slot in found}) == len(found)
    for slot in found:
        slot.close()


def test_without_gpus_there_is_a_worker_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(machine, "cores", lambda: 6)
    for threads, workers in ((1, 6), (2, 3), (8, 1)):
        found = machine.slots(None, None, threads)
        assert [slot.gpus for slot in found] == [None] * workers
        for slot in found:
            slot.close()


@pytest.mark.parametrize(
    ("workers", "gpus", "said"),
    [(None, 3.0, "shows 2 GPUs"), (5, None, "gpus_per_trial=0.4 to share them")],
)
def test_more_gpus_than_there_are_is_refused(
    monkeypatch: pytest.MonkeyPatch, workers: int | None, gpus: float | None, said: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(UserError, match=said):
        machine.slots(workers, gpus, 1)


@pytest.mark.parametrize("quota", ["max 100000", "50000 100000", "150000 100000"])
def test_a_container_limits_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str
) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "cpu.max")
    without = machine.cores()
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert machine.cores() == (without if quota.startswith("max") else 1)


@pytest.mark.parametrize("wrong", [{"num_workers": 0}, {"retries": -1}, {"timeout": 0.5}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"hydra.launcher.{next(iter(wrong))}="):
        PoolSettings(**wrong)
