"""The table of all trials: sortable, filterable, each with its command and its folder."""

from __future__ import annotations

from typing import Any

from caviar.ledger import Trial
from caviar.overrides import command_line
from caviar.report.facts import Facts, folder_of
from caviar.report.section import Section
from caviar.result import finite
from caviar.search.settings import CONFIRM, TEST
from caviar.view import plural, setting_columns


def trials_section(facts: Facts) -> Section:
    """All trials, those of the confirmation and the tests among them."""
    trials = facts.everything
    if not trials:
        return Section("trials", "All trials", ["There is none yet."])
    stages = dict.fromkeys(t.stage for t in trials)
    overrides = {s: facts.study.ledger.facts(s)["overrides"] for s in stages}
    head, settings = setting_columns([t.point for t in trials])
    rows = []
    for trial, setting in zip(trials, settings, strict=True):
        row = _row(facts, trial, overrides[trial.stage])
        rows.append(row | {"setting": dict(zip(head, setting, strict=True))})
    words = [
        f"{plural(len(rows), 'trial')}. Click a column's head to sort by it; a row opens to the "
        "command that trains it again and to its folder."
    ]
    return Section("trials", "All trials", words, rows=rows)


def _row(facts: Facts, trial: Trial, overrides: list[str]) -> dict[str, Any]:
    result = trial.result
    folder = folder_of(facts, trial)
    value = facts.value(trial)
    # A W&B run to come has no setting yet, and one with a damaged config lacks some of it.
    known = trial.stage in (CONFIRM, TEST) or {*facts.space.names} <= {*trial.point}
    return {
        "stage": trial.stage,
        "number": trial.number,
        "status": trial.status,
        "value": finite(value),
        "epoch": result.best_epoch if result else None,
        "seconds": round(result.seconds, 2) if result else None,
        "note": trial.note or str(trial.claim.get("label", "")),
        "error": (result.error or "") if result else "",
        "command": command_line(facts.study.trial_overrides(trial.planned, overrides)) * known,
        "folder": str(folder.relative_to(facts.study.folder)),
        "there": folder.is_dir(),
        "best": trial is facts.best,
    }
