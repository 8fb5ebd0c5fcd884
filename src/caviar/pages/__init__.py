"""The report of a study: `runs/<study>/report.html` and its pictures as PNG.

snapshot.py    the study, read once
channels.py    where things lie: a hyperparameter on its own scale, the metric on its own
marks.py       pictures and their parts: points, crosses, rings
verdict.py, axes.py, importance.py, trials.py, budget.py, confirm.py    sections, from the snapshot
panda.py       the page of one model that is looked after: the only one that knows of caviar.panda
explorer.py    every trial as the page's own pictures and table read it; recorded.py its curves
js/            these pictures and the table, and what they share: one script, a file for each idea
compare.py     two studies or more on one page
page.py        sections into one self-contained file
png.py         pictures into files
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from caviar.pages.page import Section, write_page
from caviar.pages.png import Drawing
from caviar.search.study import Study

PAGE = "report.html"  # in the study's folder
PICTURES = "pictures"  # beside it


def write_report(study: Study, pictures: bool = True) -> list[Path]:
    """Write the page and its pictures; the files, the page first.

    Arguments:
        study: whose ledger exists; it may still run.
        pictures: as PNG files, too; the page has its own without them.
    """
    # scikit-learn and SciPy come with these; the page of a panda goes without.
    from caviar.pages.axes import axes_section
    from caviar.pages.budget import budget_section
    from caviar.pages.confirm import confirm_section
    from caviar.pages.explore import explore_section, time_section
    from caviar.pages.explorer import explorer_data
    from caviar.pages.importance import importance_section
    from caviar.pages.snapshot import Snapshot
    from caviar.pages.trials import curves_section, trials_section
    from caviar.pages.verdict import verdict_section

    snapshot = Snapshot.of(study)
    makers = (
        verdict_section,
        explore_section,
        axes_section,
        importance_section,
        curves_section,
        budget_section,
        time_section,
        confirm_section,
        trials_section,
    )
    sections = (make(snapshot) for make in makers)
    explorer = explorer_data([snapshot])
    return write_sections(study.folder, sections, pictures, explorer)


def write_sections(
    folder: Path,
    sections: Iterable[Section],
    pictures: bool = True,
    explorer: dict[str, Any] | None = None,
) -> list[Path]:
    """Write a page of these sections, and their pictures; the files, the page first.

    Arguments:
        folder: of the study, whose name is the page's title.
        sections: computed one by one, while the pictures of the ones before are drawn.
        pictures: as PNG files, too.
        explorer: what the page's own pictures are drawn from.
    """
    if not pictures:  # nor a process that would draw them
        return [write_page(folder / PAGE, folder.name, list(sections), explorer)]
    made, drawn = [], []
    with Drawing() as drawing:
        for section in sections:  # drawn while the next ones are computed
            made.append(section)
            for chart in section.charts:
                drawn.append(drawing.draw(chart, folder / PICTURES / f"{chart.name}.png"))
        page = write_page(folder / PAGE, folder.name, made, explorer)
    return [page, *drawn]
