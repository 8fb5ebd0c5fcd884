"""Every trial: its learning curve, and its row in the table that sorts and filters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caviar.base import project
from caviar.base.result import COMPLETE, EPOCH, PRUNED, STEP, finite
from caviar.ledger import Trial
from caviar.pages.channels import WHOLE, metric_channel, metric_domain
from caviar.pages.marks import (
    DIMMED,
    LEGEND,
    ZOOM,
    Chart,
    Spec,
    crosses,
    layers,
    stage_colour,
    table_of_rows,
    tooltip,
)
from caviar.pages.page import Section
from caviar.pages.snapshot import Snapshot, best_value
from caviar.screen.view import plural, setting_columns
from caviar.search.driver import command_of
from caviar.search.provenance import as_begun, mixed_code
from caviar.search.settings import CONFIRM, TEST

POINTS = 20_000  # in the picture, at most; longer curves are thinned out alike
LOST = "diverged or failed"
DASHES = {"pruned": [6, 3], LOST: [2, 2]}
NAMES = {"pruned": "dashed", LOST: "dotted, with a cross where it ended"}


def curves_section(snapshot: Snapshot) -> Section:
    """All learning curves in one picture."""
    title = "Learning curves"
    drawn = [t for t in snapshot.trials if any(map(math.isfinite, t.curve.values()))]
    if not drawn:
        return Section("curves", title, ["No trial has been validated yet."])
    when = "after each epoch" if _unit(drawn) == EPOCH else "at each validation"
    words = [f"{plural(len(drawn), 'trial')}: {snapshot.metric} {when}."]
    fates = {_fate(t) for t in drawn}
    words += [f"{name.capitalize()}: {how}." for name, how in NAMES.items() if name in fates]
    step = math.ceil(sum(len(t.curve) for t in drawn) / POINTS)
    if step > 1:
        what = "epochs" if _unit(drawn) == EPOCH else "validations"
        words.append(f"One in {step} {what} are drawn, the first and the last of each always.")
    return Section("curves", title, words, [_curves(snapshot, drawn, step)])


def _unit(trials: Sequence[Trial]) -> str:
    """What the curves have in common: steps, as soon as one of them counts these."""
    return STEP if any(t.length.unit == STEP for t in trials) else EPOCH


def _fate(trial: Trial) -> str:
    """How a curve is drawn."""
    if trial.status == PRUNED:
        return "pruned"
    whole = trial.status == COMPLETE or not trial.finished
    return "trained to its end" if whole else LOST


def _curves(snapshot: Snapshot, trials: Sequence[Trial], step: int) -> Chart:
    """A line for each trial, one in `step` of its points; the best one thick, on top."""
    curves = []
    for trial in trials:
        place = trial.length.at if trial.length.unit == STEP else int  # epochs are shown from 0
        curve = [(place(p), v) for p, v in trial.curve.items() if math.isfinite(v)]
        last = len(curve) - 1
        curves.append([p for i, p in enumerate(curve) if i % step == 0 or i == last])
    values = [v for curve in curves for _, v in curve]
    domain = metric_domain(values, snapshot.mode)
    assert domain is not None
    (low, high), _ = domain
    # Cut here: a reader who zooms must not find lines of 1e30, and a PNG has no clipping.
    curves = [[(e, min(max(v, low), high)) for e, v in curve] for curve in curves]
    names = [f"{t.stage}/{t.number}" for t in trials]
    across: Spec = {
        "field": "epoch",
        "type": "quantitative",
        "title": _unit(trials),
        "axis": {**WHOLE, "grid": False},
        "scale": {"nice": False, "zero": False},
    }
    up = metric_channel("height", snapshot.metric, values, snapshot.mode, clamp=False)
    pointed = {"select": {"type": "point", "fields": ["trial"], "on": "pointerover"}}
    # A row a point, not a list a trial: Vega takes CSV, and that is what keeps the page small.
    rows = [
        (name, trial.stage, _fate(trial), *point)
        for name, trial, curve in zip(names, trials, curves, strict=True)
        for point in curve
    ]
    lines: Spec = {
        "data": table_of_rows(("trial", "stage", "fate", "epoch", "height"), rows),
        "params": [ZOOM, LEGEND, {"name": "pointed", **pointed}],
        # A lone epoch is no line; the dot shows it.
        "mark": {"type": "line", "clip": True}
        | {"point": any(len(curve) == 1 for curve in curves) and {"size": 14}},
        "encoding": {
            "x": across,
            "y": up,
            "detail": {"field": "trial"},
            "color": stage_colour(snapshot),
            # Solid lines get no pattern at all: to draw one takes twice as long.
            "strokeDash": {
                "condition": [
                    {"test": f"datum.fate == '{name}'", "value": dash}
                    for name, dash in DASHES.items()
                ],
                "value": None,
            },
            "strokeOpacity": DIMMED,
            "strokeWidth": {
                "condition": {"param": "pointed", "empty": False, "value": 3},
                "value": 1,
            },
            "tooltip": tooltip({"trial": "trial", "fate": "fate"}, {"height": snapshot.metric}),
        },
    }
    parts = [lines]
    ended = [
        (trial.stage, *curve[-1])
        for trial, curve in zip(trials, curves, strict=True)
        if _fate(trial) == LOST
    ]
    if ended:
        columns = dict(zip(("stage", "epoch", "height"), zip(*ended, strict=True), strict=True))
        look = {"color": stage_colour(snapshot), "strokeOpacity": DIMMED}
        parts.append(crosses(columns, {"x": across, "y": up, **look}))
    # Once more, and last: what is drawn later lies on top.
    best = [c for t, c in zip(trials, curves, strict=True) if t is snapshot.best]
    title = "All trials"
    if best and snapshot.best:
        title += f"; black or white: the best, {snapshot.best.stage}/{snapshot.best.number}"
        ink = {"color": {"expr": "ink"}}
        parts.append(
            {
                "data": table_of_rows(("epoch", "height"), best[0]),
                "mark": {"type": "line", "strokeWidth": 2.6, "clip": True, **ink}
                | {"point": {"size": 20, **ink}},
                "encoding": {"x": across, "y": up},
            }
        )
    return Chart("curves", title, layers(*parts, height=380))


def trials_section(snapshot: Snapshot) -> Section:
    """All trials, those of the confirmation and the tests among them."""
    trials = snapshot.everything
    if not trials:
        return Section("trials", "All trials", ["There is none yet."])
    study = snapshot.study
    stages = dict.fromkeys(t.stage for t in trials)
    specs = {stage: study.ledger.spec(stage) for stage in stages}
    begun: dict[str, tuple[str, ...]] = {}  # most stages were begun alike, and Hydra is slow
    overrides = {}
    for stage, spec in specs.items():
        alike = repr((spec["overrides"], spec.get("config")))
        if alike not in begun:
            begun[alike] = as_begun(study, spec)
        overrides[stage] = begun[alike]
    head, settings = setting_columns([t.point for t in trials])
    rows = []
    for trial, setting in zip(trials, settings, strict=True):
        result = trial.result
        # A trial's files lie below its number; those of a W&B run below its id.
        folder = study.folder / trial.stage / str(trial.claim.get("run", trial.number))
        # A W&B run to come has no setting yet, and one with a damaged config lacks some of it.
        whole = trial.stage in (CONFIRM, TEST) or {*snapshot.space.names} <= {*trial.point}
        test = trial.stage == TEST
        at = project.root()
        command = command_of(study, trial.planned, overrides[trial.stage], test, at)
        rows.append(
            {
                "stage": trial.stage,
                "number": trial.number,
                "status": trial.status,
                "value": finite(best_value(trial)),
                "epoch": result.best_epoch if result else None,
                "seconds": round(result.seconds, 2) if result else None,
                "note": trial.note or str(trial.claim.get("label", "")),
                "error": (result.error or "") if result else "",
                "command": command if whole else "",
                "folder": str(folder.relative_to(study.folder)),
                "there": folder.is_dir(),
                "best": trial is snapshot.best,
                "setting": dict(zip(head, setting, strict=True)),
            }
        )
    sample = f": {snapshot.sampled}" if snapshot.sampled else ""
    words = [
        f"{plural(len(rows), 'trial')}{sample}. Click a column's head to sort by it; a row opens "
        "to the command that trains it again and to its folder.",
        *mixed_code(study),
    ]
    return Section("trials", "All trials", words, rows=rows)
