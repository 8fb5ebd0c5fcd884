"""The ledger of a study whose stages are W&B sweeps: their runs are its trials.

W&B's service gives trials out and keeps their results, so such a stage can only be read here. The
confirmation is trained by `caviar confirm` and kept in the study's journal, as ever.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from caviar.base.errors import SearchFailed, UserError
from caviar.config.commands import caviar_command
from caviar.ledger import storages
from caviar.ledger.ledger import Ledger
from caviar.ledger.overview import Overview
from caviar.ledger.reader import Mark
from caviar.ledger.storages import HEARTBEAT, JOURNAL, open_storage
from caviar.ledger.trials import WAITING, Planned, Trial
from caviar.wandb.client import fetch_runs, fetch_sweep
from caviar.wandb.record import RECORD, Registered, read_registered
from caviar.wandb.runs import trials_of

SILENT = " when W&B last answered"
FRESH = 10.0  # seconds for which what was read is shown again: the service counts requests


def register() -> None:
    """Let studies with a record of sweeps be opened by `Ledger.open`."""
    storages.register(RECORD, SweepLedger)


@dataclass(frozen=True)
class _Reading:
    """A sweep as the service had it."""

    at: float
    """When it was read, on the monotonic clock."""
    state: str
    trials: list[Trial]
    """Those that are to come among them."""


class SweepLedger(Ledger):
    """A ledger over `runs/<study>/sweeps.json`."""

    elsewhere = True

    def __init__(self, folder: Path, study: str) -> None:
        storage, claims = open_storage(str(folder / JOURNAL), study, HEARTBEAT)
        super().__init__(storage, study, claims)
        self.folder = folder
        self._readings: dict[str, _Reading] = {}

    def registered(self) -> dict[str, Registered]:
        """The stages that are sweeps."""
        # Read anew each time: another process may register a stage while this one watches.
        return read_registered(self.folder)

    def stages(self) -> list[str]:
        return [*self.registered(), *super().stages()]

    def begin(self, stage: str, spec: Mapping[str, Any], mode: str) -> dict[str, Any]:
        if "sweep" in spec:  # of a stage of search
            raise UserError(
                f"the stages of study {self.study} are W&B sweeps; register {stage} with "
                f"{caviar_command('sweep', self.study)}, or search here under another search.study"
            )
        return super().begin(stage, spec, mode)

    def spec(self, stage: str) -> dict[str, Any]:
        sweeps = self.registered()
        return dict(sweeps[stage].spec) if stage in sweeps else super().spec(stage)

    def trials(self, stage: str) -> list[Trial]:
        sweeps = self.registered()
        return self._read(sweeps[stage]).trials if stage in sweeps else super().trials(stage)

    def trial(self, stage: str, number: int) -> Trial:
        if stage in self.registered():
            return self.trials(stage)[number]
        return super().trial(stage, number)

    def mark(self, stage: str) -> Mark:
        return None if stage in self.registered() else super().mark(stage)

    def changed(self, stage: str, since: Mark = None) -> tuple[Mark, list[Trial]]:
        """Of a sweep all: the service does not say what was written last."""
        if stage in self.registered():
            return None, self.trials(stage)
        return super().changed(stage, since)

    def overview(self, stage: str) -> Overview:
        sweeps = self.registered()
        if stage in sweeps:
            return Overview.of(self.trials(stage), sweeps[stage].sweep.mode)
        return super().overview(stage)

    def some(self, stage: str, numbers: Sequence[int]) -> list[Trial]:
        if stage in self.registered():
            trials = self.trials(stage)
            return [trials[number] for number in numbers]
        return super().some(stage, numbers)

    def claimable(self, stage: str) -> list[int]:
        """Of a sweep none: the service gives them out."""
        return [] if stage in self.registered() else super().claimable(stage)

    def interrupted(self, stage: str, running: Collection[int]) -> set[int]:
        """Of a sweep none that we could know of: the service follows its runs."""
        return set() if stage in self.registered() else super().interrupted(stage, running)

    def no_retry(self, stage: str) -> str:
        if stage not in self.registered():
            return super().no_retry(stage)
        return (
            "its stage is a W&B sweep, and W&B gives no run out twice; refine does without it: "
            f"caviar refine search.study={self.study}"
        )

    def note(self, stage: str) -> str:
        sweeps = self.registered()
        if stage not in sweeps:
            return super().note(stage)
        return f"W&B sweep {sweeps[stage].path}, {self._read(sweeps[stage]).state}"

    def refresh(self) -> None:
        # Kept, and only made old: it is shown on if the service does not answer now.
        self._readings = {name: replace(r, at=-FRESH) for name, r in self._readings.items()}

    @property
    def continued_by(self) -> str:
        return caviar_command("agent", self.study)

    def _read(self, registered: Registered) -> _Reading:
        """The sweep as it is now, or was a moment ago; while W&B is silent, as it was last."""
        before = self._readings.get(registered.id)
        if before is not None and time.monotonic() - before.at < FRESH:
            return before
        try:
            server, runs = fetch_sweep(registered.path), fetch_runs(registered.path)
        except SearchFailed:
            if before is None:
                raise
            state, trials = before.state.removesuffix(SILENT) + SILENT, before.trials
        else:
            sweep = registered.sweep
            state, trials = server.state, trials_of(registered.stage, sweep, runs, server.over)
            if not server.over:
                to_come = range(len(trials), sweep.num_trials)
                trials += [Trial(registered.stage, n, WAITING, Planned({}, 0)) for n in to_come]
        # After a silence too: each look would else wait for the client's timeout.
        self._readings[registered.id] = _Reading(time.monotonic(), state, trials)
        return self._readings[registered.id]
