"""The page of one model that is looked after: its curve with every nudge, and its journal."""

from __future__ import annotations

import math
from pathlib import Path

from caviar.panda.begin import read_config
from caviar.panda.inbox import is_running
from caviar.panda.journal import DAY, Journal, sentence
from caviar.panda.lineage import Lineage
from caviar.panda.picture import curve_chart, nudges_in
from caviar.panda.record import curve, rows
from caviar.report.section import Section, Table
from caviar.view import plural


def panda_sections(folder: Path) -> list[Section]:
    """Verdict, curve, journal.

    Arguments:
        folder: of a panda that was begun.
    """
    config, events = read_config(folder), Journal(folder).events()
    metric, mode = config["metric"]["name"], config["metric"]["mode"]
    lineage, found = Lineage.of(events), rows(folder)
    nudges = nudges_in(events)
    values = [
        (v, s, b)
        for b in range(lineage.branch + 1)
        for s, v in zip(*curve(found, metric, b), strict=True)
        if math.isfinite(v)
    ]
    if values:
        value, step, branch = (min if mode == "min" else max)(values)
        best = f"Its best {metric} is {value:.4g}, at step {step} of branch {branch}."
    else:
        best = f"It has come to no value of {metric} yet."
    state = "running now" if is_running(folder) else lineage.state
    days = plural(len(lineage.days()), "day")
    back = len(lineage.origins)
    verdict = [
        f"{folder.name} is {state}, after {days} and {plural(len(nudges), 'nudge')}"
        f"{f', {back} of them going back' if back else ''}.",
        best,
    ]
    journal = Table(
        ["when", "what"],
        [[e.time.replace("T", " ")[:16], sentence(e)] for e in events if e.kind != DAY],
    )
    days_table = Table(
        ["when", "day"],
        [[e.time.replace("T", " ")[:16], sentence(e)] for e in events if e.kind == DAY],
    )
    curves = Section(
        "curves",
        "Its curve, and its nudges",
        ["A triangle is a nudge; a dotted line a divergence. Point at them for what they changed."],
        [curve_chart(folder)],
    )
    return [
        Section("verdict", "Verdict", verdict),
        curves,
        Section("journal", "Journal", tables=[journal, days_table]),
    ]
