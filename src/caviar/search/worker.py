"""`caviar worker`: take trials of a study that another machine drives.

It draws nothing and decides nothing. The ledger says what each trial is; this machine needs the
same code and the same data.
"""

from __future__ import annotations

import time

from caviar.live import PERIOD, StageView
from caviar.search.study import Study
from caviar.view import console


def work(study: Study) -> None:
    """Run trials until none was waiting or running anywhere for `search.idle` seconds."""
    study.point_to_ledger()
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since <= study.settings.idle and not study.complete:
        busy = False
        for stage in study.stages():
            trials = study.ledger.trials(stage)
            busy |= any(not t.finished for t in trials)
            if study.ledger.claimable(stage):
                with StageView(study.ledger, stage, len(trials), study.metric, study.mode):
                    study.run_some(stage)
        if busy:
            quiet_since = time.monotonic()
        time.sleep(PERIOD)
    console.print(f"no trial of study {study.name} is left")
