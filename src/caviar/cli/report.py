"""The verbs that show what a study found: report, importance."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from caviar.cli.common import Overrides, app, study_of

if TYPE_CHECKING:  # SciPy and scikit-learn are behind them, which --help need not wait for
    from pathlib import Path

    from rich.text import Text

    from caviar.pages.serve import Followed
    from caviar.refine.importance import Importance
    from caviar.search.study import Study

WIDTH = 32  # of a bar, in characters, for all of the variance


@app.command(epilog="Example: caviar importance search.study=mine")
def importance(overrides: Overrides = None) -> None:
    """How much each hyperparameter matters, measured, beside the lecture's tiers."""
    print_importance(study_of(overrides))


@app.command(epilog="Example: caviar report search.study=mine --open")
def report(
    overrides: Overrides = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Follow the study on this machine's loopback until Ctrl-C."),
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Of --serve. Default: 8765, or any that is free."),
    ] = None,
) -> None:
    """Write runs/<study>/report.html, which opens from disk, and its pictures; also while it runs.

    Of a search, of W&B sweeps, or of one model that is looked after (panda). Of two searches or
    more on one page, runs/a+b.html, by 'search.study=[a,b]'.
    """
    from caviar import rooms
    from caviar.pages import write_report
    from caviar.screen.view import console, plural, shown_path

    each = _one_each(overrides or [])
    if serve or port is not None:
        _serve(overrides, len(each), serve, port, show)
        return
    if each:
        from caviar.pages.compare import write_comparison

        studies = [study_of(words) for words in each]
        with console.status(f"writing the report of {len(studies)} studies"):
            page, pictures = write_comparison(studies), []
    else:
        study = study_of(overrides, ledger_needed=False)  # a panda has none
        with console.status(f"writing the report of {study.name}"):
            if rooms.is_panda(study.folder):
                from caviar.pages.panda import write_panda_report

                page, *pictures = write_panda_report(study.folder)
            else:
                page, *pictures = write_report(study_of(overrides))
    console.print(f"{shown_path(page)}: open it in a browser; it needs no network")
    if pictures:
        count = plural(len(pictures), "picture")
        console.print(f"{shown_path(pictures[0].parent)}: its {count} as PNG")
    if show:
        typer.launch(page.absolute().as_uri())


def _one_each(overrides: Sequence[str]) -> list[list[str]]:
    """The words for each study of `search.study=[a,b]`; none where they name one.

    Raises:
        UserError: the list has fewer than two names, or one of them twice.
    """
    from caviar.base.errors import UserError

    key = "search.study"
    given = [o for o in overrides if o.startswith(f"{key}=") and re.search(r"[\[,]", o)]
    if not given:
        return []
    names = [n.strip(" '\"") for n in given[-1].partition("=")[2].strip("[] ").split(",")]
    names = [name for name in names if name]
    listed = re.fullmatch(r"\[.*\]", given[-1].partition("=")[2])
    if not listed or len(names) < 2 or len({*names}) < len(names):
        raise UserError(
            f"{given[-1]}: a page of several studies wants two names or more, each once; write "
            f"'{key}=[a,b]', or {key}=a for one"
        )
    others = [o for o in overrides if o not in given]
    return [[*others, f"{key}={name}"] for name in names]


def _serve(
    overrides: list[str] | None, several: int, serve: bool, port: int | None, show: bool
) -> None:
    """`caviar report --serve`."""
    from caviar import rooms
    from caviar.base.errors import UserError
    from caviar.pages import PAGE
    from caviar.pages.serve import Server, followed_study
    from caviar.screen.view import console, shown_path

    if not serve:
        raise UserError("--port is that of --serve; write --serve as well, or leave it out")
    if several:
        raise UserError("--serve follows one study; name one, or leave --serve out")
    study = study_of(overrides, ledger_needed=False)  # a panda has none
    panda = rooms.is_panda(study.folder)
    study = study if panda else study_of(overrides)
    server = Server(_followed_panda(study.folder) if panda else followed_study(study), port)
    with console.status(f"writing the report of {study.name}"):
        server.look()
    with server:
        console.print(f"{server.address} follows {study.name}; Ctrl-C ends it")
        console.file.flush()  # it may be a pipe, and this the last for hours
        if show:
            typer.launch(server.address)
        try:
            server.follow()
        except KeyboardInterrupt:
            console.print(f"no longer served; it is in {shown_path(study.folder / PAGE)}")


def _followed_panda(folder: Path) -> Followed:
    """A model that is looked after: by its journal and its metrics."""
    from caviar.pages.panda import write_panda_report
    from caviar.pages.serve import Followed
    from caviar.panda.inbox import run_state
    from caviar.panda.journal import EVENTS, Journal, Lineage
    from caviar.panda.record import RECORD

    def state() -> str:
        return run_state(folder, Lineage.of(Journal(folder).events()))

    def mark() -> object:
        files = (folder / name for name in (EVENTS, RECORD))
        return [path.stat().st_size for path in files if path.exists()], state()

    return Followed(lambda: write_panda_report(folder)[0], mark, lambda: state() != "running")


def print_importance(study: Study) -> None:
    """A table of the axes with bars and intervals, and what it says in sentences.

    Raises:
        UserError: too few trials have finished.
    """
    from caviar.base.errors import UserError
    from caviar.refine import TooFewTrials
    from caviar.screen.view import console, plain_table, plural
    from caviar.search.importance import OTHER_MEASURE, importance_stage, study_importance

    tiers = study.tiers()
    try:
        measured = study_importance(study, tiers)
    except TooFewTrials as error:
        more = f"run more of stage {importance_stage(study)} first"
        raise UserError(f"study {study.name}: {error}; {more}") from None
    trials = plural(len(measured.trials), "trial")
    table = plain_table(
        f"{study.name}: importance, from {trials} of all stages",
        *["axis", *(["tier"] if tiers else []), "share", "90 %", "", "PED-ANOVA", "90 %"],
    )
    for column in (table.columns[0], table.columns[-3]):
        column.justify = "left"
    for one, (key, tier, share, interval, *ped) in zip(measured.axes, measured.rows(), strict=True):
        bar = _bar(one) if one.seen else "inside chance"
        table.add_row(key, *([tier] if tiers else []), share, interval, bar, *ped)
    console.print(table)
    console.print(
        f"share: of the variance of the losses' ranks that it explains by itself in trials held "
        f"out (fANOVA on unit coordinates); {measured.unexplained:.0%} is interactions, noise and "
        f"what so few trials do not show; chance gives an axis up to {measured.chance:.0%}"
    )
    console.print(
        "PED-ANOVA: how far the best quarter of the trials lies from all of them along it, of the "
        "farthest that it could: another question than the share, so the two need not agree"
    )
    console.print(OTHER_MEASURE)
    for sentence in measured.sentences():
        console.print(sentence)


def _bar(one: Importance) -> Text:
    """The share as a bar, and its interval as a line behind it."""
    from rich.text import Text

    filled, low, high = (round(x * WIDTH) for x in (one.share, one.low, one.high))
    cells = ["█" if c < filled else "─" if low <= c < high else " " for c in range(WIDTH)]
    return Text("".join(cells).rstrip(), no_wrap=True)
