"""The README as the site's front page, and links that lead out of docs/.

On GitHub both kinds of link work as they are written. In a site, what is no page of it is a link
to the repository if its address is known (`extra.repository`), and else its name alone.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)\s]+)\)")


def as_page(markdown: str, folder: str, repository: str | None) -> str:
    """The text of a page that lies in `folder` of the repository, as a page of docs/ has it."""

    def written(link: re.Match[str]) -> str:
        image, text, target = link.groups()
        path = posixpath.normpath(posixpath.join(folder, target))
        if path.startswith("docs/"):
            return f"{image}[{text}]({path.removeprefix('docs/')})"
        return f"[{text}]({repository.rstrip('/')}/blob/main/{path})" if repository else text

    return LINK.sub(written, markdown)


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Called by MkDocs with each page."""
    folder = "docs"
    if page.file.src_uri == "index.md":
        markdown, folder = (ROOT / "README.md").read_text(encoding="utf-8"), ""
    return as_page(markdown, folder, config.extra.get("repository"))
