"""The docstrings of the public names, where a comment of a page lists them: `<!-- caviar.load -->`.

GitHub shows nothing there; in the site mkdocstrings reads them from src/.
"""

from __future__ import annotations

import re
from typing import Any

NAMES = re.compile(r"^<!-- ((?:caviar[\w.]+ ?)+)-->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs with each page."""
    return NAMES.sub(lambda c: "\n\n".join(f"::: {name}" for name in c[1].split()), markdown)
