"""What a page is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from caviar.charts import Chart


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column names them."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """One section of the page: words, then pictures, then tables."""

    name: str
    title: str
    words: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    aside: bool = False
    """Its pictures are small and many: they stand side by side."""
    rows: Sequence[dict[str, object]] = field(default=())
    """Of the table of all trials, which is the page's own."""
