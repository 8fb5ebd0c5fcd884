"""The ledger of a study whose stages are W&B sweeps: their runs are its trials.

W&B's service gives trials out and keeps their results, so such a stage can only be read here. The
confirmation is trained by `caviar confirm` and kept in the study's journal, as ever.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caviar.errors import SearchFailed, UserError
from caviar.ledger.ledger import Ledger
from caviar.ledger.registered import Registered, read_registered
from caviar.ledger.storages import HEARTBEAT, JOURNAL, open_storage
from caviar.ledger.trials import WAITING, Planned, Trial
from caviar.ledger.wandb_runs import trials_of

SILENT = " when W&B last answered"
FRESH = 10.0  # seconds for which what was read is shown again: the service counts requests


class SweepLedger(Ledger):
    """A ledger over `runs/<study>/sweeps.json`."""

    def __init__(self, folder: Path, study: str) -> None:
        storage, claims = open_storage(str(folder / JOURNAL), study, HEARTBEAT)
        super().__init__(storage, study, claims)
        self.folder = folder
        self._read: dict[str, tuple[float, str, list[Trial]]] = {}

    def registered(self) -> dict[str, Registered]:
        """The stages that are sweeps."""
        return read_registered(self.folder)

    def stages(self) -> list[str]:
        return [*self.registered(), *super().stages()]

    def begin(self, stage: str, facts: Mapping[str, Any], mode: str) -> dict[str, Any]:
        if "sweep" in facts:  # of a stage of search
            raise UserError(
                f"the stages of study {self.study} are W&B sweeps; register {stage} with caviar "
                f"sweep search.study={self.study}, or search here under another search.study"
            )
        return super().begin(stage, facts, mode)

    def facts(self, stage: str) -> dict[str, Any]:
        known = self.registered()
        return dict(known[stage].facts) if stage in known else super().facts(stage)

    def trials(self, stage: str) -> list[Trial]:
        known = self.registered()
        return self._sweep(known[stage])[2] if stage in known else super().trials(stage)

    def trial(self, stage: str, number: int) -> Trial:
        if stage in self.registered():
            return self.trials(stage)[number]
        return super().trial(stage, number)

    def claimable(self, stage: str) -> list[int]:
        """Of a sweep none: the service gives them out."""
        return [] if stage in self.registered() else super().claimable(stage)

    def note(self, stage: str) -> str:
        known = self.registered()
        if stage not in known:
            return super().note(stage)
        return f"W&B sweep {known[stage].path}, {self._sweep(known[stage])[1]}"

    def look_again(self) -> None:
        self._read = {name: (-FRESH, *read[1:]) for name, read in self._read.items()}

    @property
    def continued_by(self) -> str:
        return f"caviar agent search.study={self.study}"

    def _sweep(self, registered: Registered) -> tuple[float, str, list[Trial]]:
        """When it was read, the sweep's state, and its trials, those to come among them."""
        from caviar.wandb_client import fetch_runs, fetch_sweep

        before = self._read.get(registered.id)
        if before is not None and time.monotonic() - before[0] < FRESH:
            return before
        sweep = registered.sweep
        try:
            server, runs = fetch_sweep(registered.path), fetch_runs(registered.path)
        except SearchFailed:
            if before is None:
                raise
            state = before[1].removesuffix(SILENT) + SILENT
            self._read[registered.id] = (time.monotonic(), state, before[2])
            return self._read[registered.id]
        trials = trials_of(registered.stage, sweep, runs, server.over)
        if not server.over:
            to_come = range(len(trials), sweep.num_trials)
            trials += [Trial(registered.stage, n, WAITING, Planned({}, 0)) for n in to_come]
        self._read[registered.id] = (time.monotonic(), server.state, trials)
        return self._read[registered.id]
