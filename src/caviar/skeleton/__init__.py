"""The project that `caviar new DIR` writes: what a user edits, and nothing else.

    files_of("mine")    # {"src/mine/model.py": b"…", "conf/train.yaml": b"…", …}

Its own model, data, space, test and Makefile lie in `files/`, where `package_name` stands for the
package. `conf/` and `train.py` are this repository's, which is its own first user: a wheel has a
copy of them in `files/`, and a checkout has them at its top.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from caviar.base.errors import UserError

FILES = Path(__file__).with_name("files")
CHECKOUT = Path(__file__).resolve().parents[3]
SHARED = ("conf", "train.py")
PLACEHOLDER = "package_name"
DEFAULT = "  - experiment: {}"  # the line of conf/train.yaml that says what is trained


def package_of(folder: Path, name: str | None = None) -> str:
    """The name of a project's package.

    Arguments:
        folder: the project's, whose name is taken: `My-Project` is `my_project`.
        name: another one.

    Raises:
        UserError: it cannot be imported, or something else would be.
    """
    asked = folder.resolve().name if name is None else name
    package = re.sub(r"[-. ]+", "_", asked).lower()
    other = "choose another one with --name"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", package) or keyword.iskeyword(package):
        raise UserError(
            f"{asked!r} is no name for a Python package, which has letters, digits and _, a letter "
            f"first; {other}"
        )
    files = files_of(PLACEHOLDER)
    own = [path.replace(PLACEHOLDER, package) for path in files if PLACEHOLDER in path]
    for path in (f"{package}.py", *own):
        if path in files:
            raise UserError(f"{package} is the name of {path}, which comes along; {other}")
    if package in sys.stdlib_module_names or find_spec(package):
        raise UserError(f"{package} is the name of a package that is installed here; {other}")
    return package


def files_of(package: str) -> dict[str, bytes]:
    """What a project consists of: its files by their path from its top.

    Arguments:
        package: the name of its package, which also names its experiment and its study.
    """
    found = {}
    for path, top in sorted(_sources()):
        where = path.relative_to(top).as_posix().replace(PLACEHOLDER, package)
        found[where] = path.read_bytes().replace(PLACEHOLDER.encode(), package.encode())
    root = found["conf/train.yaml"].decode()
    ours = DEFAULT.format("digits")
    assert ours in root
    found["conf/train.yaml"] = root.replace(ours, DEFAULT.format(package)).encode()
    return found


def _sources() -> Iterator[tuple[Path, Path]]:
    """Every file, and the folder that is the project's top to it."""
    tops = [(FILES, FILES)]
    if not (FILES / "train.py").exists():
        tops += [(CHECKOUT / name, CHECKOUT) for name in SHARED]
    for place, top in tops:
        for path in [place] if place.is_file() else place.rglob("*"):
            parts = path.relative_to(top).parts
            if path.is_file() and not any(part.strip("_").endswith("cache") for part in parts):
                yield path, top
