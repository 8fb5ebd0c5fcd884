"""What a machine has, dealt out to trials; and what a user can say of it."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from caviar.base.environment import devices_of, several_devices
from caviar.base.errors import UserError
from caviar.pool import machine
from hydra_plugins.caviar.launcher import PoolSettings


def dealt(
    workers: int | None, gpus: float | None = None, threads: int = 1, **trainer: Any
) -> list[tuple[str, ...] | None]:
    """The GPUs of each slot for trials of such a trainer."""
    config = OmegaConf.create({"trainer": trainer, "threads": threads})
    slots = machine.slots_for(config, workers, gpus)
    assert len({slot.port for slot in slots}) == len(slots)
    for slot in slots:
        slot.close()
    return [slot.gpus for slot in slots]


@pytest.mark.parametrize(
    ("workers", "gpus", "expected"),
    [
        (None, None, [("0",), ("1",), ("2",), ("3",)]),
        (None, 2, [("0", "1"), ("2", "3")]),
        (3, None, [("0",), ("1",), ("2",)]),
        (None, 0.5, [("0",), ("1",), ("2",), ("3",)] * 2),
        (None, 1 / 49, [("0",), ("1",), ("2",), ("3",)] * 49),
        (2, 0, [(), ()]),
    ],
)
def test_gpus_are_dealt_out(
    monkeypatch: pytest.MonkeyPatch, workers: int | None, gpus: float | None, expected: list[Any]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    assert dealt(workers, gpus) == expected


# Every form in which Lightning takes a number of devices, on a machine of four GPUs.
DEVICES = [
    (1, 1),
    ("1", 1),
    (2, 2),
    ("2", 2),
    ([0, 1], 2),
    ("0,1", 2),
    ([0, 1, 2], 3),
    ([0], 1),
    ("0,", 1),
    (-1, 4),
    ("-1", 4),
    ("auto", 4),
]


@pytest.mark.parametrize(("devices", "count"), DEVICES)
@pytest.mark.parametrize("accelerator", ["auto", "gpu"])
def test_a_trial_has_as_many_gpus_as_its_trainer_asks_for(
    monkeypatch: pytest.MonkeyPatch, devices: Any, count: int, accelerator: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    slots = dealt(None, devices=devices, accelerator=accelerator)
    assert [len(gpus or ()) for gpus in slots] == [count] * (4 // count)
    config = OmegaConf.create({"trainer": {"devices": devices, "accelerator": accelerator}})
    assert devices_of(config, 4) == count
    assert several_devices(config) == (count > 1)  # so it is a single run of its own


@pytest.mark.parametrize(
    ("devices", "count"), [(1, 1), (2, 2), ("2", 2), ("auto", 1), (3, 3), ("3", 3)]
)
def test_processes_on_the_cpu_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, devices: Any, count: int
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(machine, "cores", lambda: 12)
    assert dealt(None, accelerator="cpu", devices=devices) == [()] * (12 // count)
    assert len(dealt(None, accelerator="cpu", devices=devices, threads=2)) == 6 // count


def test_without_gpus_there_is_a_worker_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(machine, "cores", lambda: 6)
    for threads, workers in ((1, 6), (2, 3), (8, 1)):
        assert dealt(None, threads=threads) == [None] * workers
    assert dealt(None, devices="auto", accelerator="auto") == [None] * 6


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_more_than_devices_can_make_a_trial_several_processes(strategy: str) -> None:
    assert several_devices(OmegaConf.create({"trainer": {"devices": 1, "strategy": strategy}}))
    # Nodes are a cluster's business, whose launchers the pool's own refusal sends to.
    assert not several_devices(OmegaConf.create({"trainer": {"devices": 1, "num_nodes": 2}}))
    assert not several_devices(OmegaConf.create({}))  # another application, without a trainer


@pytest.mark.parametrize("gpus", range(1, 9))
def test_the_advice_for_more_workers_than_gpus_comes_out(
    monkeypatch: pytest.MonkeyPatch, gpus: int
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus))))
    for workers in range(1, 41):
        for share in (None, float(gpus)):
            try:
                assert len(dealt(workers, share)) == workers
            except UserError as error:
                advice = re.search(r"write hydra.launcher.gpus_per_trial=([\d.]+)", str(error))
                assert advice is not None
                settings = PoolSettings(num_workers=workers, gpus_per_trial=float(advice[1]))
                slots = dealt(workers, settings.gpus_per_trial)
                assert len(slots) == workers
                # Shared evenly: no GPU has two trials more than another.
                loads = [sum(names == (str(i),) for names in slots) for i in range(gpus)]
                assert max(loads) - min(loads) <= 1 or workers <= gpus


@pytest.mark.parametrize(
    ("workers", "gpus", "trainer", "message"),
    [
        (None, 3.0, {}, "gpus_per_trial=3, but this machine shows 2 GPUs"),
        (None, None, {"devices": 3}, "gpus_per_trial=3, but this machine shows 2 GPUs"),
        (5, None, {}, "gpus_per_trial=0.333 to share them"),
        (2, None, {"devices": 2}, "write hydra.launcher.num_workers=1, since trainer.devices=2"),
        (None, 1.0, {"devices": 2}, "write hydra.launcher.gpus_per_trial=2"),
        (None, 0.5, {"devices": [0, 1]}, "write hydra.launcher.gpus_per_trial=2"),
        (None, None, {"devices": [1]}, "write trainer.devices=1, and CUDA_VISIBLE_DEVICES=1"),
        (None, None, {"num_nodes": 2}, "trainer.num_nodes=2"),
    ],
)
def test_what_no_slot_can_be_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    workers: int | None,
    gpus: float | None,
    trainer: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(UserError) as refused:
        dealt(workers, gpus, **trainer)
    assert message in str(refused.value)


@pytest.mark.parametrize("quota", ["max 100000", "50000 100000", "150000 100000"])
def test_a_container_limits_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str
) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "cpu.max")
    without = machine.cores()
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert machine.cores() == (without if quota.startswith("max") else 1)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("num_workers", 0, "1 or more"),
        ("retries", -1, "0 or more"),
        ("timeout", 0.5, "seconds"),
        ("gpus_per_trial", -0.5, "0 or more"),
        ("gpus_per_trial", 1.5, "a whole number, or a fraction below 1"),
        ("gpus_per_trial", math.inf, "a whole number"),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, value: float, rule: str) -> None:
    with pytest.raises(UserError, match=f"hydra.launcher.{name}={value} should be {rule}"):
        PoolSettings(**{name: value})
