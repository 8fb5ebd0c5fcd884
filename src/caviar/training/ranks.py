"""Why a distributed run failed, where it was another rank's fault.

The first rank only sees that its peer is gone ("connection closed"). The other rank's exception,
or the signal that killed it, is what a user wants to know.
"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytorch_lightning as pl

from caviar.errors import RankDied

PATIENCE = 2.0  # seconds until a rank that failed has ended; it goes before its peers notice


def failed_rank(trainer: pl.Trainer, folder: Path) -> Exception | None:
    """What another rank, started by this process, ended with; None if none failed."""
    ranks: list[subprocess.Popen[bytes]] = getattr(trainer.strategy.launcher, "procs", [])
    until = time.monotonic() + PATIENCE
    while ranks and time.monotonic() < until:
        for rank, process in enumerate(ranks, start=1):
            code = process.poll()
            if code is not None and code < 0:
                return RankDied(f"rank {rank} was killed by {signal.Signals(-code).name}")
            if code:
                said = _said(folder / f"error_rank_{rank}.txt", code)
                return RuntimeError(f"rank {rank}: {said}")
        time.sleep(0.05)  # for several processes at once; Popen.wait is for one
    return None


def _said(path: Path, code: int) -> str:
    """The last line of what a rank wrote before it left."""
    if not path.exists():
        return f"it left with exit code {code}"
    return path.read_text(encoding="utf-8").splitlines()[-1]
