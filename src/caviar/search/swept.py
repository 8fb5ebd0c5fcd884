"""Several values for one key, `optimizer.lr=0.1,0.2`: what they mean, and where they are refused.

A search draws from the space; a command that names values by hand means something else, and is told
which command that would be. Each of those that are printed runs as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from omegaconf import DictConfig, OmegaConf

from caviar.base.errors import UserError
from caviar.config.commands import set_to, sources_of, train_command
from caviar.config.compose import Composer
from caviar.config.overrides import override_key, override_value, restore_one_minus
from caviar.ledger import known_storage
from caviar.search.settings import study_folder

LISTED = (ValueType.CHOICE_SWEEP, ValueType.SIMPLE_CHOICE_SWEEP, ValueType.RANGE_SWEEP)
STUDY = "search.study"
# Of Hydra's own overrides: what a printed command says by other words.
DECIDED = re.compile(r"hydra\.mode=|hydra/sweeper=|hydra\.searchpath=")


def combinations(arguments: Sequence[str], loader: Any) -> list[tuple[list[str], dict[str, Any]]]:
    """Every combination of the values that are named: its overrides, and what varies in it.

    Raises:
        UserError: a range without steps.
    """
    parser = OverridesParser.create(config_loader=loader)
    choices: list[list[tuple[str, dict[str, Any]]]] = []
    for override in parser.parse_overrides(list(arguments)):
        if override.is_interval_sweep():
            raise UserError(
                f"{override.input_line}: a grid needs values, such as {override.key_or_group}=1,2"
            )
        if override.is_sweep_override():
            choices.append(
                [
                    (f"{override.get_key_element()}={text}", {override.key_or_group: value})
                    for text, value in swept_values(override)
                ]
            )
        else:
            choices.append([(str(override.input_line), {})])
    return [
        ([text for text, _ in chosen], {k: v for _, one in chosen for k, v in one.items()})
        for chosen in product(*choices)
    ]


def swept_values(override: Override) -> list[tuple[str, Any]]:
    """The values that an override names: as text of an override, and as what they are."""
    parser = OverridesParser.create()
    values = []
    for text in override.sweep_string_iterator():
        value = parser.parse_override(f"key={text}").value()
        if isinstance(value, str):  # the complement of a momentum is an interpolation
            value = OmegaConf.create({"key": value}).key
        values.append((text, value))
    return values


def no_grid(config: DictConfig, arguments: Sequence[str], compose: Composer) -> None:
    """Refuse `a=1,2`: an axis is declared in the space, and drawn.

    Arguments:
        config: composed, with every override.
        arguments: the command line's overrides, `hydra.` ones left out.
        compose: the config of a combination, and which keys are config groups.

    Raises:
        UserError: with the commands that search over these values, or train each of them.
    """
    parsed = OverridesParser.create().parse_overrides(list(arguments))
    swept = [override for override in parsed if override.is_sweep_override()]
    if not swept:
        return
    first = swept[0]
    if config.search.action not in ("stage", "search"):
        one_value(arguments)
    if all(o.value_type in LISTED for o in swept):
        # That there is no such key is the slip to be told.
        compose(combinations(arguments, compose.loader)[0][0])
    if compose.is_group(first.key_or_group):
        why = f"{first.key_or_group} is a group of files, and no axis of a space"
    elif first.key_or_group == "seed":
        why = "in a search every trial has a training seed of its own, made from search.seed"
    else:
        why = "-m draws from the space, it makes no grid"
    commands = {
        "search over them": _searching(parsed, config, compose),
        "train each of them": _training(parsed),
    }
    hydra = [o for o in config.hydra.overrides.hydra if not DECIDED.match(o)]
    sources = sources_of(config)
    lines = [
        f"  to {what}: {train_command(['-m', *hydra, *restore_one_minus(words)], sources)}"
        for what, words in commands.items()
        if words
    ]
    (typed,) = restore_one_minus([str(first.input_line)])
    mend = "write" if lines else f"name the values: {first.key_or_group}=1,2"
    raise UserError("\n".join([f"{typed}: {why}; {mend}", *lines]))


def _searching(parsed: Sequence[Override], config: DictConfig, compose: Composer) -> list[str]:
    """The overrides of a search over the values that are named; none where it cannot be."""
    words = []
    for override in parsed:
        if override.is_sweep_override():
            key = override.key_or_group
            in_config = OmegaConf.select(config, key) is not None  # else it is no axis
            may_be_axis = in_config and key != "seed" and not compose.is_group(key)
            scale = _scale(override) if may_be_axis else None
            if scale is None:
                return []
            plus = "" if OmegaConf.select(config.space, key) is not None else "+"
            words.append(f"{plus}space.{key}={scale}")
        else:
            words.append(str(override.input_line))
    folder = study_folder(config)
    if known_storage(folder) is not None:  # it was begun with another space
        words = [word for word in words if override_key(word) != STUDY]
        words.append(set_to(STUDY, _free_name(folder)))
    return words


def _training(parsed: Sequence[Override]) -> list[str]:
    """The overrides of a grid over the same values; none where they are not counted."""
    if any(override.is_interval_sweep() for override in parsed):
        return []
    kept = [
        str(override.input_line)
        for override in parsed
        if override.key_or_group == STUDY or not override.key_or_group.startswith("search.")
    ]
    return ["hydra/sweeper=grid", *kept]


def _scale(override: Override) -> str | None:
    """The scale that draws from the values of an override; None where no scale does."""
    if override.is_interval_sweep():
        interval: Any = override.value()
        return f"${{linear:{interval.start},{interval.end}}}"
    values = [value for _, value in swept_values(override)]
    listed = ",".join(map(override_value, values))
    # Hydra takes all up to a brace for an interpolation, spaces and quotes among it.
    if "}" in listed or any(isinstance(value, Mapping | list) for value in values):
        return None
    return f"${{choice:{listed}}}"


def one_value(arguments: Sequence[str]) -> None:
    """Refuse `a=1,2` where nothing is swept.

    Raises:
        UserError: names the override.
    """
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        if override.is_sweep_override():
            raise UserError(
                f"{override.input_line}: it makes no grid; write one value for a key, or quote a "
                f"text with commas: \"{override.key_or_group}='…'\""
            )


def _free_name(folder: Path) -> str:
    """A study's name that is not taken: `digits_2`."""
    number = 2
    while folder.with_name(f"{folder.name}_{number}").exists():
        number += 1
    return f"{folder.name}_{number}"
