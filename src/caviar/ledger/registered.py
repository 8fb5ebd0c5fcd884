"""Which stages of a study are W&B sweeps: `runs/<study>/sweeps.json`.

A stage is kept with the text of the sweep file that was registered. The service's copy may be
edited by whoever has access to the project; this one is what it is compared with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from caviar import project
from caviar.errors import UserError
from caviar.files import replaced
from caviar.space.sweep_file import SweepFile

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
    facts: Mapping[str, Any]
    """What a ledger keeps of a stage: the registered text as `sweep`, overrides, seed."""

    @property
    def path(self) -> str:
        """`entity/project/id`, as `wandb agent` takes it."""
        return f"{self.entity}/{self.project}/{self.id}"

    @property
    def text(self) -> str:
        """The sweep file as it was registered."""
        return str(self.facts["sweep"])

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
        found = {stage: Registered(stage=stage, **known) for stage, known in stages.items()}
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
    kept = {stage: _without_stage(known) for stage, known in stages.items()}
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


def _without_stage(registered: Registered) -> dict[str, Any]:
    kept = asdict(registered)
    del kept["stage"]
    return kept
