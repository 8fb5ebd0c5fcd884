"""A nudge: what `caviar panda set` is given, checked and worked out.

It is read twice, from the same text: in the terminal, so that a slip is answered at once, and by
the run, since another nudge may have come before this one and `*1.5` is relative to it. No torch: a
terminal's answer takes no import of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from caviar.base.errors import UserError
from caviar.panda.groups import RATE, Groups, Move, is_number, rounded
from caviar.panda.journal import MOVES, NOTE, START, Event, Journal, Lineage
from caviar.panda.levers import (
    BATCH_SIZE,
    DECLARED_RATE,
    MAX_EPOCHS,
    MAX_STEPS,
    rate_key,
    read_config,
    refuse_fixed,
    value_in_force,
)
from caviar.space import Choice, OneMinusLog, Space
from caviar.space.scales import Linear, one_minus

STEP, EPOCH = "within one step", "at the next epoch"
# What means something, by a key's last part, in whatever optimizer or schedule it is. What is in
# none of these is 0 or more. Bounds of sense, which --force leaves closed; those of the declared
# space it opens.
BELOW_ONE = ("momentum", "dampening", "beta1", "beta2", "alpha", "dropout")
POSITIVE = (
    "lr", "batch_size", "gradient_clip_val", "max_epochs", "max_steps", "step_size", "T_max",
)  # fmt: skip
WHOLE = ("batch_size", "max_epochs", "max_steps", "step_size", "T_max", "patience", "cooldown")
RELATIVE = ("*", "/")


@dataclass(frozen=True)
class Change:
    """One key of a nudge."""

    key: str
    old: Any
    new: Any

    @property
    def when(self) -> str:
        """When it is in force: batches of the present epoch are cut already."""
        return EPOCH if self.key == BATCH_SIZE else STEP


@dataclass(frozen=True)
class Nudge:
    """What is changed at once, checked."""

    changes: list[Change]
    moves: list[Move] = field(default_factory=list)
    """Of the groups, where the module builds its own optimizers."""

    @property
    def new(self) -> dict[str, Any]:
        """The new values, by config key."""
        return {change.key: change.new for change in self.changes}

    @property
    def written(self) -> dict[str, list[Any]]:
        """As the journal has it: config key → [old, new]."""
        return {change.key: [change.old, change.new] for change in self.changes}

    @property
    def facts(self) -> dict[str, Any]:
        """What the journal says besides."""
        return {MOVES: [move.to_dict() for move in self.moves]} if self.moves else {}


def checked_changes(folder: Path, overrides: Sequence[str], force: bool) -> Nudge:
    """Changes of the run in a folder, against what is in force there.

    Raises:
        UserError: they cannot be.
    """
    config, events = read_config(folder), Journal(folder).events()
    space = Space.parse(config.get("space") or {})
    # Until it trains, nobody knows whether the module has optimizers of its own.
    unbuilt = all(e.kind in (START, NOTE) for e in events)
    values, groups = Lineage.of(events).values, Groups.of(events)
    return read_changes(overrides, config, values, space, force, groups, unbuilt)


def read_changes(
    overrides: Sequence[str],
    config: Mapping[str, Any],
    values: Mapping[str, Any],
    space: Space,
    force: bool,
    groups: Groups | None = None,
    unbuilt: bool = False,
) -> Nudge:
    """What `caviar panda set` was given, against the values in force.

    Arguments:
        overrides: `optimizer.lr=0.02`, or relative, `optimizer.lr=*1.5`, `one_minus.KEY=/2`;
            `lr=*0.5` is of all learning rates, whatever the config calls them.
        config: of the run, plain.
        values: in force, where they differ from the config's.
        space: a value outside of it asks for force.
        force: take it all the same.
        groups: of a module that builds its own optimizers.
        unbuilt: whether it may still turn out to be one.

    Raises:
        UserError: an unknown key, one that cannot be changed, or a value that cannot be.
    """
    if not overrides:
        raise UserError("nothing to change; write, for example, optimizer.lr=*1.5")
    changes: dict[str, Change] = {}
    factor: float | None = None

    def add(key: str, old: Any, new: Any) -> None:
        if not force:
            _refuse_outside(key, new, space)
        if key in changes:
            raise UserError(f"{key} is set twice; write it once")
        changes[key] = Change(key, old, new)

    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals:
            raise UserError(f"{override}: write KEY=VALUE, such as optimizer.lr=0.02 or =*1.5")
        # `one_minus.` changes what is multiplied, not which key is set: momentum 0.9 with *0.5 is
        # 0.95, half as far from 1, which is the scale that momentum is searched on as well.
        key = name.removeprefix(OneMinusLog.prefix)
        complement = name != key
        if key == RATE and groups is None and unbuilt and not config.get("optimizer"):
            raise UserError(
                f"{key}: its rates are not known before the run's first step; try again then"
            )
        if key == RATE and groups is None:
            key = rate_key(config, values)
        if groups is not None and _of_all_rates(key, text, groups):
            factor = _value(RATE, RATE, text, 1.0, complement=False)
            for own in groups.rate_keys():
                old = value_in_force(config, values, own)
                add(own, old, rounded(old * factor))
            continue
        refuse_fixed(key, config, values, groups, unbuilt)
        old = value_in_force(config, values, key)
        name_of = groups.name_of(key) if groups is not None else key.rpartition(".")[2]
        add(key, old, _value(key, name_of, text, old, complement))
    nudge = Nudge(list(changes.values()))
    return nudge if groups is None else Nudge(nudge.changes, groups.planned(nudge.written, factor))


def _of_all_rates(key: str, text: str, groups: Groups) -> bool:
    """Whether it asks to change all learning rates in proportion.

    So does the config's own key, which nothing reads where a module has optimizers of its own: it
    is what a person thinks of, and a proportion needs no old value.

    Raises:
        UserError: it names none that all could be set to.
    """
    if key == RATE and text[:1] not in RELATIVE:
        raise UserError(
            f"{key}={text}: it stands for all learning rates, so write how they change, such as "
            f"{key}=*0.5; {groups.words()}"
        )
    return key == RATE or (key == DECLARED_RATE and key not in groups.keys and text[:1] in RELATIVE)


def refuse_short(changes: Sequence[Change], days: Sequence[Event]) -> None:
    """Refuse an end that lies behind, before anything is written down.

    Training would refuse it too, but only when the journal says already that it is in force.

    Arguments:
        changes: perhaps one of `trainer.max_epochs` among them.
        days: the ends of days that lead to where the run goes on.

    Raises:
        UserError: fewer epochs than were trained.
    """
    trained = days[-1].epoch + 1 if days else 0
    steps = days[-1].step if days else 0
    for change in changes:
        for key, done, unit in ((MAX_EPOCHS, trained, "epochs"), (MAX_STEPS, steps, "steps")):
            if change.key == key and change.new <= done:
                raise UserError(f"{key}={change.new} leaves nothing to train after {done} {unit}")


def _value(key: str, name: str, text: str, old: Any, complement: bool) -> Any:
    """A value as it was typed, absolute or relative to the old one.

    Arguments:
        key: for what is said.
        name: what it is, such as `lr`; this has its bounds.
        text: as it was typed.
        old: the value in force.
        complement: whether the text is of 1 - value.
    """
    relative = re.fullmatch(r"([*/])(.+)", text)
    number = _number(relative[2] if relative else text, key)
    if number is None:
        if name != "gradient_clip_val" or relative:
            raise UserError(f"{key}={text}: it needs a number")
        return None
    if relative:
        if not is_number(old):  # null: no clipping yet
            raise UserError(f"{key}={text}: it is {old} now, so it needs a number of its own")
        base = 1 - old if complement else old
        # By 0 it is NaN, which is refused below with the key's name.
        number = base * number if relative[1] == "*" else base / (number or math.nan)
    value: Any = one_minus(number) if complement else rounded(number)
    if name in WHOLE and math.isfinite(value):  # 32 divided by 1.5: about so many
        value = round(value)
    if not math.isfinite(value):
        raise UserError(f"{key} would be {value}; it needs a finite number")
    if name in BELOW_ONE and not 0 <= value < 1:
        raise UserError(f"{key} would be {value:g}, but it is at least 0 and below 1")
    if name in POSITIVE and value <= 0:
        raise UserError(f"{key} would be {value:g}, but it is above 0")
    if value < 0:
        raise UserError(f"{key} would be {value:g}, but it is not negative")
    return value


def _refuse_outside(key: str, value: Any, space: Space) -> None:
    for axis in space:
        if axis.key != key or value is None:
            continue
        if isinstance(axis.scale, Choice):
            if value not in axis.scale.values:
                raise UserError(
                    f"{key}={value:g} is none of the declared space, {axis.scale}; write --force "
                    "if it is meant"
                )
            continue
        assert isinstance(axis.scale, Linear)
        low, high = axis.scale.declared()
        if not low <= value <= high:
            raise UserError(
                f"{key}={value:g} is outside of the declared space, {low:g} to {high:g}; write "
                "--force if it is meant"
            )


def _number(text: str, key: str) -> float | None:
    """A number as YAML or Python writes one; None for null."""
    try:
        return float(text)  # first: to YAML 1e-4 is text
    except ValueError:
        pass
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError:
        read = text
    if read is None:
        return None
    raise UserError(f"{key}={text}: {read!r} is no number")
