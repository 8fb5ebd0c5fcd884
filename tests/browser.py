"""A page of ours in a real browser, and what the browser has to say of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

QUIET = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
QUIET += " --disable-background-networking --disable-component-update"


@contextmanager
def chromium_browser() -> Iterator[Any]:
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright  # in the extra dev, which `make` installs

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "these tests need chromium: apt-get install chromium"
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=QUIET.split())
        yield browser
        browser.close()


class Opened:
    """A page, and what the browser complained of and asked for while it was open."""

    def __init__(self, chromium: Any, path: Path, scheme: str = "light", **viewport: int) -> None:
        size = viewport or {"width": 1280, "height": 900}
        self.context = chromium.new_context(viewport=size, color_scheme=scheme)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())
        self.path = path

    def drawn(self) -> int:
        """Scroll to every picture and wait until it is drawn; how many of them are Vega's."""
        places = self.page.locator(".chart, .view")
        for i in range(places.count()):
            self._see(places.nth(i))
        return int(self.page.locator(".chart").count())

    def see(self, view: str) -> Any:
        """A picture of the page's own, or its table: scrolled to and drawn."""
        place = self.page.locator(f"[data-view={view}]")
        self._see(place)
        return place

    def _see(self, place: Any) -> None:
        place.scroll_into_view_if_needed()
        drawn = "place => place.dataset.drawn && !place.dataset.stale"
        self.page.wait_for_function(drawn, arg=place.element_handle(), timeout=20_000)

    def settled(self) -> None:
        """Wait until filters have been answered, which is done once a frame."""
        self.page.evaluate(
            "new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))"
        )

    def fine(self) -> None:
        """It asked for nothing but itself, complained of nothing, and fits the screen's width."""
        assert self.requests == [self.path.as_uri()]
        assert self.complaints == [], self.complaints
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    def rows(self) -> list[str]:
        """First cells of the table of trials, as shown."""
        return self.cells(1)

    def column(self, title: str) -> list[str]:
        """Cells of the table of trials below a title, as shown."""
        self.see("table")
        heads = self.page.locator("#table th").all_inner_texts()
        return self.cells([h.rstrip(" ▲▼") for h in heads].index(title) + 1)

    def cells(self, number: int) -> list[str]:
        self.see("table")
        self.settled()
        return list(self.page.locator(f"#table tr.trial td:nth-child({number})").all_inner_texts())

    def tip(self) -> str:
        """What a pointer is told; empty where it is over nothing."""
        shown = self.page.locator(".tip")
        return str(shown.inner_text()) if shown.is_visible() else ""
