"""The config key that somebody's own name for a hyperparameter means.

    >>> match("lr", {"model.optimizer.lr": 0.1, "data.batch_size": 64})
    'model.optimizer.lr'

`model.lr`, `model/lr` and `model_lr` all mean a key `….model.lr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caviar.space.lint import nearest
from caviar.space.space import SpaceError

# What is called by two names, in W&B's examples by the one and in configs by the other.
ALIASES = (
    ("lr", "learning_rate"),
    ("wd", "weight_decay"),
    ("bs", "batch_size"),
    ("epochs", "max_epochs"),
    ("eps", "epsilon"),
)


def match(name: str, defaults: Mapping[str, Any]) -> str:
    """The one key of the config that a name means.

    Arguments:
        name: of a W&B sweep's parameter.
        defaults: the config's values by dotted key.

    Raises:
        SpaceError: there is none, or more than one.
    """
    if (dotted := name.replace("/", ".")) in defaults:
        return dotted
    flat = _flat(dotted)
    # A value that only repeats another one is no place to set it.
    settable = [
        key
        for key, value in defaults.items()
        if not key.rpartition(".")[2].startswith("_")
        and not (isinstance(value, str) and value.startswith("${"))
    ]
    for meant in (flat, *_aliases(flat)):
        found = [key for key in settable if meant in _tails(key)]
        if len(found) == 1:
            return found[0]
        if found:
            raise SpaceError(
                name,
                f"it could be {' or '.join(found)}; say which: --key {name}={found[0]}",
            )
    tails = {tail: key for key in settable for tail in _tails(key)}
    close = tails.get(nearest(flat, tails), "")
    meant = f"did you mean {close}? Say" if close else "say"
    raise SpaceError(
        name,
        f"the config has no such key; {meant} which one it is, --key {name}={close or 'KEY'}, or "
        "take it out of the file",
    )


def _flat(key: str) -> str:
    return key.lower().replace(".", "_").replace("-", "_")


def _tails(key: str) -> list[str]:
    """A key without more and more of what stands in front."""
    parts = key.split(".")
    return [_flat(".".join(parts[i:])) for i in range(len(parts))]


def _aliases(flat: str) -> list[str]:
    return [
        flat[: len(flat) - len(one)] + other
        for pair in ALIASES
        for one, other in (pair, pair[::-1])
        if flat == one or flat.endswith(f"_{one}")
    ]
