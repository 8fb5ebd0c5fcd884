"""Several values for one key, `optimizer.lr=0.1,0.2`: what they mean, and where they are refused.

A search draws from the space; a command that names values by hand means something else, and is told
which command that would be. Each of those that are printed runs as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
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
        # The complement of a momentum is written with an interpolation.
        values.append((text, OmegaConf.create({"key": value}).key))
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
    action, first = config.search.action, swept[0]
    if action not in ("stage", "search"):
        one_value(arguments)
    if not any(o.is_interval_sweep() or o.value_type == ValueType.GLOB_CHOICE_SWEEP for o in swept):
        compose(
            combinations(arguments, compose.loader)[0][0]
        )  # a key that there is not is the slip to be told
    key = first.key_or_group
    if compose.is_group(key):
        why = f"{key} is a group of files, and no axis of a space"
    elif key == "seed":
        why = "in a search every trial has a training seed of its own, made from search.seed"
    else:
        why = "-m draws from the space, it makes no grid"
    sources = sources_of(config)
    hydra = [o for o in config.hydra.overrides.hydra if not DECIDED.match(o)]
    commands = []
    if not any(compose.is_group(o.key_or_group) or o.key_or_group == "seed" for o in swept):
        words = [_axis(o, config) if o in swept else str(o.input_line) for o in parsed]
        if known_storage(study_folder(config)) is not None:  # it was begun with another space
            words = [word for word in words if override_key(word) != "search.study"]
            words.append(set_to("search.study", _free_name(study_folder(config))))
        line = train_command(["-m", *hydra, *restore_one_minus(words)], sources)
        commands.append(f"  to search over them: {line}")
    if not any(o.is_interval_sweep() for o in swept):
        words = [
            str(o.input_line)
            for o in parsed
            if not o.key_or_group.startswith("search.") or o.key_or_group == "search.study"
        ]
        words = ["hydra/sweeper=grid", *hydra, *restore_one_minus(words)]
        line = train_command(["-m", *words], sources)
        commands.append(f"  to train each of them: {line}")
    (typed,) = restore_one_minus([str(first.input_line)])
    raise UserError("\n".join([f"{typed}: {why}; write", *commands]))


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


def _axis(override: Override, config: DictConfig) -> str:
    """The override of the space that draws from the values which this one names."""
    key = override.key_or_group
    if override.is_interval_sweep():
        interval: Any = override.value()
        scale = f"${{linear:{interval.start},{interval.end}}}"
    else:
        values = ",".join(override_value(value) for _, value in swept_values(override))
        scale = f"${{choice:{values}}}"
    plus = "" if OmegaConf.select(config.space, key) is not None else "+"
    # Hydra takes an interpolation as it is, but for one with quotes or spaces inside.
    plain = re.fullmatch(r"\$\{\w+:[\w.,+-]+\}", scale)
    return f"{plus}space.{key}={scale if plain else override_value(scale)}"


def _free_name(folder: Path) -> str:
    """A study's name that is not taken: `digits_2`."""
    number = 2
    while folder.with_name(f"{folder.name}_{number}").exists():
        number += 1
    return f"{folder.name}_{number}"
