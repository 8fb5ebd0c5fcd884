"""Where the project is, and which of its scripts trains.

A project is a Hydra application: a script with a `@hydra.main`, the folder of its config files and
the name of the root one. It is found from any folder below:

    # pyproject.toml, where there is more than one to choose from
    [tool.caviar]
    script = "src/train.py"

Else it is the `conf/train.yaml` with a `train.py` beside it that `caviar new` makes; else the one
script below the project's folder whose root config has `- caviar: …` among its defaults.
"""

from __future__ import annotations

import os
import sys
import tomllib
from functools import cache
from pathlib import Path

from caviar.base.environment import ROOT, RUNS, SCRIPT
from caviar.base.errors import UserError
from caviar.base.scripts import Project, application, is_template, scripts, tunes

# What lies in the topmost folder of a project, and in no other.
MARKS = (
    "conf/train.yaml",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "requirements.txt",
    ".project-root",
    ".git",
)


def runs_here(script: Path, config_dir: Path) -> None:
    """Let the application that Hydra runs in this process be the project's, for this process and
    those that it starts.

    Arguments:
        script: that runs, which may be the `caviar` command.
        config_dir: where its config files are.
    """
    root = _root_of(script.parent) if script.is_file() else None
    if root is not None and (found := application(root, script, {})) is not None:
        os.environ.setdefault(ROOT, str(root))
        if found.config_dir == config_dir:
            os.environ[SCRIPT] = str(script)


def current() -> Project:
    """The project that this process, or its folder, is in.

    Raises:
        UserError: there is none, or several scripts could be meant.
    """
    return _found(root(), os.environ.get(SCRIPT))


def root() -> Path:
    """The project's folder.

    It is `CAVIAR_ROOT`, else the nearest folder upwards from here that is a project's.

    Raises:
        UserError: none is.
    """
    if named := os.environ.get(ROOT):
        if _root_of(Path(named)) is not None:
            return Path(named).resolve()
        raise UserError(
            f"CAVIAR_ROOT={named} is no project: it has no conf/train.yaml, no pyproject.toml and "
            "no .git"
        )
    here = Path.cwd()
    if (found := _root_of(here)) is not None:
        return found
    raise UserError(
        f"no project here: there is no conf/train.yaml, no pyproject.toml and no .git in {here} or "
        "above; go to the project's folder, or set CAVIAR_ROOT to it"
    )


def enter() -> Path:
    """The project's folder, made this process's own: its modules can be imported, as its script
    can, and what this process starts finds it.

    Raises:
        UserError: there is no project here.
    """
    project = current()
    os.environ[ROOT] = str(project.root)
    for place in dict.fromkeys((project.script.parent, project.root)):
        if str(place) not in sys.path:
            sys.path.insert(0, str(place))
    # Where packages lie in the template, as if it were installed; theirs may be one by itself.
    source = project.root / "src"
    if not project.theirs and source.is_dir() and str(source) not in sys.path:
        sys.path.append(str(source))
    return project.root


def runs() -> Path:
    """Where all that training leaves behind goes: `CAVIAR_RUNS`, or `runs/` in the root."""
    return Path(os.environ.get(RUNS) or root() / "runs")


def _root_of(folder: Path) -> Path | None:
    """The nearest folder upwards that is a project's."""
    places = [folder.resolve(), *folder.resolve().parents]
    return next((p for p in places if any((p / mark).exists() for mark in MARKS)), None)


@cache
def _declared(root: Path) -> dict[str, str]:
    """`[tool.caviar]` of its pyproject.toml; empty where there is none."""
    path = root / "pyproject.toml"
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("caviar", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}") from None
    unknown = sorted({*table} - {"script", "config_path", "config_name"})
    if unknown:
        raise UserError(
            f"{path}: [tool.caviar] has {unknown[0]}; it may have script, config_path, config_name"
        )
    return {key: str(value) for key, value in table.items()}


@cache
def _found(root: Path, script: str | None) -> Project:
    """The project in a folder.

    Arguments:
        root: the folder.
        script: which of its scripts it is, where that is known.
    """
    declared = _declared(root)
    if script is None and "script" in declared:
        script = str(root / declared["script"])
        if not Path(script).is_file():
            raise UserError(f"{root / 'pyproject.toml'}: [tool.caviar] script: no {script}")
    own = root / "conf" / "train.yaml"
    if script is None and own.is_file() and is_template(root / "train.py"):
        return Project(root, root / "train.py", own.parent, "train")
    found = [Path(script)] if script else sorted(scripts(root))
    applications = [a for s in found if (a := application(root, s, declared)) is not None]
    if len(applications) > 1:
        applications = [a for a in applications if tunes(a)] or applications
    if len(applications) == 1:
        return applications[0]
    write = 'write [tool.caviar] with script = "PATH/OF/IT.py" into pyproject.toml'
    if not applications:
        where = f"{script} has" if script else f"no script in {root} has"
        raise UserError(
            f"{where} no @hydra.main function; {write}, or make a project with caviar new"
        )
    names = ", ".join(str(a.script.relative_to(root)) for a in applications)
    raise UserError(
        f"{root} has several scripts with a @hydra.main: {names}; put `- caviar: default` into the "
        f"defaults of the root config of the one that trains, or {write}"
    )
