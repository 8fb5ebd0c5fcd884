"""The project's code: which files a training may come from, and what they are now.

    files = code_files()       # {"src/mine/model.py": "5f0c…", "train.py": "91ab…"}
    digest(files)              # one hash for all of them

It is what a `_target_` can name: everything below `src/`, the scripts beside it, and other folders
of the project that hold Python. Caviar itself is a library like torch, and left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path

from caviar.base import project

LENGTH = 12  # hexadecimal digits that are kept of a hash
OWN = (Path("src/caviar"), Path("src/hydra_plugins/caviar"))
# Folders of the project that no model comes from.
ASIDE = ("tests", "test", "docs", "benchmarks", "examples", "notebooks", "scripts")
# Folders of any depth, beside hidden ones.
NEVER = ("__pycache__", "node_modules", "site-packages", "venv", "build", "dist")

PEEK = 500


def code_files() -> dict[str, str]:
    """The project's Python files by their path from its root, and a hash of each one's content.

    A hundred files take some 10 ms; folders of data and results are not walked through.
    """
    root = project.root()
    runs = project.runs()
    files: list[Path] = []
    for path in sorted(root.iterdir()):
        if path.suffix == ".py":
            files.append(path)
        elif path.is_dir() and _walked(path.name) and path.name not in ASIDE and path != runs:
            files += _python_below(path, root) if path.name == "src" or _has_python(path) else ()
    found = {}
    for path in sorted(files):
        with suppress(OSError):  # an editor puts a new one in its place just now
            content = sha256(path.read_bytes()).hexdigest()[:LENGTH]
            found[str(path.relative_to(root))] = content
    return found


def digest(files: Mapping[str, str]) -> str:
    """One hash for all files."""
    lines = "".join(f"{path} {content}\n" for path, content in sorted(files.items()))
    return sha256(lines.encode()).hexdigest()[:LENGTH]


def changed_files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Paths of the files that were changed, added or removed."""
    return sorted(p for p in {*before, *now} if before.get(p) != now.get(p))


def _has_python(folder: Path) -> bool:
    """Whether Python lies at its top, among the first files: one of data may have millions."""
    with os.scandir(folder) as entries:
        return any(entry.name.endswith(".py") for entry in islice(entries, PEEK))


def _python_below(folder: Path, root: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                if _walked(entry.name) and path.relative_to(root) not in OWN:
                    yield from _python_below(path, root)
            elif entry.name.endswith(".py"):
                yield path


def _walked(name: str) -> bool:
    return not name.startswith(".") and name not in NEVER and not name.endswith(".egg-info")
