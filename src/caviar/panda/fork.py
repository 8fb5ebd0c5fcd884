"""A copy of a run that goes on beside it: `caviar panda fork`."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from caviar import project
from caviar.errors import UserError
from caviar.panda.begin import CONFIG, checked_changes
from caviar.panda.journal import START, Journal, event
from caviar.panda.lineage import Lineage, checkpoint_of
from caviar.panda.requests import day_number

ORIGIN = Path("checkpoints") / "origin.ckpt"  # what a fork begins from


def make_fork(
    folder: Path, name: str, day: str | None, overrides: Sequence[str], why: str, force: bool
) -> Path:
    """Make the copy's folder, with a day's checkpoint and a journal that says where it is from.

    Arguments:
        folder: of the run.
        name: of the copy.
        day: to begin from; the latest by default.
        overrides: changes of the copy.
        why: for its journal.
        force: also outside of the declared space.

    Raises:
        UserError: the name is taken, there is no such day, or a change cannot be.
    """
    made = project.runs() / name
    if made.exists():
        raise UserError(f"{name} is there already; write another name")
    lineage = Lineage.of(Journal(folder).events())
    days = lineage.days()
    if not days:
        raise UserError(f"{folder.name} has no day behind it yet; wait for the end of the first")
    ended = lineage.day(day_number(day)) if day is not None else days[-1]
    changes = checked_changes(folder, overrides, force) if overrides else []
    told = {key: [value, value] for key, value in lineage.values.items()}
    told |= {change.key: [change.old, change.new] for change in changes}
    source = checkpoint_of(folder, lineage, ended.day)
    if source is None:
        raise UserError("day 0 has no checkpoint; a run from there is one of its own: panda start")
    (made / ORIGIN).parent.mkdir(parents=True)
    shutil.copyfile(source, made / ORIGIN)
    shutil.copyfile(folder / CONFIG, made / CONFIG)
    facts = {
        "overrides": lineage.overrides,
        "wandb": uuid.uuid4().hex[:8],
        "forked": f"{folder.name}, branch {ended.branch}, day {ended.day}",
        "checkpoint": str(ORIGIN),
    }
    reason = f"a copy of {facts['forked']}" + (f"; {why}" if why else "")
    Journal(made).write(
        event(START, 0, ended.day, ended.step, changes=told, why=reason, facts=facts)
    )
    return made
