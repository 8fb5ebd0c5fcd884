"""The environment of a process: every variable of ours and what it is for, and who is alone.

A variable is named here once. What one process tells another goes through these and nothing else,
because a trial may be forked, be started anew by Lightning, or run under a W&B agent.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Set by a user, or by train.py.
ROOT = "CAVIAR_ROOT"  # the project's folder, which holds conf/
RUNS = "CAVIAR_RUNS"  # where everything that training leaves behind goes; default: ROOT/runs
SCRIPT = "CAVIAR_SCRIPT"  # the one of the project that trains, for what a process starts
DATA = "CAVIAR_DATA"  # data sets that live in files; read by conf/train.yaml alone

# Set by a command that has many trials, for them.
COMMAND = "CAVIAR_COMMAND"  # which it is: what one of them has prepared is there for all

# Set by the pool, for the processes that it forks.
PRELOAD = "CAVIAR_PRELOAD"  # modules that the forkserver imports, separated by spaces
SLOT = "CAVIAR_SLOT"  # the number of the slot that a job runs in
RETRIES = "CAVIAR_RETRIES"  # how often a transient fault is forgiven
PORT = "CAVIAR_PORT"  # a port of the slot's own, for the ranks of a distributed job

# Set by a trial's first rank, for the others, which Lightning starts.
RESUME = "CAVIAR_RESUME"  # the checkpoint that all of them go on from

# Set by a panda that goes back, for the process that takes its place.
PANDA_LOCK = "CAVIAR_PANDA_LOCK"  # the number of the open file whose lock says that it runs

# torchrun's and Lightning's names for a process's place in a distributed run. A process that is to
# begin a run of its own must not inherit them from one that it was started by.
RANKS = (
    "LOCAL_RANK",
    "NODE_RANK",
    "GROUP_RANK",
    "RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@contextmanager
def one_command() -> Iterator[None]:
    """Let all that is started in this block know that it belongs together, if it does not yet."""
    if COMMAND in os.environ:
        yield
        return
    os.environ[COMMAND] = secrets.token_hex(8)
    try:
        yield
    finally:
        os.environ.pop(COMMAND, None)


def rank() -> int:
    """This process's place in a distributed run on this machine; 0 in any other."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_first_rank() -> bool:
    """Whether what must happen once for all ranks, such as writing a result, is this one's."""
    return rank() == 0


def without_ranks(*more: str) -> dict[str, str]:
    """This process's environment for one that begins anew, `more` left out as well."""
    return {k: v for k, v in os.environ.items() if k not in (*RANKS, *more)}


def one_thread() -> dict[str, str]:
    """One thread for NumPy and its kind, unless the user said otherwise.

    Two workers of two threads on two cores make small fits eight times slower.
    """
    return {name: os.environ.get(name, "1") for name in _THREADS}


def devices_of(config: Any, available: int) -> int:
    """How many devices a config's trainer asks for, which is a process each.

    Reads every form that Lightning takes: `2`, `"2"`, `[0, 1]`, `"0,1"`, `-1` and `auto`.

    Arguments:
        config: with its `trainer`, if it has one.
        available: GPUs that `-1` and `auto` stand for; on the CPU both are one process.
    """
    trainer = config.get("trainer") or {}
    devices = trainer.get("devices", 1)
    if not isinstance(devices, int | str):
        return max(1, len(devices))
    text = str(devices).strip()
    if text in ("auto", "-1"):
        return 1 if trainer.get("accelerator") == "cpu" else max(1, available)
    if "," in text:  # indices of GPUs; "1," is the second alone
        return max(1, sum(bool(index.strip()) for index in text.split(",")))
    return max(1, int(text)) if text.isdigit() else 1  # anything else Lightning refuses


def several_devices(config: Any) -> bool:
    """Whether a config's trainer uses, or may use, more than one process on a machine.

    Which machine will train is not known here: the driver of a cluster may have no GPU, and its
    nodes eight. So `auto` counts as several, unless it is on the CPU.
    """
    trainer = config.get("trainer") or {}
    strategy = str(trainer.get("strategy", "auto"))
    distributed = strategy.startswith(("ddp", "fsdp", "deepspeed"))
    return devices_of(config, available=2) > 1 or distributed
