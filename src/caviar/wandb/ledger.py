"""Which stages of a study are W&B sweeps: `runs/<study>/sweeps.json`.

A stage is kept with the text of the sweep file that was registered. The service's copy may be
edited by whoever has access to the project; this one is what it is compared with.
"""

# MERGED ledger.sweeps """The ledger of a study whose stages are W&B sweeps: their runs are its trials.
#
# W&B's service gives trials out and keeps their results, so such a stage can only be read here. The
# confirmation is trained by `caviar confirm` and kept in the study's journal, as ever.
# """
#

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from caviar.base import project
from caviar.base.errors import SearchFailed, UserError
from caviar.base.files import replaced
from caviar.ledger import storages
from caviar.ledger.ledger import Ledger
from caviar.ledger.storages import HEARTBEAT, JOURNAL, open_storage
from caviar.ledger.trials import WAITING, Planned, Trial
from caviar.space.sweep_file import SweepFile
from caviar.wandb.runs import trials_of

RECORD = "sweeps.json"  # in the study's folder; its presence says that W&B sweeps are its stages


@dataclass(frozen=True)
class Registered:
    """One stage, registered as a sweep."""

    stage: str
    entity: str
    project: str
    id: str
    sha256: str
    """Of the registered file's text."""
    time: str
    """When it was registered, ISO 8601."""
    spec: Mapping[str, Any]
    """What a ledger keeps of a stage: the registered text as `sweep`, overrides, seed."""

    @property
    def path(self) -> str:
        """`entity/project/id`, as `wandb agent` takes it."""
        return f"{self.entity}/{self.project}/{self.id}"

    @property
    def text(self) -> str:
        """The sweep file as it was registered."""
        return str(self.spec["sweep"])

    @property
    def sweep(self) -> SweepFile:
        return SweepFile.parse(self.text, Path(f"{self.stage}.yaml"))


def read_registered(folder: Path) -> dict[str, Registered]:
    """The registered stages of the study in `folder`, by stage, in their order.

    Raises:
        UserError: the file is damaged, or a registered text was edited in it.
    """
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        stages = json.loads(path.read_text(encoding="utf-8"))
        found = {stage: _from_json(stage, known) for stage, known in stages.items()}
        whole = all(digest(r.text) == r.sha256 for r in found.values())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {error}; caviar sweep --id records a sweep") from None
    if not whole:
        raise UserError(
            f"{path}: a sweep's text is not the one that was registered; remove its stage from the "
            "file, and record it again with caviar sweep --id"
        )
    return found


def write_registered(folder: Path, new: Registered) -> None:
    """Remember a stage, in the place of an earlier registration of the same."""
    folder.mkdir(parents=True, exist_ok=True)
    stages = {**read_registered(folder), new.stage: new}
    kept = {stage: _to_json(known) for stage, known in stages.items()}
    with replaced(folder / RECORD) as partial:
        partial.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def find_registered(sweep_id: str) -> tuple[str, Registered] | None:
    """The study and stage of a sweep, by its id, among all studies of this project."""
    for path in sorted(project.runs().glob(f"*/{RECORD}")):
        for registered in read_registered(path.parent).values():
            if registered.id == sweep_id:
                return path.parent.name, registered
    return None


def digest(text: str) -> str:
    """SHA-256 of a file's text, in hexadecimal."""
    return sha256(text.encode()).hexdigest()


# On disk a stage's spec is called `facts`, the name that earlier versions wrote.
def _from_json(stage: str, known: Mapping[str, Any]) -> Registered:
    rest = {name: value for name, value in known.items() if name != "facts"}
    return Registered(stage=stage, spec=known["facts"], **rest)


def _to_json(registered: Registered) -> dict[str, Any]:
    kept = asdict(registered)
    spec = kept.pop("spec")
    del kept["stage"]
    return {**kept, "facts": spec}


SILENT = " when W&B last answered"
FRESH = 10.0  # seconds for which what was read is shown again: the service counts requests


def register() -> None:
    """Let studies with a record of sweeps be opened by `Ledger.open`."""
    storages.register(RECORD, SweepLedger)


class SweepLedger(Ledger):
    """A ledger over `runs/<study>/sweeps.json`."""

    elsewhere = True

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

    def begin(self, stage: str, spec: Mapping[str, Any], mode: str) -> dict[str, Any]:
        if "sweep" in spec:  # of a stage of search
            raise UserError(
                f"the stages of study {self.study} are W&B sweeps; register {stage} with caviar "
                f"sweep search.study={self.study}, or search here under another search.study"
            )
        return super().begin(stage, spec, mode)

    def spec(self, stage: str) -> dict[str, Any]:
        known = self.registered()
        return dict(known[stage].spec) if stage in known else super().spec(stage)

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

    def refresh(self) -> None:
        self._read = {name: (-FRESH, *read[1:]) for name, read in self._read.items()}

    @property
    def continued_by(self) -> str:
        return f"caviar agent search.study={self.study}"

    def _sweep(self, registered: Registered) -> tuple[float, str, list[Trial]]:
        """When it was read, the sweep's state, and its trials, those to come among them."""
        from caviar.wandb.client import fetch_runs, fetch_sweep

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
