"""Two studies or more on one page: what was found, how they differ, and all of their trials.

    caviar report 'search.study=[a,b]'      # runs/a+b.html

Their own reports have the rest: what narrowed, what mattered, what was confirmed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from caviar.base.errors import UserError
from caviar.pages.explore import PARALLEL, PLANE, PROGRESS, WORKERS
from caviar.pages.explorer import explorer_data
from caviar.pages.page import Section, Table, View, write_page
from caviar.pages.snapshot import Snapshot, best_value
from caviar.pages.verdict import winner_sentence
from caviar.screen.view import counted, duration, plural
from caviar.search.study import Study


def write_comparison(studies: Sequence[Study]) -> Path:
    """Write the page of several studies beside their folders; its path.

    Arguments:
        studies: two or more, whose ledgers exist.

    Raises:
        UserError: their metrics are not the same.
    """
    first = studies[0]
    for other in studies[1:]:
        if (other.metric, other.mode) != (first.metric, first.mode):
            raise UserError(
                f"study {first.name} is about {first.metric} ({first.mode}) and {other.name} about "
                f"{other.metric} ({other.mode}): these do not compare on one scale; name studies "
                "of one metric, or write a report of each"
            )
    snapshots = [Snapshot.of(study) for study in studies]
    title = "+".join(study.name for study in studies)
    path = first.folder.with_name(f"{title}.html")
    return write_page(path, title, _sections(snapshots), explorer_data(snapshots))


def _sections(snapshots: Sequence[Snapshot]) -> list[Section]:
    trials = sum(len(snapshot.everything) for snapshot in snapshots)
    sampled = [f"{s.study.name}: {s.sampled}." for s in snapshots if s.sampled]
    return [
        Section("verdict", "What was found", tables=[_found(snapshots)]),
        Section("settings", "Settings, side by side", tables=_settings(snapshots)),
        Section("explore", "Explore", views=[PARALLEL, PLANE]),
        Section("curves", "Learning curves", views=[View("curves", "Learning curves")]),
        Section("time", "Over time", views=[PROGRESS, WORKERS]),
        Section(
            "trials",
            "All trials",
            [f"{plural(trials, 'trial')} of {len(snapshots)} studies.", *sampled],
            views=[View("table", "All trials")],
        ),
    ]


def _found(snapshots: Sequence[Snapshot]) -> Table:
    """A column for each study."""
    rows: dict[str, list[str]] = {}
    for snapshot in snapshots:
        best, verdict = snapshot.best, snapshot.verdict
        value = best_value(best) if best else None
        seconds = sum(sum(stage.seconds.values()) for stage in snapshot.all_stages)
        told = {
            "trials": counted(snapshot.counts),
            "training": duration(seconds),
            f"best {snapshot.metric} of the search": "none"
            if best is None or value is None
            else f"{value:.4g}, {best.stage}/{best.number}",
            "what was found": winner_sentence(snapshot),
            "verdict": verdict.sentence() if verdict else "not confirmed yet",
        }
        for name, text in told.items():
            rows.setdefault(name, []).append(text)
    return _table(snapshots, rows)


def _settings(snapshots: Sequence[Snapshot]) -> list[Table]:
    """The ranges of the first stage, then what else differs in their configs."""
    keys = dict.fromkeys(axis.key for s in snapshots for axis in s.space)
    ranges = {key: [_range(snapshot, key) for snapshot in snapshots] for key in keys}
    kept = [_flat(_config(snapshot)) for snapshot in snapshots]
    names = dict.fromkeys(name for config in kept for name in config)
    others = {
        name: texts
        for name in names
        if name not in keys
        for texts in [[config.get(name, "–") for config in kept]]
        if len({*texts}) > 1
    }
    return [_table(snapshots, ranges), *([_table(snapshots, others)] if others else [])]


def _table(snapshots: Sequence[Snapshot], rows: Mapping[str, Sequence[str]]) -> Table:
    head = ["", *(snapshot.study.name for snapshot in snapshots)]
    return Table(head, [[name, *texts] for name, texts in rows.items()])


def _range(snapshot: Snapshot, key: str) -> str:
    """How a study draws an axis; its config's value where it does not."""
    for axis in snapshot.space:
        if axis.key == key:
            return str(axis.scale)
    return f"not searched: {_flat(_config(snapshot)).get(key, 'not in its config')}"


def _config(snapshot: Snapshot) -> Mapping[str, Any]:
    """What its first stage was trained with, and how it was searched."""
    spec = snapshot.stages[0].spec
    searched = {
        "search": {
            "seed": snapshot.study.settings.seed,
            "sampler": snapshot.study.settings.sampler,
            "stages": {s.name: f"{s.total} trials" for s in snapshot.stages},
        }
    }
    return {**spec.get("config", {"overrides": spec["overrides"]}), **searched}


def _flat(config: Any, prefix: str = "") -> dict[str, str]:
    """Dotted keys and values as text."""
    if not isinstance(config, Mapping) or not config:
        return {prefix.removesuffix("."): str(config)}
    flat: dict[str, str] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.")
    return flat
