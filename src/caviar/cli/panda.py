"""The verbs of a panda: start, set, back, fork, stop, log, picture, watch.

Only start and fork train; the others ask the run, or read its folder, and import no torch.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from caviar.cli.common import ConfigDir, HandedOver, Overrides, app, with_config_dir
from caviar.cli.group import Verbs

panda = typer.Typer(
    cls=Verbs,
    help="Look after one model: watch its curve, nudge it while it trains, go back.",
    epilog="Example: caviar panda start search.study=mine",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(panda, name="panda")


def _one_line(text: str) -> str:
    return " ".join(text.split())  # journal.md has an event a line


Why = Annotated[str, typer.Option("--why", help="For the journal.", callback=_one_line)]
Force = Annotated[bool, typer.Option("--force", help="Also outside of the declared space.")]
Changes = Annotated[
    list[str] | None,
    typer.Argument(
        help="KEY=VALUE, relative as KEY=*1.5 or KEY=/2; search.study=NAME if several run",
        show_default=False,
    ),
]
PATIENCE = 120.0  # seconds for the run to take a request: one step, or a validation


@panda.command(epilog='Example: caviar panda start search.study=mine panda.day="2 epochs"')
def start(overrides: Overrides = None, force: Force = False, config_dir: ConfigDir = None) -> None:
    """Begin a run, or go on with one that was stopped; takes changes then."""
    _train(with_config_dir(config_dir, overrides), force)


def _train(overrides: list[str], force: bool = False) -> None:
    """Begin a run, or go on with it, by the project's own script."""
    from caviar import rooms
    from caviar.app import main as train_py
    from caviar.base import project
    from caviar.panda.begin import start_overrides

    found = project.current()
    rooms.attach_ledgers()  # to know the study of a search when it sees one
    given = start_overrides(overrides, force)
    if not found.theirs:
        return train_py(given)
    print(f"project: {found.shown()}", file=sys.stderr, flush=True)
    environment = {project.ROOT: str(found.root), project.SCRIPT: str(found.script)}
    raise HandedOver([*found.command(), *given], environment)


@panda.command("set", epilog='Example: caviar panda set optimizer.lr=*1.5 --why "flat since day 2"')
def set_(changes: Changes = None, why: Why = "", force: Force = False) -> None:
    """Change values of the run while it trains: lr, momentum, dropout, batch size, …"""
    from caviar.panda.begin import find_folder
    from caviar.panda.inbox import nudge
    from caviar.screen.view import console

    folder, changed = find_folder(changes or [])
    for line in nudge(folder, changed, why, force, PATIENCE):
        console.print(line)


@panda.command(epilog="Example: caviar panda back --to day3 optimizer.lr=*0.5")
def back(
    to: Annotated[str, typer.Option("--to", help="A day: day3.")],
    changes: Changes = None,
    why: Why = "",
    force: Force = False,
) -> None:
    """Go on from an earlier day, with the values in force, as a new branch."""
    from caviar.panda.begin import find_folder
    from caviar.panda.inbox import go_back
    from caviar.screen.view import console

    folder, changed = find_folder(changes or [])
    console.print(go_back(folder, to, changed, why, force, PATIENCE))


@panda.command(epilog="Example: caviar panda fork calmer --from day3 optimizer.lr=*0.5")
def fork(
    name: Annotated[str, typer.Argument(help="Of the copy: its folder below runs/.")],
    changes: Changes = None,
    day: Annotated[str | None, typer.Option("--from", help="A day. Default: the last.")] = None,
    why: Why = "",
    force: Force = False,
) -> None:
    """Run a copy beside it, from a day's checkpoint."""
    from caviar.panda.begin import find_folder, make_fork
    from caviar.screen.view import console, shown_path

    folder, changed = find_folder(changes or [])
    made = make_fork(folder, name, day, changed, why, force)
    console.print(f"a copy of {folder.name} in {shown_path(made)}")
    _train([f"search.study={name}"])


@panda.command(epilog="Example: caviar panda stop")
def stop(changes: Changes = None) -> None:
    """Let the run write a checkpoint and leave; start goes on with it."""
    from caviar.panda.begin import find_folder
    from caviar.panda.inbox import stop_run
    from caviar.screen.view import console

    folder, _ = find_folder(changes or [])
    console.print(stop_run(folder, PATIENCE))


@panda.command(epilog="Example: caviar panda log")
def log(changes: Changes = None) -> None:
    """Print the journal: what was changed when and why, and what followed."""
    from caviar.panda.begin import find_folder
    from caviar.panda.journal import Journal
    from caviar.screen.view import console

    folder, _ = find_folder(changes or [])
    console.print(Journal(folder).text(), end="")


@panda.command(epilog="Example: caviar panda picture")
def picture(
    changes: Changes = None,
    output: Annotated[Path | None, typer.Option(help="Default: panda.png in its folder")] = None,
) -> None:
    """Draw the curve over the days, its nudges and its branches, as PNG."""
    from caviar.pages.panda import draw  # the only verb that needs the report
    from caviar.panda.begin import find_folder
    from caviar.screen.view import console, shown_path

    folder, _ = find_folder(changes or [])
    console.print(str(shown_path(draw(folder, output or folder / "panda.png"))))


@panda.command(epilog="Example: caviar panda watch")
def watch(changes: Changes = None) -> None:
    """The run on one screen: curve, nudges, values; and keys for the usual nudges."""
    from caviar.panda.begin import find_folder
    from caviar.panda.screen import watch as watch_screen

    folder, _ = find_folder(changes or [])
    watch_screen(folder)
