"""The table of all trials: sortable, filterable, each with its command and its folder."""

from __future__ import annotations

from typing import Any

from caviar.base.result import finite
from caviar.config.overrides import command_line
from caviar.ledger import Trial
from caviar.report.page import Section
from caviar.report.snapshot import Snapshot, folder_of
from caviar.screen.view import plural, setting_columns
from caviar.search.driver import trial_overrides
from caviar.search.settings import CONFIRM, TEST


def trials_section(snapshot: Snapshot) -> Section:
    """All trials, those of the confirmation and the tests among them."""
    trials = snapshot.everything
    if not trials:
        return Section("trials", "All trials", ["There is none yet."])
    stages = dict.fromkeys(t.stage for t in trials)
    overrides = {s: snapshot.study.ledger.spec(s)["overrides"] for s in stages}
    head, settings = setting_columns([t.point for t in trials])
    rows = []
    for trial, setting in zip(trials, settings, strict=True):
        row = _row(snapshot, trial, overrides[trial.stage])
        rows.append(row | {"setting": dict(zip(head, setting, strict=True))})
    words = [
        f"{plural(len(rows), 'trial')}. Click a column's head to sort by it; a row opens to the "
        "command that trains it again and to its folder."
    ]
    return Section("trials", "All trials", words, rows=rows)


def _row(snapshot: Snapshot, trial: Trial, overrides: list[str]) -> dict[str, Any]:
    result = trial.result
    folder = folder_of(snapshot, trial)
    value = snapshot.value(trial)
    # A W&B run to come has no setting yet, and one with a damaged config lacks some of it.
    known = trial.stage in (CONFIRM, TEST) or {*snapshot.space.names} <= {*trial.point}
    return {
        "stage": trial.stage,
        "number": trial.number,
        "status": trial.status,
        "value": finite(value),
        "epoch": result.best_epoch if result else None,
        "seconds": round(result.seconds, 2) if result else None,
        "note": trial.note or str(trial.claim.get("label", "")),
        "error": (result.error or "") if result else "",
        "command": command_line(trial_overrides(trial.planned, overrides)) * known,
        "folder": str(folder.relative_to(snapshot.study.folder)),
        "there": folder.is_dir(),
        "best": trial is snapshot.best,
    }
