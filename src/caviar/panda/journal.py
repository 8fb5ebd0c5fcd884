"""The journal: what happened to a model, in order. Append-only; the one truth of a panda.

`journal.jsonl` has an event a line, synced to disk; `journal.md` says the same for reading. A line
that a full disk or a kill has torn is cut off before the next one is written, and nothing before
it is ever touched.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from caviar.files import append_synced, replaced
from caviar.result import finite

EVENTS, READABLE = "journal.jsonl", "journal.md"  # in the study's folder

START, RESUME, DAY, SET, BACK, STOP, DIVERGED, FINISH, NOTE = (
    "start", "resume", "day", "set", "back", "stop", "diverged", "finish", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    kind: str
    time: str
    """ISO 8601, local."""
    branch: int
    """From 0; every going back begins another."""
    day: int
    """Days that had ended."""
    step: int
    """Optimizer steps that had been taken."""
    epoch: int = 0
    changes: Mapping[str, list[Any]] = field(default_factory=dict)
    """Config key → [old, new]."""
    why: str = ""
    by: str = "user"
    """`user`, or `keeper`."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else the kind of event has to say, such as a day's metric."""


class Journal:
    """The journal in a study's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def exists(self) -> bool:
        """Whether anything was begun here."""
        return (self.folder / EVENTS).exists()

    def events(self) -> list[Event]:
        """Everything that is written down whole."""
        if not self.exists():
            return []
        found = []
        for line in (self.folder / EVENTS).read_text(encoding="utf-8").splitlines():
            try:
                found.append(Event(**json.loads(line)))
            except (ValueError, TypeError):
                break  # torn; nothing can follow it
        return found

    def write(self, event: Event) -> None:
        """Append an event, synced to disk.

        Raises:
            OSError: the disk is full; the journal is as it was.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps(finite(asdict(event)), separators=(",", ":"), ensure_ascii=False)
        append_synced(self.folder / EVENTS, f"{line}\n".encode())
        with suppress(OSError):  # it follows from the events, and is written anew with the next
            self.write_readable()

    def write_readable(self) -> None:
        """`journal.md`, from the events."""
        with replaced(self.folder / READABLE) as partial:
            partial.write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The journal for reading."""
        lines = [f"# Journal of {self.folder.name}", ""]
        for event in self.events():
            when = event.time.replace("T", " ")[:16]
            lines.append(f"- {when} · {sentence(event)}")
        return "\n".join(lines) + "\n"


def event(kind: str, branch: int, day: int, step: int, **more: Any) -> Event:
    """An event that happens now."""
    return Event(kind, datetime.now().astimezone().isoformat(), branch, day, step, **more)


def sentence(event: Event) -> str:
    """An event in words: `day 3, step 120 · optimizer.lr 0.01 → 0.015: "flat since day 2"`."""
    where = f"branch {event.branch}, day {event.day}, step {event.step}"
    reason = f": “{event.why}”" if event.why else ""
    who = " (keeper)" if event.by == "keeper" else ""
    changed = ", ".join(
        f"{key} {shown(old)} → {shown(new)}" for key, (old, new) in event.changes.items()
    )
    facts = event.facts
    if event.kind == DAY:
        before, now = facts.get("before"), facts.get("value")
        moved = f"{shown(before)} → {shown(now)}" if before is not None else shown(now)
        after = f" after {facts['after']}" if facts.get("after") else ""
        return f"{where} · day {event.day} ends: {facts.get('metric')} {moved}{after}"
    said = {
        START: "begins",
        RESUME: "goes on",
        SET: changed,
        BACK: f"back from step {facts.get('left')} of branch {facts.get('from')}"
        + (f", with {changed}" if changed else ""),
        STOP: "stopped",
        DIVERGED: "diverged",
        FINISH: "finished",
        NOTE: "",
    }[event.kind]
    return f"{where}{' · ' if said else ''}{said}{who}{reason}"


def shown(value: Any) -> str:
    """A value for reading; NaN was written as null."""
    if value is None:
        return "nothing"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    return str(value)
