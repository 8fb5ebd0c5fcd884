"""What other terminals ask of a run: changes, a rollback, its end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from caviar.errors import UserError
from caviar.panda.begin import checked_changes, refuse_short
from caviar.panda.inbox import Inbox, is_running, not_running, running
from caviar.panda.journal import Journal, shown
from caviar.panda.levers import Change
from caviar.panda.lineage import Lineage, back_event, checkpoint_of


def nudge(
    folder: Path, overrides: Sequence[str], why: str, force: bool, patience: float
) -> list[str]:
    """Change values of the run; a line for each that is in force.

    Raises:
        UserError: a change that cannot be, or no run that could take it.
    """
    if not is_running(folder):
        raise UserError(not_running(folder))
    checked_changes(folder, overrides, force)
    # The run reads them once more: another nudge may come before this one.
    asked = {"set": list(overrides), "force": force, "why": why}
    answer = Inbox(folder).ask(asked, patience)
    if "error" in answer:
        raise UserError(f"the run refused: {answer['error']}")
    changes = [Change(key, old, new) for key, (old, new) in answer["changes"].items()]
    place = f"step {answer['step']}, epoch {answer['epoch']}"
    lines = [
        f"{c.key} {shown(c.old)} → {shown(c.new)}, in force {c.when} of {place}" for c in changes
    ]
    if any(c.key.startswith(("optimizer.lr", "scheduler.")) for c in changes):
        lines.append(f"the next step has lr {answer['lr']:.6g}")
    return lines


def go_back(
    folder: Path, to: str, overrides: Sequence[str], why: str, force: bool, patience: float
) -> str:
    """Go on from an earlier day; of a run that is stopped, when it is started again.

    Raises:
        UserError: there is no such day, or a change that cannot be.
    """
    day = day_number(to)
    journal = Journal(folder)
    lineage = Lineage.of(journal.events())
    path = checkpoint_of(folder, lineage, day)
    if path is not None and not path.is_file():
        raise UserError(f"the checkpoint of day {day} is gone: {path}")
    changes = checked_changes(folder, overrides, force) if overrides else []
    refuse_short(changes, [e for e in lineage.days() if e.day <= day])
    if is_running(folder):
        wanted = {c.key: c.new for c in changes}
        answer = Inbox(folder).ask({"back": day, "changes": wanted, "why": why}, patience)
        if "error" in answer:
            raise UserError(f"the run refused: {answer['error']}")
        return f"back to day {day}; the run goes on from there as a new branch"
    with running(folder):
        told = {c.key: [c.old, c.new] for c in changes}
        left = lineage.events[-1].step
        journal.write(back_event(lineage.events, day, left, told, why))
    return f"back to day {day}; go on: caviar panda start search.study={folder.name}"


def stop_run(folder: Path, patience: float) -> str:
    """Let the run leave.

    Raises:
        UserError: none is there.
    """
    answer = Inbox(folder).ask({"stop": True}, patience)
    return f"stopped at step {answer['step']}; go on: caviar panda start search.study={folder.name}"


def day_number(text: str) -> int:
    """Of `day3` or `3`.

    Raises:
        UserError: it is no day.
    """
    match = re.fullmatch(r"(?:day\s*)?(\d+)", text.strip())
    if match is None:
        raise UserError(f"{text} is no day; write day3, or 3; day0 is the beginning")
    return int(match[1])
