"""Which checkpoints of a search's trials stay: `search.keep_checkpoints`.

A search reads none of them: confirm trains its candidates anew. What is large is therefore only for
people who want to look into a trial, and thousands of bad ones fill a disk. A trial that has not
finished keeps its own, to go on from; so does one that failed, which may be put back.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from caviar.ledger import Ledger
from caviar.screen.view import best_trials
from caviar.search.settings import CONFIRM, TEST


def tidy_checkpoints(folder: Path, ledger: Ledger, keep: str, mode: str) -> None:
    """Remove the checkpoints of finished trials that are not to be kept, on this machine.

    Arguments:
        folder: of the study.
        ledger: of the study.
        keep: `all`, `none` or `best 3`, of all trials of the search so far.
        mode: `min` or `max`, of the metric.
    """
    if keep == "all":
        return
    stages = [stage for stage in ledger.stages() if stage not in (CONFIRM, TEST)]
    trials = [trial for stage in stages for trial in ledger.trials(stage)]
    count = int(keep.rpartition(" ")[2]) if keep != "none" else 0
    kept = {(t.stage, t.number) for t in best_trials(trials, mode, count)}
    for trial in trials:
        done = trial.result is not None and not trial.result.failed
        if done and (trial.stage, trial.number) not in kept:
            # Two workers may do so at the same time.
            place = folder / trial.stage / str(trial.number) / "checkpoints"
            shutil.rmtree(place, ignore_errors=True)
