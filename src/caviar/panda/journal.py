"""The journal: what happened to a model, in order. Append-only; the one truth of a panda.

`journal.jsonl` has an event a line, synced to disk; `journal.md` says the same for reading. A line
that a full disk or a kill has torn is cut off before the next one is written, and nothing before
it is ever touched.

A `Lineage` is what the events add up to: branches and days, the values in force, the checkpoint to
go on from. None of it is kept anywhere else, so nothing can disagree with the journal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from caviar.base.errors import UserError
from caviar.base.files import append_synced, replaced
from caviar.base.result import finite
from caviar.config.overrides import joined

EVENTS, READABLE = "journal.jsonl", "journal.md"  # in the study's folder

# In journals on disk for good, as is each field of `Event`.
START, RESUME, DAY, SET, BACK, STOP, DIVERGED, FINISH, NOTE = (
    "start", "resume", "day", "set", "back", "stop", "diverged", "finish", "note",
)  # fmt: skip
MOVES = "groups"  # in an event's facts: what it made of the optimizers' groups


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
        whole = []
        for line in (self.folder / EVENTS).read_text(encoding="utf-8").splitlines():
            try:
                whole.append(Event(**json.loads(line)))
            except (ValueError, TypeError):
                break  # torn; nothing can follow it, since the next writer cuts it off first
        return whole

    def write(self, event: Event) -> None:
        """Append an event, synced to disk.

        Raises:
            OSError: the disk is full; the journal is as it was.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # NaN is null: it is no JSON, and a reader that stops at it would lose all that follows.
        line = json.dumps(finite(asdict(event)), separators=(",", ":"), ensure_ascii=False)
        append_synced(self.folder / EVENTS, f"{line}\n".encode())
        # The event stands once its line does. journal.md follows from the events and is written
        # anew with the next one: a disk that is full by now must not undo what is in force.
        with suppress(OSError), replaced(self.folder / READABLE) as partial:
            partial.write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The journal for reading, an event a line: what `caviar panda log` prints."""
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
    detail = event.facts
    changed = ", ".join(
        f"{key} {shown(old)} → {shown(new)}" for key, (old, new) in event.changes.items()
    )
    if moved := moved_words(detail.get(MOVES, [])):
        changed = f"{changed} ({moved})" if changed else moved
    if event.kind == DAY:
        before, now = detail.get("before"), detail.get("value")
        moved = f"{shown(before)} → {shown(now)}" if before is not None else shown(now)
        after = f" after {detail['after']}" if detail.get("after") else ""
        return f"{where} · day {event.day} ends: {detail.get('metric')} {moved}{after}"
    words = {
        START: "begins",
        RESUME: "goes on",
        SET: changed,
        BACK: f"back from step {detail.get('left')} of branch {detail.get('from')}"
        + (f", with {changed}" if changed else ""),
        STOP: "stopped",
        DIVERGED: "diverged",
        FINISH: "finished",
        NOTE: "",
    }[event.kind]
    return f"{where}{' · ' if words else ''}{words}{who}{reason}"


SOME = 8  # groups that a line has room for


def moved_words(moves: Sequence[Mapping[str, Any]]) -> str:
    """What became of groups: `optimizer 1: lr 0.0002 → 0.0001; optimizer 2: lr 0.0004 stays`.

    Arguments:
        moves: as an event's facts have them.
    """
    words = []
    for move in moves[:SOME]:
        new = f" → {shown(move['new'])}" if move["new"] != move["old"] else " stays"
        words.append(f"{move['where']}: {move['name']} {shown(move['old'])}{new}")
    more = [f"and {len(moves) - SOME} more"] if len(moves) > SOME else []
    return "; ".join([*words, *more])


def shown(value: Any) -> str:
    """A value for reading, or several; NaN was written as null."""
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    if value is None:
        return "nothing"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    return str(value)


LAST = Path("checkpoints") / "last.ckpt"  # of the latest epoch, or the latest stop


@dataclass
class Lineage:
    """What the journal adds up to: where the model is, and how it came there."""

    events: Sequence[Event]
    overrides: list[str] = field(default_factory=list)
    """What the user began with, the seed that was drawn among them."""
    start: dict[str, Any] = field(default_factory=dict)
    """What the first event says besides: the W&B run's id, a fork's checkpoint."""
    values: dict[str, Any] = field(default_factory=dict)
    """Values in force that a nudge has set, by config key."""
    branch: int = 0
    origins: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Branch → the branch and day that it began from."""

    @classmethod
    def of(cls, events: Sequence[Event]) -> Lineage:
        """Add up the events."""
        lineage = cls(events)
        for e in events:
            if e.kind == START:
                lineage.overrides = list(e.facts.get("overrides", []))
                lineage.start = dict(e.facts)
            if e.kind == BACK:
                lineage.branch = e.branch
                lineage.origins[e.branch] = (e.facts["from"], e.facts["to"])
            if e.kind == NOTE and "overrides" in e.facts:
                lineage.overrides = list(joined(lineage.overrides, e.facts["overrides"]))
            # Going back takes no value back: what is in force is in force on every branch. And a
            # fork is begun with the values that were in force where it came from.
            if e.kind in (SET, BACK, START):
                lineage.values |= {key: new for key, (_, new) in e.changes.items()}
        return lineage

    @property
    def ending(self) -> str:
        """How the last process left: `finished`, `diverged` or `stopped`.

        A kill writes nothing, so whatever has no end is stopped. Whether it runs at this moment
        the journal cannot know; `inbox.run_state` does.
        """
        kinds = [e.kind for e in self.events if e.kind != NOTE]
        ends = {FINISH: "finished", DIVERGED: "diverged"}
        return ends.get(kinds[-1], "stopped") if kinds else "stopped"

    def days(self, branch: int | None = None) -> list[Event]:
        """The ends of days that lead to a branch's present, its ancestors' before it."""
        branch = self.branch if branch is None else branch
        before: list[Event] = []
        if branch in self.origins:
            origin, day = self.origins[branch]  # which may itself lie on an ancestor's branch
            before = [e for e in self.days(origin) if e.day <= day]
        own = [e for e in self.events if e.kind == DAY and e.branch == branch]
        return [*before, *own]

    @property
    def first(self) -> Event:
        """The beginning: day 0, or the day that a fork was made from."""
        return self.events[0]

    def day(self, number: int) -> Event:
        """The end of a day on the way to the present, or the beginning.

        Raises:
            UserError: there was none.
        """
        ended = [e for e in (self.first, *self.days()) if e.day == number]
        if not ended:
            last = max((e.day for e in self.days()), default=self.first.day)
            raise UserError(
                f"day {number}: this branch has days {self.first.day} to {last}; write one of "
                f"them, such as --to day{max(self.first.day, last - 1)}"
            )
        return ended[-1]


def back_event(
    events: Sequence[Event],
    to: int,
    left: int,
    changes: Mapping[str, list[Any]],
    why: str,
    by: str = "user",
    **facts: Any,
) -> Event:
    """Going back, as a new branch.

    Arguments:
        events: the whole journal.
        to: the day; 0 for the first weights.
        left: the step that the old branch had come to.
        changes: config key → [old, new].
        why: for the journal.
        by: `user` or `keeper`.
        facts: more of them.
    """
    lineage = Lineage.of(events)
    branch = 1 + max(e.branch for e in events)  # never a number that a branch had before
    step = lineage.day(to).step
    origin = {"from": lineage.branch, "to": to, "left": left, **facts}
    return event(BACK, branch, to, step, changes=changes, why=why, by=by, facts=origin)


def day_checkpoint(folder: Path, branch: int, day: int) -> Path:
    """Where the checkpoint of a day's end is kept: two branches may both have a day 3."""
    return folder / "checkpoints" / f"branch{branch}" / f"day{day:04d}.ckpt"


def origin_checkpoint(folder: Path, lineage: Lineage) -> Path | None:
    """What the present branch began from; None for the model's first weights.

    Raises:
        UserError: the checkpoint is gone.
    """
    day = lineage.origins.get(lineage.branch, (0, lineage.first.day))[1]
    path = checkpoint_of(folder, lineage, day)
    if path is not None and not path.is_file():
        raise UserError(f"the checkpoint {path} is gone; go back to another day")
    return path


def checkpoint_of(folder: Path, lineage: Lineage, day: int) -> Path | None:
    """The checkpoint of a day on the way to the present; None for the model's first weights.

    Raises:
        UserError: there was no such day.
    """
    ended = lineage.day(day)
    if ended.kind == START:
        forked = lineage.start.get("checkpoint")
        return None if forked is None else folder / forked
    return day_checkpoint(folder, ended.branch, day)
