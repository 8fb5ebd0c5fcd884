"""The page: one file that opens from disk, without a network.

Text is escaped by Jinja2, and so is the JSON that the script reads; the script writes text nodes
only. A content security policy forbids the page to fetch anything.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from caviar.base.files import replaced
from caviar.pages.marks import Chart
from caviar.pages.png import theme

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column names them."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


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
    rows: Sequence[dict[str, object]] = field(default=())
    """Of the table of all trials, which is the page's own."""


def write_page(path: Path, study: str, metric: str, sections: Sequence[Section]) -> Path:
    """Write the page, whole or not at all.

    Arguments:
        path: of the file.
        study: its name.
        metric: the declared metric.
        sections: in their order.
    """
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    data: dict[str, Any] = {
        "study": study,
        "metric": metric,
        "charts": {chart.name: chart.spec for section in sections for chart in section.charts},
        # One section has them; the script makes one table.
        "rows": list(next((section.rows for section in sections if section.rows), [])),
        # The page has a ground of its own, which pictures let through.
        "themes": {"light": theme(dark=False) | {"background": None}, "dark": theme(dark=True)},
    }
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True)
    text = environment.get_template("page.html").render(
        title=study,
        subtitle=f"as of {datetime.now().astimezone():%Y-%m-%d %H:%M}",
        footer="Written by caviar report; pictures by Vega-Lite. Nothing in it was fetched, and "
        "nothing is sent.",
        sections=sections,
        data=data,
        # Ours and Vega's, not anybody's text.
        css=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "page.js").read_text(encoding="utf-8")),
        bundle=Markup(_vega().replace("</script", "<\\/script")),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


@functools.cache  # to bundle them takes seconds
def _vega() -> str:
    """Vega, Vega-Lite and vega-embed as one script."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
