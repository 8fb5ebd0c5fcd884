"""What all verbs have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caviar.cli.group import Verbs

if TYPE_CHECKING:
    from caviar.search.study import Study

app = typer.Typer(
    help="Hyperparameter tuning done right: random, on the right scale, coarse to fine, confirmed.",
    epilog="Example: caviar search experiment=digits search.study=mine",
    cls=Verbs,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Hydra overrides, such as search.study=mine", show_default=False),
]
ConfigDir = Annotated[
    Path | None, typer.Option("--config-dir", help="One more folder of config files, as Hydra's.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that differs.")]


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"caviar {version('caviar')}")
        raise typer.Exit


def _install_completion(asked: bool) -> None:
    if asked:
        import os
        import sys

        from caviar.cli.completion import install

        named = sys.argv[sys.argv.index("--install-completion") + 1 :]
        install(named[0] if named else Path(os.environ.get("SHELL", "bash")).name)
        raise typer.Exit


@app.callback()
def whole_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print it and leave."
        ),
    ] = False,
    completion: Annotated[
        bool,
        typer.Option(
            "--install-completion",
            callback=_install_completion,
            is_eager=True,
            help="Let tab complete verbs, studies and overrides: of bash, zsh or fish.",
        ),
    ] = False,
) -> None:
    pass


def with_config_dir(folder: Path | None, overrides: list[str] | None) -> list[str]:
    """The words of a command line: where more config files are, and the overrides."""
    from caviar.config.commands import OPTION

    return [*([f"{OPTION}={folder.absolute()}"] if folder else []), *(overrides or [])]


class HandedOver(BaseException):
    """Another program is to take this one's place, once all that it has begun is tidied up.

    Arguments:
        command: the program and its words.
        environment: what it finds there beside the present one.
    """

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        super().__init__(command)
        self.command, self.environment = command, environment


def hand_over(action: list[str], words: list[str]) -> None:
    """Become the project's own script with these words, where it is not Caviar's application.

    Arguments:
        action: what it is to do: the words in front.
        words: what the user typed.

    Raises:
        UserError: its config does not know of Caviar, or another plugin sweeps.
    """
    from caviar.base import project

    found = project.current()
    if not found.theirs:
        return
    import sys

    from caviar.base.errors import UserError
    from caviar.config.commands import split_sources
    from caviar.config.compose import project_composer
    from caviar.config.keys import metric_of
    from caviar.config.slips import refuse_bare

    print(f"project: {found.shown()}", file=sys.stderr, flush=True)
    sources, typed = split_sources(words)
    refuse_bare(typed)
    config = project_composer(sources)(typed)
    metric_of(config)
    sweeper = str(config.hydra.sweeper._target_)
    if not sweeper.endswith(".CaviarSweeper"):
        raise UserError(
            f"hydra/sweeper is {sweeper}, another plugin's: put `- caviar: default` behind what "
            "chooses it in the defaults of the root config, or write hydra/sweeper=caviar"
        )
    environment = {project.ROOT: str(found.root), project.SCRIPT: str(found.script)}
    raise HandedOver([sys.executable, str(found.script), *action, *words], environment)


def study_of(overrides: list[str] | None, ledger_needed: bool = True) -> Study:
    """The study that the overrides name.

    Arguments:
        overrides: Hydra's, and words that say where config files are.
        ledger_needed: it must have been begun.

    Raises:
        UserError: its ledger is needed, and there is none.
    """
    from caviar import rooms
    from caviar.config.commands import split_sources
    from caviar.config.compose import project_composer
    from caviar.config.slips import refuse_bare
    from caviar.search.study import open_study, reaching
    from caviar.search.swept import one_value

    rooms.attach_ledgers()  # before the study's ledger is looked for
    sources, typed = split_sources(overrides or [])
    refuse_bare(typed)
    compose = project_composer(sources)
    config = compose(typed)
    one_value(typed)
    return reaching(open_study(config, typed, compose, begun=ledger_needed), compose)


def write_file(path: Path, text: str, force: bool) -> None:
    """Write a file, but not over one that differs.

    Raises:
        UserError: it exists and differs, and nobody said --force.
    """
    from caviar.base.errors import UserError
    from caviar.screen.view import shown_path

    if path.exists() and path.read_text(encoding="utf-8") != text and not force:
        raise UserError(f"{shown_path(path)} exists and differs; write --force to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def refuse_unknown_option(words: list[str]) -> None:
    """Refuse an option that the verb does not have: `--study mine` is `search.study=mine`.

    Arguments:
        words: of the command line, behind `caviar`.
    """
    from caviar.config.slips import refuse_options

    command: Any = typer.main.get_command(app)
    left = list(words)
    while left and left[0] in getattr(command, "commands", {}):
        command = command.commands[left.pop(0)]
    if hasattr(command, "commands"):
        return
    valued = {o for p in command.params if not getattr(p, "is_flag", True) for o in p.opts}
    own = [word for before, word in zip(["", *left], left, strict=False) if before not in valued]
    refuse_options(own, ["--help", *(o for p in command.params for o in p.opts)])
