"""What all verbs have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from caviar.search.study import Study

app = typer.Typer(
    help="Hyperparameter tuning done right: random, on the right scale, coarse to fine, confirmed.",
    epilog="Example: caviar search experiment=digits search.study=mine",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Hydra overrides, such as search.study=mine", show_default=False),
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that differs.")]


def study_of(overrides: list[str] | None, ledger_needed: bool = True) -> Study:
    """The study that the overrides name.

    Raises:
        UserError: its ledger is needed, and there is none.
    """
    from caviar import rooms
    from caviar.config.compose import composed
    from caviar.search.run import name_study
    from caviar.search.settings import SearchSettings, storage_of, study_folder
    from caviar.search.stages import search_overrides, space_overrides
    from caviar.search.study import Study

    rooms.attach_ledgers()
    config, _ = composed(overrides or [])
    name_study(config, overrides or [])
    study = Study(
        settings=SearchSettings.of(config),
        folder=study_folder(config),
        storage=storage_of(config),
        metric=config.metric.name,
        mode=config.metric.mode,
        overrides=search_overrides(overrides or []),
        launch=lambda jobs, first: None,
        declares=space_overrides(overrides or []),
        compose=lambda given: composed(given)[0],
    )
    if ledger_needed:
        study.require()
    return study


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
