"""A model that goes wrong when the environment says so, so that mending it changes no config.

    CAVIAR_FAULT=nan CAVIAR_FAULT_TRIAL=0 python train.py -m model._target_=fault_models.Faulty

with `tests` and `benchmarks` on PYTHONPATH. `CAVIAR_FAULT` is exception, nan, memory or hang;
`CAVIAR_FAULT_TRIAL` a trial's number or all; `CAVIAR_FAULT_ONCE` a file that is made by the first
fault, after which there is none.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig

from slow_models import Slow

HEADROOM, PIECE = 2**28, 2**26  # bytes that are left, and that are asked for at a time


class Faulty(Slow):
    """Trains as `Slow` does, up to the first step of its second epoch."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        if self.current_epoch == 1 and batch_idx == 0 and _is_due():
            return _fault(os.environ["CAVIAR_FAULT"], loss)
        return loss


def _is_due() -> bool:
    if "CAVIAR_FAULT" not in os.environ:
        return False
    number = Path(HydraConfig.get().runtime.output_dir).name
    if os.environ.get("CAVIAR_FAULT_TRIAL", "all") not in ("all", number):
        return False
    once = os.environ.get("CAVIAR_FAULT_ONCE")
    if once is not None:
        if Path(once).exists():
            return False
        Path(once).touch()
    return True


def _fault(kind: str, loss: torch.Tensor) -> torch.Tensor:
    if kind == "exception":
        raise ValueError("a bug in the model")
    if kind == "memory":
        _use_all_memory()
    while kind == "hang":
        time.sleep(1)
    return loss * float("nan")


def _use_all_memory() -> None:
    """Allocate, under a real limit of this process's address space, until there is no more."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    limit = pages * resource.getpagesize() + HEADROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    taken = []
    while True:
        taken.append(torch.zeros(PIECE, dtype=torch.uint8))
