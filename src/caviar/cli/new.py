"""The verb that begins a project: new."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from caviar.cli.common import app


@app.command(epilog="Example: caviar new mine && cd mine && make search")
def new(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="To be made, or empty.", show_default=False)
    ],
    name: Annotated[
        str | None,
        typer.Option(help="Of its package, in place of DIR's own name.", show_default=False),
    ] = None,
) -> None:
    """Write a project of one's own into DIR: model, data, space, test, all of conf/, a Makefile."""
    from caviar.base.errors import UserError
    from caviar.base.terminal import say
    from caviar.skeleton import files_of, package_of

    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder that is empty, or to be made")
    # A repository that has just been made is as good as empty.
    there = sorted(p.name for p in folder.iterdir() if p.name != ".git") if folder.exists() else []
    if there:
        raise UserError(
            f"{folder} is not empty: {there[0]}; name a folder that is empty, or to be made"
        )
    package = package_of(folder, name)
    files = files_of(package)
    for where, content in files.items():
        path = folder / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    say(f"{folder}: a project that tunes a small network, in {len(files)} files")
    say(f"  src/{package}/    model.py and data.py, to be replaced by your own")
    say(f"  conf/    {', '.join(f'{g}/{package}.yaml' for g in ('model', 'data', 'space'))}")
    say(f"           experiment/{package}.yaml, and groups to choose from")
    say("  README.md, Makefile, train.py, tests/, sweeps/")
    say("next:")
    inside = folder.resolve() == Path.cwd()
    into = [] if inside else [f"cd {shlex.quote(str(folder))}"]
    for line in (*_activation(), *into, "make search"):
        say(f"  {line}")


def _activation() -> list[str]:
    """What makes the commands of a shell those of this environment, unless they are."""
    here = Path(sys.executable).parent
    found = shutil.which("caviar")
    if found and Path(found).parent.resolve() == here.resolve():
        return []
    script = here / "activate"
    if script.exists():
        return [f"source {shlex.quote(str(script))}"]
    return [f'export PATH={shlex.quote(str(here))}:"$PATH"']
