"""A space as a file of `conf/space/`.

    >>> from caviar.space.scales import Log
    >>> print(space_text([Entry("optimizer.lr", Log(1e-4, 1), ("was uniform",))]), end="")
    optimizer:
      # was uniform
      lr: ${log:0.0001,1}

The scales are written as the resolvers that read them, and above each stands why it is so.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from caviar.space.scales import Choice, Scale
from caviar.space.space import TIERS, SpaceError
from caviar.space.values import ScaleError

WIDTH = 100
TAKEN = (TIERS, "defaults")  # what stands on the first level of a space and is no axis
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")  # text that a resolver reads without quotes
_WORDS = {"null", "true", "false", "inf", "nan"}


@dataclass(frozen=True)
class Entry:
    """One axis of the file."""

    key: str
    scale: Scale
    comments: Sequence[str] = ()
    """Paragraphs."""


def space_text(entries: Sequence[Entry], head: Sequence[str] = ()) -> str:
    """The file's content.

    Arguments:
        entries: the axes; those of one node stand together, where the first one of it stands.
        head: comment lines at the top.

    Raises:
        SpaceError: a key that a space cannot have, or one that is a node as well.
    """
    tree: dict[str, Any] = {}
    for entry in entries:
        *above, last = entry.key.split(".")
        if entry.key.partition(".")[0] in TAKEN or not all((*above, last)):
            raise SpaceError(entry.key, "a space can have no axis of this name")
        node = tree
        for part in above:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise SpaceError(entry.key, f"{part} is an axis itself")
        if last in node:
            raise SpaceError(entry.key, "there are two of it, or it is a node as well")
        node[last] = entry
    return "\n".join([*(f"# {line}".rstrip() for line in head), *_lines(tree)]) + "\n"


def resolver(scale: Scale) -> str:
    """The scale as a space declares it: `${one_minus_log:0.9,0.999}`.

    Raises:
        ScaleError: it is a choice among complements, which only sweep files have.
    """
    if not isinstance(scale, Choice):
        low, high = scale.declared()
        return f"${{{scale.kind}:{_number(low)},{_number(high)}}}"
    if scale.complement:
        raise ScaleError("a choice of complements 1-β; write the values of β itself")
    return f"${{choice:{','.join(map(_argument, scale.values))}}}"


def _lines(tree: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, node in tree.items():
        if isinstance(node, Entry):
            for words in node.comments:
                plain = "".join(c if c.isprintable() else " " for c in words)
                wrapped = textwrap.wrap(plain, WIDTH - len(indent) - 2, break_long_words=False)
                lines += [f"{indent}# {line}" for line in wrapped]
            try:
                declared = _scalar(resolver(node.scale))
            except ScaleError as error:
                raise SpaceError(node.key, str(error)) from None
            lines.append(f"{indent}{_scalar(name)}: {declared}")
        else:
            lines += [f"{indent}{_scalar(name)}:", *_lines(node, indent + "  ")]
    return lines


def _number(value: float) -> str:
    """As people write it: 1e-5 for 1e-05; whole ends without a dot."""
    text = repr(value) if value != int(value) or abs(value) >= 1e16 else str(int(value))
    return re.sub(r"e([+-])0*", lambda m: "e" + m[1].replace("+", ""), text)


def _argument(value: Any) -> str:
    """A value of a choice in OmegaConf's grammar, which reads 1.0, '1.0' and 1 as three."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        text = repr(value)
        return re.sub(r"e([+-])0*", lambda m: "e" + m[1].replace("+", ""), text)
    if isinstance(value, int):
        return str(value)
    if _BARE.fullmatch(value) and value.lower() not in _WORDS:
        return str(value)
    # A backslash is itself, but in front of a quote; and ${ would begin an interpolation.
    escaped = re.sub(r"(\\*)(\$\{|'|\Z)", lambda m: 2 * m[1] + (f"\\{m[2]}" if m[2] else ""), value)
    return f"'{escaped}'"


def _scalar(text: str) -> str:
    """A YAML scalar that reads back as this text: bare where it can be."""
    try:
        if yaml.safe_load(f"k: {text}") == {"k": text} == yaml.safe_load(f"k: {text} # …"):
            return text
    except yaml.YAMLError:
        pass
    quoted: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10**9)
    return quoted.rstrip("\n")
