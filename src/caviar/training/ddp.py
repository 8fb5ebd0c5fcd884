"""Why a distributed run failed, where it was another rank's fault.

The first rank only sees that its peer is gone ("connection closed"). The other rank's exception,
or the signal that killed it, is what a user wants to know.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from caviar.base.errors import RankDied, lost_peer, rank_error
from caviar.base.files import last_line

# Seconds until a rank that failed is known to have. A rank writes down its error before its
# connections close, so its peers know of it at once. Only one that left without a word has to be
# waited for, until it is gone: on a busy machine the end of a process with torch took over 2 s.
PATIENCE = 2.0
PATIENCE_WITH_THE_LOST = 20.0


def failed_rank(
    ranks: Sequence[subprocess.Popen[bytes]], folder: Path, error: Exception
) -> Exception | None:
    """What another rank ended with; None if none failed.

    Arguments:
        ranks: the processes of rank 1 and up, which this one started.
        folder: of the run, where they write `error_rank_1.txt` and so on.
        error: this rank's own: one that lost its peer must have one that failed.
    """
    patience = PATIENCE_WITH_THE_LOST if lost_peer(str(error)) else PATIENCE
    until = time.monotonic() + patience
    while ranks and time.monotonic() < until:
        codes = [process.poll() for process in ranks]
        told = rank_error(folder)
        if told and not lost_peer(told):  # also of one that a signal killed on its way out
            return RuntimeError(told)
        for rank, code in enumerate(codes, start=1):
            if code is not None and code < 0:
                return RankDied(f"rank {rank} was killed by {signal.Signals(-code).name}")
        for rank, code in enumerate(codes, start=1):
            if code and not last_line(folder / f"error_rank_{rank}.txt"):
                return RuntimeError(f"rank {rank}: it left with exit code {code}")
        time.sleep(0.05)  # for several processes at once; Popen.wait is for one
    return None
