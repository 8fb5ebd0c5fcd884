"""What this machine has, dealt out in slots: a slot is room for one trial at a time."""

from __future__ import annotations

import math
import os
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from caviar.base.environment import devices_of
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
        # trial, which also set SO_REUSEADDR, may listen on it. A free port that each trial looked
        # for by itself could be found by two of them at once.
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
    """Deal the machine out to trials of a config.

    Arguments:
        config: its trainer's devices say how many GPUs a trial needs, and its `threads` how many
            cores each process of a trial keeps busy.
        num_workers: trials at a time; by default one per GPU (or share of one), else one per core.
        gpus_per_trial: whole GPUs, or a fraction of one, such as 0.5 for two trials on each; 0
            for the CPU; by default as many as the trainer has devices, where there are GPUs.

    Raises:
        UserError: the machine has not that many GPUs, or no slot can be what the trainer asks for.
    """
    gpus = visible_gpus()
    devices = devices_of(config, len(gpus))
    if gpus_per_trial is not None:
        share = gpus_per_trial
    elif (config.get("trainer") or {}).get("accelerator") == "cpu":
        share = 0
    else:
        share = devices if devices > 1 else int(bool(gpus))
    _check_trainer(config, share)
    if share == 0:
        count = num_workers or max(1, cores() // (devices * (config.get("threads") or 1)))
        hidden = () if gpus else None
        return [Slot(number, hidden) for number in range(count)]
    if share > len(gpus):
        raise UserError(
            f"hydra.launcher.gpus_per_trial={share:g}, but this machine shows "
            f"{len(gpus)} GPUs; write hydra.launcher.gpus_per_trial=0 for the CPU"
        )
    dealt: list[tuple[str, ...]]
    if share < 1:  # in turns, so that few trials spread over all GPUs
        # 1 / (1 / 49) is 48.999…: a share that was computed must not lose a trial.
        dealt = [(gpu,) for _ in range(int(1 / share + 1e-9)) for gpu in gpus]
    else:
        each = int(share)
        dealt = [tuple(gpus[i : i + each]) for i in range(0, len(gpus) - each + 1, each)]
    if num_workers is not None and num_workers > len(dealt):
        less = _share_for(num_workers, len(gpus))
        mend = f"gpus_per_trial={less:g} to share them"
        if devices_of(config, max(1, int(less))) > max(1, less):
            mend = f"num_workers={len(dealt)}, since trainer.devices={config.trainer.devices}"
        raise UserError(
            f"hydra.launcher.num_workers={num_workers}, but {len(gpus)} GPUs hold {len(dealt)} "
            f"trials of {share:g} GPU; write hydra.launcher.{mend}"
        )
    return [Slot(number, names) for number, names in enumerate(dealt[:num_workers])]


def _check_trainer(config: DictConfig, share: float) -> None:
    """Refuse what Lightning would refuse in every trial, in words of a machine it cannot see."""
    trainer: Any = config.get("trainer") or {}
    devices = trainer.get("devices", 1)
    if str(trainer.get("num_nodes", 1)) != "1":
        raise UserError(
            f"trainer.num_nodes={trainer.num_nodes}: the pool's trials run on this machine alone; "
            "write trainer.num_nodes=1, or take a cluster's launcher, such as hydra/launcher=slurm"
        )
    if share == 0 or trainer.get("accelerator") == "cpu":
        return
    needed = devices_of(config, max(1, int(share)))
    if needed > max(1, share):
        raise UserError(
            f"hydra.launcher.gpus_per_trial={share:g}, but trainer.devices={devices}; write "
            f"hydra.launcher.gpus_per_trial={needed}"
        )
    if not isinstance(devices, int | str) and max(devices, default=0) >= needed:
        names = ",".join(map(str, devices))
        raise UserError(
            f"trainer.devices={devices}: a trial of the pool counts its own GPUs from 0; write "
            f"trainer.devices={needed}, and CUDA_VISIBLE_DEVICES={names} before the command"
        )


def _share_for(num_workers: int, num_gpus: int) -> float:
    """The part of a GPU, in three decimals, with which so many trials find room.

    Rounded down: six trials fit on a GPU with 0.166 each, and with 0.167 only five.
    """
    if num_workers <= num_gpus:
        return num_gpus // num_workers
    return math.floor(1000 / math.ceil(num_workers / num_gpus)) / 1000


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
    """NVIDIA GPUs by the names that CUDA_VISIBLE_DEVICES takes.

    Asks `nvidia-smi` and never torch: CUDA that was touched before a fork is lost to the children.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return re.findall(r"^GPU (\d+):", listed.stdout, re.MULTILINE)
