"""What can be changed while a model trains: which keys, to which values.

A change is read twice, from the same text: in the terminal, so that a slip is answered at once, and
by the run, since another nudge may have come before this one and `*1.5` is relative to it. No
torch: a terminal's answer takes no import of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from caviar.base.errors import UserError
from caviar.panda.journal import Event, Journal, Lineage
from caviar.space import Choice, OneMinusLog, Space
from caviar.space.scales import Linear, one_minus

CONFIG = "config.yaml"  # in the study's folder, written by `caviar.panda.run`
STEP, EPOCH = "within one step", "at the next epoch"
# What means something, by a key's last part, in whatever optimizer or schedule it is. What is in
# none of these is 0 or more. Bounds of sense, which --force leaves closed; those of the declared
# space it opens.
BELOW_ONE = ("momentum", "dampening", "beta1", "beta2", "alpha", "dropout")
POSITIVE = ("lr", "batch_size", "gradient_clip_val", "max_epochs", "step_size", "T_max")
WHOLE = ("batch_size", "max_epochs", "step_size", "T_max", "patience", "cooldown")
MAX_EPOCHS = "trainer.max_epochs"
# By the config's node. Each reason says what to do instead.
WHY_NOT = {
    "model": "it shapes the weights, which are there already; begin another run with it",
    "data": "the data is read and split once; begin another run with it",
    "trainer": "the trainer is built with it; stop the run, and begin another",
    "seed": "the weights and the order of the data come from it; begin another run with it",
}


@dataclass(frozen=True)
class Change:
    """One key of a nudge, checked."""

    key: str
    old: Any
    new: Any

    @property
    def when(self) -> str:
        """When it is in force: batches of the present epoch are cut already."""
        return EPOCH if self.key == "data.batch_size" else STEP


def read_config(folder: Path) -> dict[str, Any]:
    """The run's config, as far as the verbs need it.

    Raises:
        UserError: it cannot be read.
    """
    try:
        config = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{folder / CONFIG} cannot be read: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{folder / CONFIG} is damaged; caviar panda start writes it again")
    return config


def checked_changes(folder: Path, overrides: Sequence[str], force: bool) -> list[Change]:
    """Changes of the run in a folder, against what is in force there.

    Raises:
        UserError: they cannot be.
    """
    config, lineage = read_config(folder), Lineage.of(Journal(folder).events())
    space = Space.parse(config.get("space") or {})
    return read_changes(overrides, config, lineage.values, space, force)


def read_changes(
    overrides: Sequence[str],
    config: Mapping[str, Any],
    values: Mapping[str, Any],
    space: Space,
    force: bool,
) -> list[Change]:
    """What `caviar panda set` was given, against the values in force.

    Arguments:
        overrides: `optimizer.lr=0.02`, or relative, `optimizer.lr=*1.5`, `one_minus.KEY=/2`.
        config: of the run, plain.
        values: in force, where they differ from the config's.
        space: a value outside of it asks for force.
        force: take it all the same.

    Raises:
        UserError: an unknown key, one that cannot be changed, or a value that cannot be.
    """
    if not overrides:
        raise UserError("nothing to change; write, for example, optimizer.lr=*1.5")
    changes: dict[str, Change] = {}
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals:
            raise UserError(f"{override}: write KEY=VALUE, such as optimizer.lr=0.02 or =*1.5")
        # `one_minus.` changes what is multiplied, not which key is set: momentum 0.9 with *0.5 is
        # 0.95, half as far from 1, which is the scale that momentum is searched on as well.
        key = name.removeprefix(OneMinusLog.prefix)
        _refuse_fixed(key, config)
        old = value_in_force(config, values, key)
        new = _value(key, text, old, complement=name != key)
        if not force:
            _refuse_outside(key, new, space)
        if key in changes:
            raise UserError(f"{key} is set twice; write it once")
        changes[key] = Change(key, old, new)
    return list(changes.values())


def settable(config: Mapping[str, Any]) -> list[str]:
    """The keys of a run that can be changed while it trains."""
    keys = [
        f"{node}.{name}"
        for node in ("optimizer", "scheduler")
        for name, value in (config.get(node) or {}).items()
        if _is_number(value) and name != "frequency"  # which Lightning has read by then
    ]
    for key in ("model.dropout", "data.batch_size", "trainer.gradient_clip_val", MAX_EPOCHS):
        node, _, name = key.partition(".")
        if name in (config.get(node) or {}):  # null as well: gradients that are not clipped yet
            keys.append(key)
    return keys


def value_in_force(config: Mapping[str, Any], values: Mapping[str, Any], key: str) -> Any:
    """A key's value: what a nudge has set, else the config's."""
    if key in values:
        return values[key]
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


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
    for change in changes:
        if change.key == MAX_EPOCHS and change.new <= trained:
            raise UserError(
                f"{MAX_EPOCHS}={change.new} leaves nothing to train after {trained} epochs"
            )


def _refuse_fixed(key: str, config: Mapping[str, Any]) -> None:
    keys = settable(config)
    if key in keys:
        return
    root, _, rest = key.partition(".")
    node: Any = config
    for part in key.split("."):
        node = node.get(part, ...) if isinstance(node, Mapping) else ...
    if node is ...:
        raise UserError(f"the run has no {key}; it can be nudged in {', '.join(keys)}")
    reason = WHY_NOT.get(root, "the run was begun with it")
    if isinstance(node, Mapping) or rest.endswith("_target_"):
        reason = "it is no number"
    raise UserError(f"{key} cannot be changed while it trains: {reason}")


def _value(key: str, text: str, old: Any, complement: bool) -> Any:
    """A value as it was typed, absolute or relative to the old one."""
    name = key.rpartition(".")[2]
    relative = re.fullmatch(r"([*/])(.+)", text)
    number = _number(relative[2] if relative else text, key)
    if number is None:
        if name != "gradient_clip_val" or relative:
            raise UserError(f"{key}={text}: it needs a number")
        return None
    if relative:
        if not _is_number(old):  # null: no clipping yet
            raise UserError(f"{key}={text}: it is {old} now, so it needs a number of its own")
        base = 1 - old if complement else old
        # By 0 it is NaN, which is refused below with the key's name.
        number = base * number if relative[1] == "*" else base / (number or math.nan)
    # 0.1 times 3 is 0.3 to whoever reads the journal, not 0.30000000000000004.
    value: Any = one_minus(number) if complement else float(f"{number:.12g}")
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


def _is_number(value: Any) -> bool:
    # To Python True is an int; `nesterov` is no lever all the same.
    return isinstance(value, int | float) and not isinstance(value, bool)
