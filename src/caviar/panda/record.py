"""Every metric of every branch, in one file: `metrics.jsonl`, a row a line, in the order of time.

What a run logged beyond the checkpoint that it resumes from, it will log again, so that is taken
out; what other branches logged stays for good.
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

Row = dict[str, Any]


def append_row(folder: Path, row: Mapping[str, Any]) -> None:
    """Add a row; NaN and infinity as text, which JSON lacks."""
    append_synced(folder / RECORD, _line(row).encode())


def rows(folder: Path) -> list[Row]:
    """All rows that are written down whole."""
    path = folder / RECORD
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break  # torn
        found.append({k: _number(v) for k, v in row.items()})
    return found


def keep_until(folder: Path, branch: int, step: int) -> list[Row]:
    """Take out what a branch logged from a step on; its rows that stay."""
    known = rows(folder)
    kept = [row for row in known if row["branch"] != branch or row["step"] < step]
    if len(kept) < len(known):
        with replaced(folder / RECORD) as partial:
            partial.write_text("".join(map(_line, kept)), encoding="utf-8")
    return [row for row in kept if row["branch"] == branch]


def curve(found: Sequence[Row], metric: str, branch: int) -> tuple[list[int], list[float]]:
    """Steps and values of one metric in one branch."""
    points = [row for row in found if row["branch"] == branch and metric in row]
    return [row["step"] for row in points], [row[metric] for row in points]


def branch_line(
    found: Sequence[dict[str, Any]], lineage: Lineage, metric: str, branch: int
) -> list[tuple[float, float]]:
    """A branch's finite values by step, from the point of its parent's that it began at."""
    steps, values = curve(found, metric, branch)
    own: list[tuple[float, float]] = [
        (s, v) for s, v in zip(steps, values, strict=True) if math.isfinite(v)
    ]
    if branch not in lineage.origins:
        return own
    origin, day = lineage.origins[branch]
    ends = [e.step for e in lineage.days(origin) if e.day == day]
    until = ends[-1] if ends else 0
    before = [p for p in branch_line(found, lineage, metric, origin) if p[0] < until]
    return [*before[-1:], *own]


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps({k: _text(v) for k, v in row.items()}, separators=(",", ":")) + "\n"


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and value in ("nan", "inf", "-inf") else value
