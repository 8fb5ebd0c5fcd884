"""What is wrong in a config file that cannot be read: the file, the line and the key."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from yaml import MarkedYAMLError

from caviar.base import project
from caviar.base.errors import UserError


def in_yaml(error: MarkedYAMLError) -> str:
    """A file that is no YAML: a tab, or a brace or quote that is not closed."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return str(error)
    if "'\\t'" in str(error.problem) or "\\t" in str(error.problem):
        return f"{_at(mark.name, mark.line)}: a tab; YAML is indented by spaces"
    begun = error.context_mark
    for kind, sign in (("flow mapping", "{"), ("flow sequence", "["), ("quoted scalar", "a quote")):
        if begun is not None and kind in str(error.context):
            return f"{_at(begun.name, begun.line)}: {sign} is opened and not closed"
    said = " ".join(str(part) for part in (error.context, error.problem) if part)
    return f"{_at(mark.name, mark.line)}: {said}"


def open_brace() -> str:
    """The first line of the project's config files on which a `${` is not closed; else empty."""
    try:
        folder = project.current().config_dir
    except UserError:
        return ""
    for file in sorted(folder.rglob("*.yaml")):
        for number, line in enumerate(_lines(file)):
            code = line.partition(" #")[0]
            if "${" in code and code.count("{") > code.count("}"):
                return _at(str(file), number)
    return ""


def no_resolver(name: str) -> str:
    """`${lg:…}`, of which nobody has told OmegaConf."""
    from caviar.space.scales import SCALES  # and NumPy, which a mere --help need not wait for

    close = difflib.get_close_matches(name, SCALES, n=1)
    hint = f"did you mean ${{{close[0]}:…}}? The" if close else "the"
    return f"there is no ${{{name}:…}}; {hint} scales are {', '.join(SCALES)}"


def _at(file: str, number: int) -> str:
    """`conf/space/mine.yaml, line 3: lr`, as far as the line has a key."""
    path = Path(file)
    line = _lines(path)[number] if number < len(_lines(path)) else ""
    key, colon, _ = line.strip().lstrip("- ").partition(":")
    shown = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else file
    return f"{shown}, line {number + 1}" + (f": {key}" if colon and key.isidentifier() else "")


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
