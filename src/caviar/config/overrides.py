"""Points as Hydra overrides, and the one rewrite that `one_minus.` names need.

    python train.py one_minus.optimizer.momentum=0.0123

means `optimizer.momentum=${one_minus:0.0123}`: the search coordinate is the complement, the
config keeps the natural value, and a misspelt key is still Hydra's own clear error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from caviar.space import OneMinusLog

_SAFE_TEXT = re.compile(r"([A-Za-z_/]|\d+_[A-Za-z])[A-Za-z0-9_./-]*")
_NUMBERS = re.compile(r"[\d.eE+-]+(,[\d.eE+-]+)+")  # of a grid
_KEYWORDS = {"null", "true", "false", "inf", "nan"}


def override_value(value: Any) -> str:
    """`value` in Hydra's override grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{k}:{override_value(v)}' for k, v in value.items())}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(map(override_value, value))}]"
    if isinstance(value, str):
        if _SAFE_TEXT.fullmatch(value) and value.lower() not in _KEYWORDS:
            return value
        # Hydra reads a backslash as itself, except in front of a quote.
        escaped = re.sub(r"(\\*)('|\Z)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), value)
        return f"'{escaped}'"
    return repr(value)


def point_overrides(point: Mapping[str, Any]) -> list[str]:
    """Search coordinates as overrides: ["optimizer.lr=0.01", "one_minus.optimizer.…=0.02"]."""
    return [f"{name}={override_value(value)}" for name, value in point.items()]


def rewrite_one_minus(arguments: Iterable[str]) -> list[str]:
    """Every `one_minus.KEY=V` as `KEY=${one_minus:V}`, also of several numbers for a grid; all else
    unchanged."""
    prefix = re.compile(rf"(\+{{0,2}}){re.escape(OneMinusLog.prefix)}([^=]+)=(.*)", re.DOTALL)

    # Before Hydra parses it: a key that is misspelt is then still Hydra's own clear error, and an
    # optimizer's config stays plain torch.
    def rewritten(match: re.Match[str]) -> str:
        value = match[3]
        values = value.split(",") if _NUMBERS.fullmatch(value) else [value]
        return f"{match[1]}{match[2]}={','.join(f'${{one_minus:{v}}}' for v in values)}"

    return [
        rewritten(match) if (match := prefix.fullmatch(argument)) else argument
        for argument in arguments
    ]


def quote_paths(arguments: Iterable[str]) -> list[str]:
    """Paths as they are typed, such as `ckpt_path=epoch=3.ckpt`, which Hydra's grammar refuses."""
    path = re.compile(r"(\+{0,2}(?:ckpt_path|search\.sweep))=([^'\"$].*[=(){}\[\],].*)")
    return [
        f"{m[1]}={override_value(m[2])}" if (m := path.fullmatch(argument)) else argument
        for argument in arguments
    ]


def restore_one_minus(arguments: Iterable[str]) -> list[str]:
    """What `rewrite_one_minus` was given: overrides as they are typed, shown and written down."""
    one = r"\$\{one_minus:[^{}]*\}"
    rewritten = re.compile(rf"(\+{{0,2}})([^=]+)=({one}(?:,{one})*)")

    def restored(match: re.Match[str]) -> str:
        values = re.findall(r"\{one_minus:([^{}]*)\}", match[3])
        return f"{match[1]}{OneMinusLog.prefix}{match[2]}={','.join(values)}"

    return [restored(m) if (m := rewritten.fullmatch(a)) else a for a in arguments]


def joined(*parts: Iterable[str]) -> tuple[str, ...]:
    """All overrides in order, each key once, where it was named last.

    What Hydra makes of the result is what it makes of all the overrides one after another: of
    several for one key the last counts, and is prefixed such that Hydra accepts it, whether the
    key has to exist for the first of them (`key=`, `~key`), must not (`+key=`), or may (`++key=`).
    """
    first: dict[str, str] = {}
    last: dict[str, str] = {}
    for override in (o for part in parts for o in part):
        key = override_key(override)
        deletes = override.startswith("~")
        # A deletion needs the key as much as what it undoes: key=1 ~key is the same as ~key.
        if key not in first or (deletes and not first[key].startswith("+")):
            first[key] = override
        last.pop(key, None)
        last[key] = override
    return tuple(o for key, override in last.items() for o in _merged(first[key], override))


def _merged(first: str, last: str) -> list[str]:
    """What remains of all overrides for one key, from `first` to `last`."""
    if first == last:
        return [last]
    if last.startswith("~"):
        return [first, last]
    # The first may have made the key or found it; after ++ only ++ is right in both cases.
    deleted = first.startswith("~")
    before = "+" if deleted else first[: len(first) - len(first.lstrip("+"))]
    after = last[: len(last) - len(last.lstrip("+"))]
    change = max(before, after, key=len) + last.lstrip("+")
    # A group or a node that was deleted and put back must not be merged with the old one.
    return [first, change] if deleted else [change]


def override_key(override: str) -> str:
    """The config key, or group, that an override is about: `optimizer.momentum`."""
    return override.partition("=")[0].lstrip("+~").removeprefix(OneMinusLog.prefix)


def keys_outside(overrides: Iterable[str], *nodes: str) -> list[str]:
    """The overrides that do not touch the given top-level nodes, such as `search`."""
    return [o for o in overrides if re.split(r"[.=@/]", o.lstrip("+~"), maxsplit=1)[0] not in nodes]
