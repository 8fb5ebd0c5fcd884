"""The page of a study that still runs, followed in a browser: `caviar report --serve`.

A server on this machine's loopback alone. Who asks by another name than the loopback's is refused:
a page from anywhere may let its own name lead to 127.0.0.1 (DNS rebinding), and read what is here.
It answers with the page that was rendered last, and with one number that says which that is;
`follow.js`, which goes along with the page, asks for that number and loads the page again.

All reading and rendering is done by one thread, and only when the study has changed.
"""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from caviar.base.errors import SearchFailed, UserError
from caviar.base.terminal import complain
from caviar.search.settings import VERDICT
from caviar.search.study import Study

HOST = "127.0.0.1"
PORT = 8765  # if it is free, so that a bookmark holds; else any
PERIOD = 1.0  # seconds between two looks at the study
SHARE = 4  # a page that takes a second to render is rendered every four seconds at most,
LONGEST = 30.0  # and one that takes long every so many seconds
HERE = Path(__file__).parent
# The page forbids itself to fetch anything; here it may ask its own server which page is the last.
FROM, TO = "default-src 'none'", "default-src 'none'; connect-src 'self'"
ALWAYS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Followed:
    """What is served."""

    render: Callable[[], Path]
    """Writes the page; the file."""
    mark: Callable[[], object]
    """Equal as long as nothing has changed; cheap."""
    ended: Callable[[], bool]
    """Whether nothing will change any more, unless somebody goes on with it."""


def followed_study(study: Study) -> Followed:
    """A study whose ledger exists."""
    from caviar.pages import write_report

    def mark() -> object:
        ledger = study.ledger
        ledger.refresh()
        stages = []
        for name in ledger.stages():
            overview = ledger.overview(name)
            points = [(t.number, len(t.curve)) for t in ledger.some(name, overview.running)]
            stages.append((name, dict(overview.counts), points))
        # A stage that refine has written, and the verdict, are files beside it.
        files = sorted(study.folder.glob("*.yaml")), (study.folder / VERDICT).exists()
        return stages, files

    return Followed(
        render=lambda: write_report(study, pictures=False)[0],
        mark=mark,
        ended=(study.folder / VERDICT).exists,
    )


class Server:
    """Serves the page until its block ends: `with Server(followed, port) as server: …`.

    Arguments:
        followed: what to render, and when.
        port: of the loopback; None for the usual one, or another where that is taken.

    Raises:
        UserError: the port is taken.
    """

    def __init__(self, followed: Followed, port: int | None = None) -> None:
        self.followed = followed
        self.version = 0  # of the page; 0 before the first
        self.page = b""
        self.ended = False
        self._mark: object = None
        self._next = 0.0  # when it may be rendered again
        self._http = _listening(port)
        self._http.answers = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """To open in a browser."""
        return f"http://{HOST}:{self._http.server_address[1]}/"

    def __enter__(self) -> Server:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def look(self) -> None:
        """Render the page again if the study has changed."""
        now = time.monotonic()
        if self.version and now < self._next:
            return
        mark = self.followed.mark()
        if self.version and mark == self._mark:
            return
        ended = self.followed.ended()  # before the page, which is then not older than this
        text = self.followed.render().read_text(encoding="utf-8")
        took = time.monotonic() - now
        pause = min(LONGEST, SHARE * took) if self.version else 0.0  # the first also imports a lot
        self._mark, self._next = mark, time.monotonic() + pause
        script = (HERE / "follow.js").read_text(encoding="utf-8")
        setting = json.dumps({"version": self.version + 1})
        tail = f"<script>const FOLLOWED = {setting};\n{script}</script>\n</body>"
        head, _, rest = text.rpartition("</body>")
        self.page = f"{head.replace(FROM, TO, 1)}{tail}{rest}".encode()
        self.version, self.ended = self.version + 1, ended

    def follow(self) -> None:
        """Look again and again, until Ctrl-C."""
        said = ""
        while True:
            time.sleep(PERIOD)
            try:
                self.look()
                said = ""
            except (UserError, SearchFailed, OSError) as error:  # it may pass; the last page stays
                if str(error) != said:
                    complain(f"warning: the page stays as it is: {error}")
                said = str(error)


def _listening(port: int | None) -> ThreadingHTTPServer:
    for choice in (PORT, 0) if port is None else (port,):
        try:
            return ThreadingHTTPServer((HOST, choice), _Answer)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            reason = error.strerror
    raise UserError(f"--port {port}: {reason}; name another, or leave --port out")


class _Answer(BaseHTTPRequestHandler):
    """One request."""

    server_version, sys_version = "caviar", ""

    def do_GET(self) -> None:
        """The page, or which one is the last."""
        server: Any = self.server
        port, ours = server.server_address[1], server.answers
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"this page is for this machine alone\n")
        elif self.path == "/":
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", ours.page)
        elif self.path == "/last":
            last = {"version": ours.version, "ended": ours.ended}
            self._send(HTTPStatus.OK, "application/json", json.dumps(last).encode())
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"there is / alone\n")

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {
            **ALWAYS,
            "Content-Type": kind,
            "Content-Length": str(len(body)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """A line for each request would cover what the command has said."""
