"""Which run a command is about, and how it is begun or gone on with. No torch."""

# MERGED panda.requests """What other terminals ask of a run: changes, a rollback, its end."""
#
# MERGED panda.fork """A copy of a run that goes on beside it: `caviar panda fork`."""
#

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from caviar.base import project
from caviar.base.errors import UserError
from caviar.config.overrides import joined, override_key, override_value
from caviar.ledger import known_storage
from caviar.panda.inbox import Inbox, is_running, not_running, running
from caviar.panda.journal import (
    EVENTS,
    NOTE,
    SET,
    START,
    Event,
    Journal,
    Lineage,
    back_event,
    checkpoint_of,
    event,
    shown,
)
from caviar.panda.levers import Change, read_changes, settable
from caviar.space import Space

STUDY = "search.study"
CONFIG = "config.yaml"  # in the study's folder, written by `caviar.panda.drive`


def find_folder(overrides: Sequence[str]) -> tuple[Path, list[str]]:
    """The run's folder, and the overrides that do not name it.

    Without a name: the only one that runs, else the only one there is.

    Raises:
        UserError: there is none, or several.
    """
    rest = [o for o in overrides if override_key(o) != STUDY]
    named = [o.partition("=")[2] for o in overrides if override_key(o) == STUDY]
    runs = project.runs()
    if named:
        folder = runs / named[-1]
        if not (folder / EVENTS).exists():
            raise UserError(
                f"there is no panda {named[-1]}; begin it: caviar panda start {STUDY}=…"
            )
        return folder, rest
    there = [path.parent for path in sorted(runs.glob(f"*/{EVENTS}"))]
    found = [folder for folder in there if is_running(folder)] or there
    if len(found) != 1:
        names = ", ".join(folder.name for folder in found) or "none"
        raise UserError(f"which panda? There are: {names}; write {STUDY}=NAME")
    return found[0], rest


def start_overrides(overrides: Sequence[str], force: bool = False) -> list[str]:
    """What `train.py` is given: to begin a run, or to go on with the values in force.

    Raises:
        UserError: the run is finished, runs already, or is to go on as another.
    """
    named = [o.partition("=")[2] for o in overrides if override_key(o) == STUDY]
    name = named[-1] if named else _default_name(overrides)
    folder = project.runs() / name
    if known_storage(folder) is not None:
        raise UserError(
            f"{name} is the study of a search; write another name: {STUDY}={name}_panda"
        )
    journal = Journal(folder)
    given = [o for o in overrides if override_key(o) != STUDY]
    if journal.exists():
        given = _going_on(journal, given, force)
    typed = {override_key(o) for o in given}
    own = ["panda.run=true", f"{STUDY}={override_value(name)}"]
    own += [] if "logger" in typed else ["logger=none"]  # metrics.jsonl has it all
    place = f"hydra.run.dir={override_value(str(folder.absolute()))}"
    return [*given, *own, place]


def read_config(folder: Path) -> dict[str, Any]:
    """The run's config, as far as the verbs need it."""
    try:
        config = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{folder / CONFIG} cannot be read: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{folder / CONFIG} is damaged; caviar panda start writes it again")
    return config


def checked_changes(folder: Path, overrides: Sequence[str], force: bool) -> list[Change]:
    """Changes of a run, against what is in force.

    Raises:
        UserError: they cannot be.
    """
    config, lineage = read_config(folder), Lineage.of(Journal(folder).events())
    space = Space.parse(config.get("space") or {})
    return read_changes(overrides, config, lineage.values, space, force)


def _going_on(journal: Journal, overrides: Sequence[str], force: bool) -> list[str]:
    """The overrides that a run was begun with, and its values in force; writes changes down."""
    if is_running(journal.folder):
        raise UserError(f"{journal.folder.name} runs already; caviar panda watch shows it")
    lineage = Lineage.of(journal.events())
    overrides = [o for o in overrides if o != "seed=null"]  # it was drawn, and written down
    able = settable(read_config(journal.folder)) if overrides else []
    free = ("panda.", "hydra.", "logger", "callbacks", "debug")
    # What it was begun with is no change, also if it was nudged since: the same command goes on.
    changing = [o for o in overrides if override_key(o) in able and o not in lineage.overrides]
    for override in overrides:
        known = override in changing or override in lineage.overrides
        if not known and not override_key(override).startswith(free):
            raise UserError(
                f"{override}: {journal.folder.name} was begun without it, and goes on as it is; it "
                f"can be changed in {', '.join(able)}; another run needs {STUDY}=ANOTHER_NAME"
            )
    if lineage.state == "finished" and not changing:
        raise UserError(
            f"{journal.folder.name} is finished; go on with a larger trainer.max_epochs=…, or from "
            "an earlier day: caviar panda back --to day…"
        )
    if changing:
        changes = checked_changes(journal.folder, changing, force)
        refuse_short(changes, lineage.days())
        told = {c.key: [c.old, c.new] for c in changes if c.old != c.new}
        last = lineage.events[-1]
        if told:
            journal.write(event(SET, lineage.branch, last.day, last.step, changes=told))
        lineage = Lineage.of(journal.events())
    rest = [o for o in overrides if o not in changing and o not in lineage.overrides]
    if rest:  # a keeper, a logger: also for the processes after a going back
        last, said = lineage.events[-1], f"from here on with {' '.join(rest)}"
        place = (lineage.branch, last.day, last.step)
        journal.write(event(NOTE, *place, why=said, facts={"overrides": rest}))
    values = [f"{key}={override_value(value)}" for key, value in lineage.values.items()]
    return list(joined(lineage.overrides, rest, values))


def refuse_short(changes: Sequence[Change], days: Sequence[Event]) -> None:
    """Refuse an end that lies behind, before anything is written down.

    Raises:
        UserError: fewer epochs than were trained.
    """
    trained = days[-1].epoch + 1 if days else 0
    for change in changes:
        if change.key == "trainer.max_epochs" and change.new <= trained:
            raise UserError(
                f"trainer.max_epochs={change.new} leaves nothing to train after {trained} epochs"
            )


def _default_name(overrides: Sequence[str]) -> str:
    from caviar.config.compose import project_composer

    return f"{project_composer()(overrides).name}_panda"


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
