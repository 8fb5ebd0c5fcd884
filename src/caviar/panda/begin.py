"""Which run a command is about, and how it is begun or gone on with. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from caviar import project
from caviar.errors import UserError
from caviar.ledger import JOURNAL, RECORD
from caviar.overrides import joined, override_key, override_value
from caviar.panda.inbox import is_running
from caviar.panda.journal import EVENTS, NOTE, SET, Event, Journal, event
from caviar.panda.levers import Change, read_changes, settable
from caviar.panda.lineage import Lineage
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
    if any((folder / file).exists() for file in (JOURNAL, RECORD)):
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
    from caviar.compose import composed

    config, _ = composed(overrides)
    return f"{config.name}_panda"
