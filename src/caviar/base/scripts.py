"""The scripts of a folder that are Hydra applications: a function under `@hydra.main`.

They are read, and never imported: whose they are may do anything when it is.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

# Folders in which nobody keeps the script that trains.
ASIDE = (
    *("venv", "env", "site-packages", "node_modules", "build", "dist", "tests"),
    *("data", "datasets", "runs", "logs", "outputs", "multirun", "wandb", "checkpoints"),
)
DEPTH = 4  # folders below the root that are looked into: one of data may have millions of files
TEMPLATE = "from caviar.app import main"  # in a `train.py` that is Caviar's own application


@dataclass(frozen=True)
class Project:
    """A Hydra application, and the folder that it is at home in."""

    root: Path
    script: Path
    """`train.py`, `src/train.py`, … below the root."""
    config_dir: Path
    config_name: str
    """Of the root config, without `.yaml`."""

    @cached_property
    def theirs(self) -> bool:
        """Whether the script trains by itself; it is not Caviar's own application."""
        return not is_template(self.script)

    @property
    def config_file(self) -> Path:
        """The root config."""
        return self.config_dir / f"{self.config_name}.yaml"

    @property
    def program(self) -> str:
        """Its script, as seen from its folder."""
        near = self.script.is_relative_to(self.root)
        return str(self.script.relative_to(self.root) if near else self.script)

    def command(self) -> list[str]:
        """What runs it, a trial of a study among its runs."""
        run = ["-m", "caviar.run"] if self.theirs else []
        return [sys.executable, *run, str(self.script)]

    def shown(self) -> str:
        """`src/train.py, with configs/train.yaml`."""
        names = [
            p.relative_to(self.root) if p.is_relative_to(self.root) else p
            for p in (self.script, self.config_file)
        ]
        return f"{names[0]}, with {names[1]}"


def is_template(script: Path) -> bool:
    return not script.is_file() or TEMPLATE in script.read_text(encoding="utf-8", errors="replace")


def scripts(root: Path) -> Iterator[Path]:
    """Python files that speak of hydra.main."""
    for folder, names, files in os.walk(root):
        names[:] = sorted(n for n in names if not n.startswith(".") and n not in ASIDE)
        deep = len(Path(folder).relative_to(root).parts) >= DEPTH
        if "pyvenv.cfg" in files or deep:
            names.clear()
            continue
        for name in files:
            path = Path(folder, name)
            if name.endswith(".py") and b"hydra" in path.read_bytes():
                yield path


def application(root: Path, script: Path, declared: dict[str, str]) -> Project | None:
    """The application in a script; None if it has no function under `@hydra.main`."""
    try:
        tree = ast.parse(script.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return None
    for call in _decorators(tree):
        words = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
        values = [a.value for a in call.args if isinstance(a, ast.Constant)]
        words |= dict(zip(("config_path", "config_name"), values, strict=False))
        path = declared.get("config_path") or words.get("config_path")
        name = declared.get("config_name") or words.get("config_name")
        if path is None or name is None:
            continue
        base = root if "config_path" in declared else script.parent
        folder = (base / str(path)).resolve()
        return Project(root, script, folder, str(name).removesuffix(".yaml"))
    return None


def _decorators(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls of `hydra.main`, or of a `main` that was imported from hydra."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[-1] in (
                "main",
                "hydra_main",
            ):
                yield call


def tunes(project: Project) -> bool:
    """Whether its root config has Caviar among its defaults."""
    file = project.config_file
    return file.is_file() and any(
        line.strip().lstrip("-").strip().startswith("caviar:")
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip().startswith("-")
    )
