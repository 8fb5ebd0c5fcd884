"""The reference of the configuration, from the YAML files and their comments: docs/conf.md.

mkdocs build                      # its tables replace the marker on that page
python docs/hooks/settings.py     # or print them
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("conf", "src/caviar/conf")
MARKER = "<!-- every key of conf/ and src/caviar/conf/ -->"


class Setting(NamedTuple):
    """A key as a command line names it, its default and comment as the file has them."""

    key: str
    default: str
    comment: str


class File(NamedTuple):
    """A YAML file: its path from the top, what its first lines say, its keys."""

    path: str
    about: str
    settings: list[Setting]


def comment_behind(line: str, column: int) -> str:
    """The comment at the end of a line, whose last token ends at the column."""
    found = re.match(r"[\s:,\]}]*#\s*(.*)", line[column:])
    return found[1].strip() if found else ""


def comments_above(lines: list[str], number: int, header: int) -> list[str]:
    """The lines that hold nothing but a comment and stand directly above line `number`."""
    first = number
    while first > header and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return [line.strip().lstrip("# ") for line in lines[first:number]]


def settings_of(text: str, prefix: str) -> Iterator[Setting]:
    """Every key of a YAML text, those inside of others too, and each entry of a list of lines."""
    lines = text.splitlines()
    header = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))

    def source(node: Any) -> str:
        if getattr(node, "style", None) in ("|", ">"):
            return f"{node.value.splitlines()[0]} …"
        return text[node.start_mark.index : node.end_mark.index]

    def setting(key: str, begin: Any, shown: str, end: Any) -> Setting:
        behind = comment_behind(lines[end.line], end.column) if end.line < len(lines) else ""
        above = comments_above(lines, begin.line, header) if begin.column == indent(begin) else []
        return Setting(key, shown, " ".join([*above, behind]).strip())

    def indent(mark: Any) -> int:
        return len(lines[mark.line]) - len(lines[mark.line].lstrip(" -"))

    def walk(node: Any, prefix: str) -> Iterator[Setting]:
        for key, value in node.value:
            name = key.value if key.value == "defaults" else f"{prefix}{key.value}"
            inside = isinstance(value, yaml.CollectionNode) and value.value
            if inside and not value.flow_style and isinstance(value, yaml.SequenceNode):
                for item in value.value:
                    # A block ends where the next one begins; what it says ends before.
                    last = item.value[-1][1] if isinstance(item, yaml.MappingNode) else item
                    shown = text[item.start_mark.index : last.end_mark.index]
                    yield setting(name, item.start_mark, shown, last.end_mark)
            elif inside and isinstance(value, yaml.MappingNode):
                end = value.end_mark if value.flow_style else key.end_mark
                yield setting(name, key.start_mark, "", end)
                yield from walk(value, f"{name}.")
            else:
                yield setting(name, key.start_mark, source(value), value.end_mark)

    tree = yaml.compose(text, Loader=yaml.SafeLoader)
    if tree is not None:
        yield from walk(tree, prefix)


def read(folder: str) -> Iterator[File]:
    """The files of a folder of configs, those of its top first."""
    top = ROOT / folder
    for path in sorted(top.rglob("*.yaml"), key=lambda p: (len(p.relative_to(top).parts), p)):
        text = path.read_text(encoding="utf-8")
        group = path.relative_to(top).parent.parts
        everywhere = not group or "# @package _global_" in text
        prefix = "" if everywhere else f"{'.'.join(group)}."
        if group == ("hydra", "job_logging") or group == ("hydra", "hydra_logging"):
            prefix = f"hydra.{group[1]}."
        about = []
        for line in text.splitlines():
            if not line.startswith("#"):
                break
            if not line.startswith("# @package"):
                about.append(line.removeprefix("#").removeprefix(" "))
        yield File(
            path.relative_to(ROOT).as_posix(), "\n".join(about), [*settings_of(text, prefix)]
        )


def cell(text: str) -> str:
    """Text as a cell of a Markdown table has it."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def code(text: str) -> str:
    """A value as code in a cell; nothing for nothing."""
    return f"`{' '.join(text.split())}`".replace("|", "\\|") if text else ""


def page() -> str:
    """A section for each file: what it is, and a table of its keys."""
    parts = []
    for folder in FOLDERS:
        for file in read(folder):
            lines = file.about.splitlines()
            said = cell(file.about) if len(lines) == 1 else f"```text\n{file.about}\n```"
            parts += [f"## {file.path}", said]
            rows = [
                f"| {code(s.key)} | {code(s.default)} | {cell(s.comment)} |" for s in file.settings
            ]
            if rows:
                parts.append("\n".join(["| key | default | |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs with each page."""
    return markdown.replace(MARKER, page()) if MARKER in markdown else markdown


if __name__ == "__main__":
    print(page())
