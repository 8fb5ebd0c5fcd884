"""The report of a study: `runs/<study>/report.html` and its pictures as PNG.

snapshot.py       the study, read once
section.py     what a page is made of
verdict.py … trials.py    one section each, from the snapshot
panda.py       the sections of one model that is looked after
page.py        sections into one self-contained file
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from caviar.panda.journal import EVENTS
from caviar.report.page import Section
from caviar.report.png import Drawing
from caviar.search.study import Study

PAGE = "report.html"  # in the study's folder
PICTURES = "pictures"  # beside it


def write_report(study: Study) -> list[Path]:
    """Write the page and its pictures; the files, the page first.

    Arguments:
        study: whose ledger exists; it may still run.
    """
    from caviar.report.axes import axes_section
    from caviar.report.budget import budget_section
    from caviar.report.confirm import confirm_section
    from caviar.report.curves import curves_section
    from caviar.report.importance import importance_section
    from caviar.report.snapshot import gather
    from caviar.report.stages import stages_section
    from caviar.report.trials import trials_section
    from caviar.report.verdict import verdict_section

    snapshot = gather(study)
    makers = (
        verdict_section,
        stages_section,
        axes_section,
        importance_section,
        curves_section,
        budget_section,
        confirm_section,
        trials_section,
    )
    return _write(study.folder, snapshot.metric, (make(snapshot) for make in makers))


def write_panda_report(folder: Path) -> list[Path]:
    """The same of a model that is looked after.

    Raises:
        UserError: its config is damaged.
    """
    from caviar.panda.levers import read_config
    from caviar.report.panda import panda_sections

    return _write(folder, read_config(folder)["metric"]["name"], panda_sections(folder))


def is_panda(folder: Path) -> bool:
    """Whether the study in a folder is one model that is looked after."""
    return (folder / EVENTS).is_file()


def _write(folder: Path, metric: str, sections: Iterable[Section]) -> list[Path]:
    from caviar.report.page import write_page

    made, pictures = [], []
    with Drawing() as drawing:
        for section in sections:  # drawn while the next ones are computed
            made.append(section)
            for chart in section.charts:
                pictures.append(drawing.draw(chart, folder / PICTURES / f"{chart.name}.png"))
        page = write_page(folder / PAGE, folder.name, metric, made)
    return [page, *pictures]
