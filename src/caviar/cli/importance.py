"""`caviar importance`: a table with bars and intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rich.text import Text

from caviar.errors import UserError
from caviar.importance import Importance, measure, sentences
from caviar.refine import TooFewTrials
from caviar.refine.surrogate import TOP
from caviar.search.refining import latest_learned, learned
from caviar.search.study import Study
from caviar.space import Space
from caviar.view import console, plain_table, plural

WIDTH = 32  # of a bar, in characters, for all of the variance


def print_importance(study: Study, tiers: Mapping[str, int]) -> None:
    """Measure and print.

    Arguments:
        study: with finished trials.
        tiers: config key → the lecture's tier.

    Raises:
        UserError: too few trials have finished.
    """
    parent = latest_learned(study, TOP)
    coarse, _, pooled = learned(study, study.ledger.facts(parent)["overrides"])
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
