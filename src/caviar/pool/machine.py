"""What this machine has, dealt out in slots: a slot is room for one trial at a time."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig

from caviar.base.errors import UserError

CGROUP = Path("/sys/fs/cgroup/cpu.max")


@dataclass
class Slot:
    """Room for one trial."""

    number: int
    gpus: tuple[str, ...] | None = None
    """Names for CUDA_VISIBLE_DEVICES; None leaves it as it is."""
    _socket: socket.socket = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Bound, never listening: nobody else is given this port, while the ranks of a distributed
        # trial, which also set SO_REUSEADDR, may listen on it.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))

    @property
    def port(self) -> int:
        """A port of this slot's own, for the ranks of a distributed trial."""
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


def slots_for(
    config: DictConfig, num_workers: int | None, gpus_per_trial: float | None
) -> list[Slot]:
    """Deal the machine out to trials of a config: by its trainer's devices, and its threads.

    Arguments, and Raises: as `slots`.
    """
    trainer = config.get("trainer") or {}
    devices = trainer.get("devices", 1)
    several = devices if isinstance(devices, int) and devices > 1 else 1
    if gpus_per_trial is None and trainer.get("accelerator") == "cpu":
        gpus_per_trial = 0
    if gpus_per_trial is None and several > 1:
        gpus_per_trial = several
    return slots(num_workers, gpus_per_trial, several * (config.get("threads") or 1))


def slots(
    num_workers: int | None, gpus_per_trial: float | None, cores_per_trial: int
) -> list[Slot]:
    """Deal the machine out.

    Arguments:
        num_workers: trials at a time; by default one per GPU (or share of one), else one per core.
        gpus_per_trial: whole GPUs, or a fraction of one, such as 0.5 for two trials on each; 0
            for the CPU; by default 1 where there are GPUs.
        cores_per_trial: threads that a trial keeps busy.

    Raises:
        UserError: the machine has not that many GPUs.
    """
    gpus = visible_gpus()
    share = gpus_per_trial if gpus_per_trial is not None else float(bool(gpus))
    if share == 0:
        count = num_workers or max(1, cores() // cores_per_trial)
        hidden = () if gpus else None
        return [Slot(number, hidden) for number in range(count)]
    if share > len(gpus):
        raise UserError(
            f"hydra.launcher.gpus_per_trial={gpus_per_trial:g}, but this machine shows "
            f"{len(gpus)} GPUs; write hydra.launcher.gpus_per_trial=0 for the CPU"
        )
    dealt: list[tuple[str, ...]]
    if share < 1:  # in turns, so that few trials spread over all GPUs
        dealt = [(gpu,) for _ in range(int(1 / share)) for gpu in gpus]
    else:
        each = int(share)
        dealt = [tuple(gpus[i : i + each]) for i in range(0, len(gpus) - each + 1, each)]
    if num_workers is not None and num_workers > len(dealt):
        raise UserError(
            f"hydra.launcher.num_workers={num_workers}, but {len(gpus)} GPUs hold {len(dealt)} "
            f"trials of {share:g} GPU; write hydra.launcher.gpus_per_trial="
            f"{len(gpus) / num_workers:.3g} to share them"
        )
    return [Slot(number, names) for number, names in enumerate(dealt[:num_workers])]


def cores() -> int:
    """Cores that this process may use: of the machine, its affinity, and its container."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    try:
        quota, period = CGROUP.read_text(encoding="utf-8").split()
        return max(1, min(count, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or one without a limit
        return count


def visible_gpus() -> list[str]:
    """NVIDIA GPUs by the names that CUDA_VISIBLE_DEVICES takes; without importing torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return re.findall(r"^GPU (\d+):", listed.stdout, re.MULTILINE)
