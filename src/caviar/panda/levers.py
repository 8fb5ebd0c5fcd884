"""What can be changed while a model trains: which keys, to which values. No torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from caviar.base.errors import UserError
from caviar.panda.journal import values_before
from caviar.space import Choice, OneMinusLog, Space
from caviar.space.scales import Linear, one_minus

STEP, EPOCH = "within one step", "at the next epoch"
# Ranges of values that mean something, both ends allowed unless said otherwise.
BELOW_ONE = ("momentum", "dampening", "beta1", "beta2", "alpha", "dropout")
POSITIVE = ("lr", "batch_size", "gradient_clip_val", "max_epochs", "step_size", "T_max")
WHOLE = ("batch_size", "max_epochs", "step_size", "T_max", "patience", "cooldown")
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
        """When it is in force."""
        return EPOCH if self.key == "data.batch_size" else STEP


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
        key = name.removeprefix(OneMinusLog.prefix)
        _refuse_fixed(key, config)
        old = values_before(config, values, key)
        new = _value(key, text, old, complement=name != key)
        if not force:
            _refuse_outside(key, new, space)
        if key in changes:
            raise UserError(f"{key} is set twice; write it once")
        changes[key] = Change(key, old, new)
    return list(changes.values())


def settable(config: Mapping[str, Any]) -> list[str]:
    """The keys of a run that can be changed while it trains."""
    found = []
    for node in ("optimizer", "scheduler"):
        found += [f"{node}.{k}" for k, v in (config.get(node) or {}).items() if _is_number(v)]
    own = ("model.dropout", "data.batch_size", "trainer.gradient_clip_val", "trainer.max_epochs")
    return found + [
        key for key in own if key.split(".")[1] in (config.get(key.split(".")[0]) or {})
    ]


def _refuse_fixed(key: str, config: Mapping[str, Any]) -> None:
    able = settable(config)
    if key in able:
        return
    root, _, rest = key.partition(".")
    node: Any = config
    for part in key.split("."):
        node = node.get(part, ...) if isinstance(node, Mapping) else ...
    if node is ...:
        raise UserError(f"the run has no {key}; it can be nudged in {', '.join(able)}")
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
        if not _is_number(old):
            raise UserError(f"{key}={text}: it is {old} now, so it needs a number of its own")
        base = 1 - old if complement else old
        number = base * number if relative[1] == "*" else base / (number or math.nan)
    value: Any = one_minus(number) if complement else float(f"{number:.12g}")
    if name in WHOLE and math.isfinite(value):
        value = round(value)
    _check(key, name, value)
    return value


def _check(key: str, name: str, value: Any) -> None:
    if not math.isfinite(value):
        raise UserError(f"{key} would be {value}; it needs a finite number")
    if name in BELOW_ONE and not 0 <= value < 1:
        raise UserError(f"{key} would be {value:g}, but it is at least 0 and below 1")
    if name in POSITIVE and value <= 0:
        raise UserError(f"{key} would be {value:g}, but it is above 0")
    if value < 0:
        raise UserError(f"{key} would be {value:g}, but it is not negative")


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
        return float(text)
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
    return isinstance(value, int | float) and not isinstance(value, bool)
