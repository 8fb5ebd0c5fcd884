"""The page: one file that opens from disk, without a network.

Text is escaped by Jinja2, and so is the JSON that the script reads; the script writes text nodes
only. A content security policy forbids the page to fetch anything.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from caviar.base.files import replaced
from caviar.pages.marks import Chart
from caviar.pages.png import theme

HERE = Path(__file__).parent
# In this order they are one script: of every page, and of a page that has a table of trials.
SCRIPTS = ("base", "print", "pictures")
EXPLORER = (
    *("scales", "trials", "filters", "tip", "frame", "colours", "controls"),
    *("parallel", "plane", "curves", "clock", "progress", "workers"),
    *("ranges", "details", "table", "views"),
)


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column names them."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class View:
    """A picture that the page draws by itself, from the explorer's data: a file of `js/`."""

    name: str
    title: str
    note: str = ""
    """How to read it, and what it answers to."""


@dataclass(frozen=True)
class Section:
    """One section of the page: words, then pictures, then tables."""

    name: str
    """Its place in the page, which links name: `report.html#axes`."""
    title: str
    """Up to a colon, of the link to it, too."""
    words: Sequence[str] = ()
    """A paragraph each."""
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    aside: bool = False
    """Its pictures are small and many: they stand side by side."""
    views: Sequence[View] = ()
    """Of a page that has the explorer's data."""

    @property
    def pictures(self) -> Sequence[Chart]:
        """Those of `charts` that the page shows."""
        return [chart for chart in self.charts if chart.in_page]


def write_page(
    path: Path, title: str, sections: Sequence[Section], explorer: dict[str, Any] | None = None
) -> Path:
    """Write the page, whole or not at all.

    Arguments:
        path: of the file.
        title: the study's name.
        sections: in their order.
        explorer: what their views are drawn from, as `explorer_data` gives it.
    """
    text = page_text(title, sections, explorer)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def page_text(
    title: str, sections: Sequence[Section], explorer: dict[str, Any] | None = None
) -> str:
    """The page as `write_page` writes it."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    data: dict[str, Any] = {
        "title": title,
        "charts": {chart.name: chart.spec for section in sections for chart in section.pictures},
        # The page has a ground of its own, which pictures let through.
        "themes": {"light": theme(dark=False) | {"background": None}, "dark": theme(dark=True)},
        "explorer": explorer,
    }
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True)
    return environment.get_template("page.html").render(
        title=title,
        subtitle=f"as of {datetime.now().astimezone():%Y-%m-%d %H:%M}",
        footer="Written by caviar report; pictures by Vega-Lite. Nothing in it was fetched, and "
        "nothing is sent.",
        sections=sections,
        data=data,
        # Ours and Vega's, not anybody's text.
        css=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(_script(explorer is not None)),
        bundle=Markup(_vega().replace("</script", "<\\/script")),
    )


def _script(explorer: bool) -> str:
    """The files of `js/` as one: they share names, and leave none behind."""
    names = (*SCRIPTS, *(EXPLORER if explorer else ()))
    parts = [(HERE / "js" / f"{name}.js").read_text(encoding="utf-8") for name in names]
    return "\n".join(['"use strict";', "(() => {", *parts, "})();"])


@functools.cache  # to bundle them takes seconds
def _vega() -> str:
    """Vega, Vega-Lite and vega-embed as one script."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
