"""The end of a W&B run: a marker that says what came of it, then the exit code.

W&B calls a run finished when its process left in order, which a process that was told to leave
does as well; and its summary keeps a metric's last value. So the whole result goes into the
summary, as the last thing: who reads a sweep needs one request for hundreds of runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from caviar.faults import failure
from caviar.result import MARKER, RESULT, Result, finite

POINTS = 500  # of a learning curve, at most; longer ones are thinned out

_told = False  # whether this process has ended a run with its marker


def finish_wandb(result: Result, curve: Mapping[int, float]) -> None:
    """End this process's W&B run, if there is one; the next trial of the same process would write
    into it.

    Arguments:
        result: of the run; one that failed ends with exit code 1.
        curve: epoch → declared metric.
    """
    global _told
    wandb = sys.modules.get("wandb")
    if wandb is None or wandb.run is None:
        return
    _told = True
    epochs = sorted(curve)
    thinned = epochs[:: -(-len(epochs) // POINTS) or 1]
    whole = result.to_dict() | {"curve": [[e, finite(curve[e])] for e in thinned]}
    wandb.run.summary.update({MARKER: result.status, RESULT: json.dumps(whole)})
    wandb.finish(exit_code=1 if result.failed else 0)


@contextmanager
def told_to_wandb() -> Iterator[None]:
    """Let a run that a W&B agent started be known to have failed, also where it failed before it
    had a logger: by a refused key, a config that cannot be, a model that cannot be built."""
    try:
        yield
    except BaseException as error:
        if not _told:
            with suppress(Exception):  # what it failed of is what counts
                import wandb

                wandb.init(settings=wandb.Settings(silent=True))
                finish_wandb(failure(error, None), {})
        raise
