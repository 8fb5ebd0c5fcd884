"""The verbs that show what a study found: report, importance."""

# MERGED cli.importance """`caviar importance`: a table with bars and intervals."""
#

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import typer
from rich.text import Text

from caviar.base.errors import UserError
from caviar.cli.common import Overrides, app, study_of
from caviar.refine import TooFewTrials
from caviar.refine.importance import Importance, measure, sentences
from caviar.refine.surrogate import TOP
from caviar.screen.view import console, plain_table, plural
from caviar.search.stages import latest_stage_with, pooled_trials
from caviar.search.study import Study
from caviar.space import Space


@app.command(epilog="Example: caviar importance search.study=mine")
def importance(overrides: Overrides = None) -> None:
    """How much each hyperparameter matters, measured, beside the lecture's tiers."""

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
    from caviar.screen.view import console, plural, shown_path

    study = study_of(overrides, ledger_needed=False)
    with console.status(f"writing the report of {study.name}"):
        if is_panda(study.folder):
            page, *pictures = write_panda_report(study.folder)
        else:
            page, *pictures = write_report(study_of(overrides))
    console.print(f"{shown_path(page)}: open it in a browser; it needs no network")
    if pictures:
        count = plural(len(pictures), "picture")
        console.print(f"{shown_path(pictures[0].parent)}: its {count} as PNG")
    if show:
        typer.launch(page.absolute().as_uri())


WIDTH = 32  # of a bar, in characters, for all of the variance


def print_importance(study: Study, tiers: Mapping[str, int]) -> None:
    """Measure and print.

    Arguments:
        study: with finished trials.
        tiers: config key → the lecture's tier.

    Raises:
        UserError: too few trials have finished.
    """
    parent = latest_stage_with(study, TOP)
    coarse, _, pooled = pooled_trials(study, study.ledger.spec(parent)["overrides"])
    coarse = Space(tuple(replace(axis, tier=tiers.get(axis.key)) for axis in coarse))
    losses = [t.result.loss(study.mode) for t in pooled if t.result]
    try:
        found = measure(coarse, [t.point for t in pooled], losses)
    except TooFewTrials as error:
        raise UserError(f"study {study.name}: {error}; run more of stage {parent} first") from None
    head = f"{study.name}: importance, from {plural(len(pooled), 'trial')} of all stages"
    columns = ["axis", *(["tier"] if tiers else []), "share", "90 %", "", "PED-ANOVA", "90 %"]
    table = plain_table(head, *columns)
    for column in (table.columns[0], table.columns[-3]):
        column.justify = "left"
    for one in found:
        tier = [str(one.axis.tier or "")] if tiers else []
        interval = f"{one.low:.0%} … {one.high:.0%}"
        ped = f"{one.ped:.0%}", f"{one.ped_low:.0%} … {one.ped_high:.0%}"
        table.add_row(one.axis.key, *tier, f"{one.share:.0%}", interval, bar(one), *ped)
    console.print(table)
    left = max(0.0, 1 - sum(i.share for i in found))
    console.print(
        f"share: of the variance of the losses' ranks, by itself (fANOVA on unit coordinates); "
        f"{left:.0%} is interactions and noise"
    )
    for sentence in sentences(found, len(pooled)):
        console.print(sentence)


def bar(one: Importance) -> Text:
    """The share as a bar, and its interval as a line behind it."""
    filled, low, high = (round(x * WIDTH) for x in (one.share, one.low, one.high))
    cells = ["█" if c < filled else "─" if low <= c < high else " " for c in range(WIDTH)]
    return Text("".join(cells).rstrip(), no_wrap=True)
