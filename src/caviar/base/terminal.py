"""Lines for a terminal: broken between words, never inside of a command or a path.

A terminal breaks a long line wherever it ends. Of prose that is ugly; a command has to stay one
line, since who copies it would copy a break as well. So one that is too long has a line to itself,
which the terminal folds.
"""

from __future__ import annotations

import re
import shutil
import sys
from typing import TextIO

NARROW = 20  # columns; below, all is left to the terminal

# A program, its verb, and words that no prose has: overrides, options, paths, quoted ones.
_WORD = r"""(?:'[^']*'|"[^"]*"|[^\s'"])+"""
_ARGUMENT = rf"""(?=\S*[=/.\-'"~+_\d]){_WORD}"""
_COMMAND = rf"(?:caviar panda|caviar|python|wandb|pip|make|cd|source) [a-z]{_WORD}(?: {_ARGUMENT})*"
_PIECES = re.compile(rf"(?<!\S){_COMMAND}|\S+")


def wrapped(text: str, width: int) -> str:
    """The same words, in lines of less than `width` columns where that can be.

    Arguments:
        text: may have several lines; what follows of a broken one is indented by two.
        width: of the terminal.
    """
    if width < NARROW:
        return text
    return "\n".join(_line(line, width) for line in text.split("\n"))


def _line(line: str, width: int) -> str:
    from rich.cells import cell_len  # behind it, since --help need not wait for it

    if cell_len(line) <= width:
        return line
    indent = line[: len(line) - len(line.lstrip())]
    lines, now = [], indent
    before = len(indent)  # where the piece before has ended; columns of spaces are kept
    for found in _PIECES.finditer(line):
        space = line[before : found.start()] if now.strip() else ""
        if now.strip() and cell_len(now + space + found[0]) > width:
            lines.append(now)
            now, space = f"{indent}  ", ""
        now += space + found[0]
        before = found.end()
    return "\n".join([*lines, now])


def complain(text: str) -> None:
    """Print to stderr, in lines that fit where it is a terminal."""
    say(text, sys.stderr)


def say(text: str, file: TextIO | None = None) -> None:
    """The same to stdout, of a command that has no use for a console."""
    file = sys.stdout if file is None else file
    if file.isatty():
        text = wrapped(text, shutil.get_terminal_size().columns)
    print(text, file=file)
