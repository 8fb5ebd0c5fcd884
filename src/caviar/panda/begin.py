"""How a run is found, begun, gone on with, and copied.

A run goes on with the overrides that it was begun with and the values that are in force, both from
its journal. Whatever else is typed is either a change, which is written there first, or refused: a
run that quietly went on as another would make its own journal a lie.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from caviar.base import project
from caviar.base.errors import UserError
from caviar.config.commands import caviar_command, set_to, split_sources
from caviar.config.compose import project_composer
from caviar.config.keys import metric_of
from caviar.config.overrides import joined, override_key, override_value
from caviar.config.slips import refuse_bare
from caviar.ledger import known_storage
from caviar.panda import outside
from caviar.panda.groups import OPTIMIZERS, RATE, Groups
from caviar.panda.inbox import day_number, is_running
from caviar.panda.journal import EVENTS, NOTE, SET, START, Journal, Lineage, checkpoint_of, event
from caviar.panda.keeper import PandaSettings
from caviar.panda.levers import CONFIG, MAX_EPOCHS, MAX_STEPS, read_config, settable
from caviar.panda.nudge import Nudge, checked_changes, refuse_short

STUDY = "search.study"
# What is about how a run is watched, not about what is trained.
FREE = ("panda.", "hydra.", "logger", "callbacks", "debug")


def find_folder(overrides: Sequence[str]) -> tuple[Path, list[str]]:
    """The run's folder, and the overrides that do not name it.

    Without a name: the only one that runs, else the only one there is.

    Raises:
        UserError: there is none, or several.
    """
    name, rest = _split_study(overrides)
    runs = project.runs()
    if name is not None:
        folder = runs / name
        if not (folder / EVENTS).exists():
            begin = caviar_command("panda start", name)
            raise UserError(f"there is no panda {name}; begin it: {begin}")
        return folder, rest
    begun = [path.parent for path in sorted(runs.glob(f"*/{EVENTS}"))]
    candidates = [folder for folder in begun if is_running(folder)] or begun
    if len(candidates) != 1:
        names = ", ".join(folder.name for folder in candidates) or "none"
        raise UserError(f"which panda? There are: {names}; write {STUDY}=NAME")
    return candidates[0], rest


def start_overrides(overrides: Sequence[str], force: bool = False) -> list[str]:
    """What `train.py` is given: to begin a run, or to go on with the values in force.

    Raises:
        UserError: the run is finished, runs already, or is to go on as another; or its config
            breaks a rule of `panda`. Nothing was made or written down then.
    """
    sources, overrides = split_sources(overrides)
    name, typed = _split_study(overrides)
    theirs = project.current().theirs
    typed = outside.adding(typed) if theirs else typed
    if name is None:
        config = project_composer(sources)(typed)
        metric_of(config)
        name = f"{config.search.study}_panda"
    folder = project.runs() / name
    if known_storage(folder) is not None:
        raise UserError(
            f"{name} is the study of a search; write another name: {STUDY}={name}_panda"
        )
    journal = Journal(folder)
    lineage = Lineage.of(journal.events())
    # Hydra makes the folder before a line of ours runs in it, so what can be refused without torch
    # is refused here.
    asked = _changing_and_rest(journal, lineage, typed) if lineage.events else None
    sources = list(dict.fromkeys([*sources, *lineage.start.get("sources", ())]))
    compose, words = project_composer(sources), list(joined(lineage.overrides, typed))
    config = compose([*words, "++panda.run=true"])
    theirs_own = outside.own_overrides(config, words) if theirs else []
    PandaSettings.of(config)
    given = _going_on(journal, lineage, *asked, force) if asked else typed
    own = [*theirs_own, "++panda.run=true", set_to(STUDY, name)]
    if not theirs and "logger" not in {override_key(o) for o in given}:
        own.append("logger=none")  # metrics.jsonl has it all
    return [*sources, *given, *own, set_to("hydra.run.dir", folder.absolute())]


def _split_study(overrides: Sequence[str]) -> tuple[str | None, list[str]]:
    """The study that overrides name, if they do, and the other overrides."""
    refuse_bare(overrides)
    names = [o.partition("=")[2] for o in overrides if override_key(o) == STUDY]
    return (names[-1] if names else None), [o for o in overrides if override_key(o) != STUDY]


def _changing_and_rest(
    journal: Journal, lineage: Lineage, overrides: Sequence[str]
) -> tuple[list[str], list[str]]:
    """What is asked of a run that goes on: overrides that change values, and those of its keeper.

    Raises:
        UserError: it runs, or is to go on as another.
    """
    name = journal.folder.name
    if is_running(journal.folder):
        watch = caviar_command("panda watch", name)
        raise UserError(f"{name} runs already; {watch} shows it")
    overrides = [o for o in overrides if o != "seed=null"]  # it was drawn, and written down
    # What it was begun with is no change, also if it was nudged since: the same command goes on.
    overrides = [o for o in overrides if o not in lineage.overrides]
    groups = Groups.of(lineage.events)
    keys = settable(read_config(journal.folder), groups) if overrides else []
    changing = [o for o in overrides if override_key(o) in (*keys, RATE)]
    rest = [o for o in overrides if o not in changing]
    for override in rest:
        if not override_key(override).startswith(FREE):
            raise UserError(
                f"{override}: {name} was begun without it, and goes on as it is; it "
                f"can be changed in {', '.join(keys)}; another run needs {STUDY}=ANOTHER_NAME"
            )
    return changing, rest


def _going_on(
    journal: Journal, lineage: Lineage, changing: list[str], rest: list[str], force: bool
) -> list[str]:
    """The overrides that a run was begun with, and its values in force; writes changes down."""
    if lineage.ending == "finished" and not changing:
        trainer = read_config(journal.folder)["trainer"]
        length = MAX_STEPS if (trainer.get("max_steps") or -1) > 0 else MAX_EPOCHS
        longer = length.partition(".")[2] in trainer  # somebody's own key may say how long
        raise UserError(
            f"{journal.folder.name} is finished; go on "
            f"{f'with a larger {length}=…, or ' if longer else ''}from an earlier day: "
            f"{caviar_command('panda back', journal.folder.name)} --to day…"
        )
    last = lineage.events[-1]
    place = (lineage.branch, last.day, last.step)
    if changing:
        nudge = checked_changes(journal.folder, changing, force)
        refuse_short(nudge.changes, lineage.days())
        moves = {c.key: [c.old, c.new] for c in nudge.changes if c.old != c.new}
        if moves or any(move.old != move.new for move in nudge.moves):
            journal.write(event(SET, *place, changes=moves, facts=nudge.facts))
        lineage = Lineage.of(journal.events())
    if rest:  # a keeper, a logger: also for the processes after a going back
        words = f"from here on with {' '.join(rest)}"
        journal.write(event(NOTE, *place, why=words, facts={"overrides": rest}))
    # Last, so that they win over what the run was begun with.
    values = [f"{key}={override_value(value)}" for key, value in lineage.values.items()]
    return list(joined(lineage.overrides, rest, values))


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
    events = Journal(folder).events()
    lineage, groups = Lineage.of(events), Groups.of(events)
    days = lineage.days()
    if not days:
        raise UserError(f"{folder.name} has no day behind it yet; wait for the end of the first")
    ended = lineage.day(day_number(day)) if day is not None else days[-1]
    nudge = checked_changes(folder, overrides, force) if overrides else Nudge([])
    # What is in force there is in force here, though nothing was changed by it.
    moves = {key: [value, value] for key, value in lineage.values.items()}
    moves |= nudge.written
    source = checkpoint_of(folder, lineage, ended.day)
    if source is None:
        raise UserError("day 0 has no checkpoint; a run from there is one of its own: panda start")
    (made / ORIGIN).parent.mkdir(parents=True)
    # Copied, not linked: the first run may go on, and its folder may be deleted.
    shutil.copyfile(source, made / ORIGIN)
    shutil.copyfile(folder / CONFIG, made / CONFIG)
    start = {
        "overrides": lineage.overrides,
        "sources": lineage.start.get("sources", []),
        "wandb": uuid.uuid4().hex[:8],
        "forked": f"{folder.name}, branch {ended.branch}, day {ended.day}",
        "checkpoint": str(ORIGIN),
        **({OPTIMIZERS: groups.to_facts()} if groups is not None else {}),
        **nudge.facts,
    }
    reason = f"a copy of {start['forked']}" + (f"; {why}" if why else "")
    Journal(made).write(
        event(START, 0, ended.day, ended.step, changes=moves, why=reason, facts=start)
    )
    return made
