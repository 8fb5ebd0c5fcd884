"""Every metric of every branch, in one file: `metrics.jsonl`, a row a line, in the order of time.

What a run logged beyond the checkpoint that it resumes from, it will log again, so that is taken
out; what other branches logged stays for good. The curves of screen, picture and page are read
from here. No torch, so that they are there at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from caviar.base.files import append_synced, replaced
from caviar.panda.journal import Lineage

RECORD = "metrics.jsonl"  # in the study's folder
TEXTS = ("nan", "inf", "-inf")  # what Python calls the floats that JSON has no number for

Row = dict[str, Any]
Line = list[tuple[float, float]]  # step and finite value, in order


def append_row(folder: Path, row: Mapping[str, Any]) -> None:
    """Add a row; NaN and infinity as text, which JSON lacks."""
    append_synced(folder / RECORD, _json_line(row).encode())


def rows(folder: Path) -> list[Row]:
    """All rows that are written down whole."""
    path = folder / RECORD
    if not path.exists():
        return []
    whole = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break  # torn; nothing can follow it, since the next writer cuts it off first
        whole.append({k: float(v) if v in TEXTS else v for k, v in row.items()})
    return whole


def keep_until(folder: Path, branch: int, step: int) -> list[Row]:
    """Take out what a branch logged from a step on; its rows that stay.

    Without this a run that was killed behind its last checkpoint would have logged those steps
    twice, and its curve would differ from that of a run that nobody killed.
    """
    logged = rows(folder)
    kept = [row for row in logged if row["branch"] != branch or row["step"] < step]
    if len(kept) < len(logged):
        with replaced(folder / RECORD) as partial:
            partial.write_text("".join(map(_json_line, kept)), encoding="utf-8")
    return [row for row in kept if row["branch"] == branch]


def curve(record: Sequence[Row], metric: str, branch: int) -> Line:
    """Steps and finite values of one metric, as one branch logged them."""
    own = [row for row in record if row["branch"] == branch and metric in row]
    return [(row["step"], row[metric]) for row in own if math.isfinite(row[metric])]


def branch_line(record: Sequence[Row], lineage: Lineage, metric: str, branch: int) -> Line:
    """A branch's curve, from the point of its parent's that it began at."""
    own = curve(record, metric, branch)
    if branch not in lineage.origins:
        return own
    origin, day = lineage.origins[branch]
    ends = [e.step for e in lineage.days(origin) if e.day == day]
    until = ends[-1] if ends else 0
    before = [p for p in branch_line(record, lineage, metric, origin) if p[0] < until]
    return [*before[-1:], *own]


def present_line(record: Sequence[Row], lineage: Lineage, metric: str) -> Line:
    """The curve that leads to the present: each branch only from where it began."""
    branch = lineage.branch
    points = branch_line(record, lineage, metric, branch)
    while branch in lineage.origins:
        start = points[0][0] if points else math.inf
        branch = lineage.origins[branch][0]
        before = branch_line(record, lineage, metric, branch)
        points = [*(p for p in before if p[0] < start), *points]
    return points


def _json_line(row: Mapping[str, Any]) -> str:
    """A row as JSON; `json.dumps` would write NaN, which is no JSON, and others refuse to read."""
    plain = {k: str(v) if str(v) in TEXTS else v for k, v in row.items()}
    return json.dumps(plain, separators=(",", ":")) + "\n"
