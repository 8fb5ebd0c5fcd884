"""What was registered: `runs/<study>/sweeps.json`, and whether the service still says the same.

A stage is kept with the text of the sweep file that was registered. The service's copy may be
edited by whoever has access to the project, and an agent runs the command that it names, on this
machine. So the text here is the truth: the service's is compared with it before an agent starts,
and a run takes its space from it.

Every run of an agent imports this module before anything else, so it imports neither Optuna nor
Hydra.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from caviar.base import project
from caviar.base.errors import UserError
from caviar.base.files import replaced
from caviar.base.terminal import complain
from caviar.config.commands import caviar_command, set_to
from caviar.space import Choice, Integer, Scale
from caviar.space.scales import number, whole
from caviar.space.sweep_file import SweepFile

RECORD = "sweeps.json"  # in the study's folder; its presence says that W&B sweeps are its stages
DECISIVE = ("program", "command")  # beside the parameters' names: what an agent runs here


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

    @classmethod
    def now(cls, stage: str, path: str, spec: Mapping[str, Any]) -> Registered:
        """A stage that has just become the sweep `path`, which is `entity/project/id`."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        entity, project, sweep_id = path.split("/")
        return cls(stage, entity, project, sweep_id, digest(str(spec["sweep"])), time, spec)

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


def digest(text: str) -> str:
    """SHA-256 of a file's text, in hexadecimal."""
    return sha256(text.encode()).hexdigest()


def read_registered(folder: Path) -> dict[str, Registered]:
    """The registered stages of the study in `folder`, by stage, in their order.

    Raises:
        UserError: the file is damaged, or a registered text was edited in it.
    """
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        stages = {stage: _from_json(stage, entry) for stage, entry in entries.items()}
        unchanged = all(digest(stage.text) == stage.sha256 for stage in stages.values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {error}; caviar sweep --id records a sweep") from None
    if not unchanged:
        raise UserError(
            f"{path}: a sweep's text is not the one that was registered; remove its stage from the "
            "file, and record it again with caviar sweep --id"
        )
    return stages


def write_registered(folder: Path, new: Registered) -> None:
    """Remember a stage, in the place of an earlier registration of the same."""
    folder.mkdir(parents=True, exist_ok=True)
    stages = {**read_registered(folder), new.stage: new}
    entries = {stage: _to_json(registered) for stage, registered in stages.items()}
    with replaced(folder / RECORD) as partial:
        partial.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


# On disk a stage's spec is called `facts`, the name that earlier versions wrote.
def _from_json(stage: str, entry: Mapping[str, Any]) -> Registered:
    rest = {name: value for name, value in entry.items() if name != "facts"}
    return Registered(stage=stage, spec=entry["facts"], **rest)


def _to_json(registered: Registered) -> dict[str, Any]:
    entry = asdict(registered)
    spec = entry.pop("spec")
    del entry["stage"]
    return {**entry, "facts": spec}


def find_registered(sweep_id: str) -> tuple[str, Registered] | None:
    """The study and stage of a sweep, by its id, among all studies of this project.

    A damaged record of another study is passed over, because it must not stop every agent of the
    project; where the sweep is found nowhere, a warning names it.

    Raises:
        UserError: the one record that names this sweep is damaged.
    """
    damaged = []
    for path in sorted(project.runs().glob(f"*/{RECORD}")):
        try:
            stages = read_registered(path.parent)
        except UserError as error:
            damaged.append((path, error))
            continue
        for registered in stages.values():
            if registered.id == sweep_id:
                return path.parent.name, registered
    for path, damage in damaged:
        # Without its record this sweep's runs would be checked against a space of their own
        # command, which whoever edits the sweep can choose.
        with suppress(OSError):  # of another account, perhaps
            if f'"{sweep_id}"'.encode() in path.read_bytes():
                raise damage
        complain(f"warning: sweep {sweep_id} is in no record here, but {damage}")
    return None


def value_of(scale: Scale, value: Any) -> Any:
    """The value that an axis has where W&B says `value`; JSON writes 1.0 as 1, and 64 as 64.0.

    Raises:
        ValueError: it is none that this axis can have. One outside its range is: ranges grow.
    """
    if isinstance(scale, Choice):
        for declared in scale.values:
            if isinstance(declared, bool) == isinstance(value, bool) and declared == value:
                return declared  # 1 is 1.0, but neither is True
        raise ValueError(f"{value!r} is no value of {scale}")
    try:
        return whole(value) if isinstance(scale, Integer) else number(value)
    except OverflowError:  # a whole number of JSON's may have any length
        raise ValueError(f"{value!r} is no value of {scale}") from None


def refuse_changed_sweep(registered: Registered, document: Mapping[str, Any]) -> str:
    """Compare with the sweep's configuration on the server.

    Returns:
        What else differs, such as a range, as lines to show; empty if nothing does.

    Raises:
        UserError: program, command or the parameters' names differ; it shows how.
    """
    ours: dict[str, Any] = yaml.safe_load(registered.text)
    changed = difference(_decisive(ours), _decisive(document))
    if changed:
        stage = set_to("search.stage", registered.stage)
        raise UserError(
            f"the sweep {registered.path} on the server is not the one that was registered from "
            f"{registered.stage}.yaml, and its agents would run here what it says now:\n{changed}\n"
            "if you do not know who changed it and why, start no agent; else register the stage "
            f"anew: {caviar_command('sweep', registered.sweep.study, stage)} --force"
        )
    kept = [key for key in ours if key != "name"]  # anybody may call it otherwise
    return difference({k: ours[k] for k in kept}, {k: document.get(k) for k in kept})


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Lines that differ, ours behind -, theirs behind +; empty if none does."""
    lines = list(difflib.unified_diff(_lines(ours), _lines(theirs), lineterm="", n=0))[2:]
    return "\n".join(f"  {line}" for line in lines if not line.startswith("@@"))


def _decisive(document: Mapping[str, Any]) -> dict[str, Any]:
    """What decides which code runs here, and which keys it is given."""
    parameters = document.get("parameters")
    names = sorted(map(str, parameters)) if isinstance(parameters, Mapping) else parameters
    return {**{key: document.get(key) for key in DECISIVE}, "parameters": names}


def _lines(document: Mapping[str, Any]) -> list[str]:
    """One thing a line, each with where it stands, so that a line that differs says all."""
    lines: list[str] = []
    # YAML has keys that are no text, and these cannot be compared with text.
    for key, node in sorted(document.items(), key=lambda item: str(item[0])):
        if isinstance(node, Mapping):
            lines += [f"{key}.{line}" for line in _lines(node)]
        elif isinstance(node, list):
            lines += [f"{key}: {item}" for item in node]
        else:
            lines.append(f"{key}: {node}")
    return lines
