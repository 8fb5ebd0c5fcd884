"""The verbs that show what a study found: report, importance."""

from __future__ import annotations

from typing import Annotated

import typer

from caviar.cli.common import Overrides, app, study_of


@app.command(epilog="Example: caviar importance search.study=mine")
def importance(overrides: Overrides = None) -> None:
    """How much each hyperparameter matters, measured, beside the lecture's tiers."""
    from caviar.cli.importance import print_importance

    study = study_of(overrides)
    print_importance(study, study.tiers())


@app.command(epilog="Example: caviar report search.study=mine --open")
def report(
    overrides: Overrides = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Write runs/<study>/report.html, which opens from disk, and its pictures; also while it runs.

    Of a search, of W&B sweeps, or of one model that is looked after (panda).
    """
    from caviar.report import is_panda, write_panda_report, write_report
    from caviar.view import console, plural, shown_path

    study = study_of(overrides, ledger_needed=False)
    with console.status(f"writing the report of {study.name}"):
        if is_panda(study.folder):
            page, *pictures = write_panda_report(study.folder)
        else:
            study.require()
            page, *pictures = write_report(study)
    console.print(f"{shown_path(page)}: open it in a browser; it needs no network")
    if pictures:
        count = plural(len(pictures), "picture")
        console.print(f"{shown_path(pictures[0].parent)}: its {count} as PNG")
    if show:
        typer.launch(page.absolute().as_uri())
