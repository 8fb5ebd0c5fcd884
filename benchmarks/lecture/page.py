"""docs/lecture.md and its pictures, from the sections that ran."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from caviar.base.files import replaced
from caviar.pages.png import write_png
from lecture.evidence import Claim, Section, Table

COMMAND = "python benchmarks/lecture/main.py"
PACKAGES = ("torch", "numpy", "scikit-learn", "optuna")
INTRODUCTION = (
    "This project implements a lecture on hyperparameter tuning. Here each of its claims is put "
    "to the test on real training, and what comes out is said as it is, also where a claim does "
    "not hold. Verdicts are computed: a claim *holds* where the whole 95 % interval of the number "
    "that decides lies on its side, *does not hold* where the whole interval lies on the other, "
    "and *cannot be told* where it has both. Intervals, in brackets as in 0.61 [0.55, "
    "0.66], are bootstrapped over what was repeated; those of counted shares are Wilson's."
)


@dataclass(frozen=True)
class Run:
    """How the page was made."""

    options: Sequence[str]
    """Of the command line, as far as they change numbers."""
    minutes: float
    trainings: int
    kept: int = 0
    """Of these, from an earlier run."""


def write_page(
    folder: Path, sections: Mapping[str, Section], failed: Mapping[str, str], run: Run
) -> Path:
    """Write `lecture.md` and `images/lecture/*.png` below `folder`; the page's path.

    Arguments:
        folder: of the page.
        sections: what ran, by key, in order.
        failed: what did not, with its error.
        run: how.
    """
    images = folder / "images" / "lecture"
    for section in sections.values():
        for chart in section.figures:
            write_png(chart, images / f"{chart.name}.png")
    text = "\n\n".join(
        [
            "# The lecture's claims, measured",
            INTRODUCTION,
            _overview(sections),
            *(_failure(key, error) for key, error in failed.items()),
            _made(run),
            *(_section(key, section, run) for key, section in sections.items()),
        ]
    )
    page = folder / "lecture.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    with replaced(page) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    return page


def command(run: Run, key: str | None = None) -> str:
    """The command that makes the same numbers again, of all sections or of one."""
    only = ["--only", key] if key else []
    return " ".join([COMMAND, *only, *run.options])


def _made(run: Run) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    kept = f" ({run.kept:,} of them kept from an earlier run)" if run.kept else ""
    hasty = "**Few repetitions (`--quick`): no verdict to rely on.** "
    return (hasty if "--quick" in run.options else "") + (
        f"`make lecture`, which is `{command(run)}`, makes this page: "
        f"{run.trainings:,} trainings{kept}, "
        f"{run.minutes:.1f} minutes on {os.cpu_count()} cores, no GPU. Python "
        f"{platform.python_version()}, {versions}. The same command gives the same numbers."
    )


def _overview(sections: Mapping[str, Section]) -> str:
    rows = []
    for section in sections.values():
        for i, claim in enumerate(section.claims):
            title = f"[{section.title}](#{_anchor(section.title)})" if i == 0 else ""
            rows.append([title, claim.says, claim.verdict()])
    return _table(Table(("section", "claim", "here it"), rows), left=3)


def _section(key: str, section: Section, run: Run) -> str:
    parts = [f"## {section.title}", f"*The lecture.* {section.lecture}", f"*Here.* {section.done}"]
    for chart in section.figures:
        parts.append(f"![{chart.title}](images/lecture/{chart.name}.png)")
        if chart.note:
            parts.append(f"*{chart.note}*")
    for table in section.tables:
        parts.append(_table(table))
        if table.note:
            parts.append(table.note)
    parts += section.notes
    parts.append("\n".join(_claim(claim) for claim in section.claims))
    parts.append(f"```sh\n{command(run, key)}\n```")
    return "\n\n".join(parts)


def _claim(claim: Claim) -> str:
    lines = [f"- *{claim.says}*: {claim.verdict()}. (Holds if {claim.rule}.)"]
    for finding in claim.findings:
        where = f"{finding.where}: " if finding.where else ""
        lines.append(f"  - {where}{finding.numbers}")
    return "\n".join(lines)


def _failure(key: str, error: str) -> str:
    return f"**Section {key} failed and is missing**: {error}"


def _table(table: Table, left: int = 1) -> str:
    marks = ["---" if i < left else "---:" for i in range(len(table.head))]
    rows = [table.head, marks, *table.rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _anchor(title: str) -> str:
    """GitHub's, of a heading."""
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")
