"""The wire: GraphQL, the stream of a run's metrics, and its files."""

from __future__ import annotations

import base64
import json
import re
import socket
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from wandb_standin.answers import ENTITY, Answer, Answers
from wandb_standin.state import Run, State, Sweep

KEY = "local" + "0123456789abcdef" * 3  # the client takes none of fewer than 40 characters


class Service:
    """The service, while its `with` block runs.

    Arguments:
        folder: for the client's own files, such as its settings and caches.
        seed: of the draws.
        crash_after: seconds of silence after which a run has crashed; the service waits minutes.
    """

    def __init__(self, folder: Path, seed: int = 0, crash_after: float = 300) -> None:
        self.folder = folder
        self.state = State(seed, crash_after)
        self.files: dict[str, bytes] = {}
        """What was uploaded, by run and name."""
        self.lock = threading.Lock()
        self.unanswered: Counter[str] = Counter()
        """How often each request has come, path and body, since it is not answered."""
        self._thawed = threading.Event()
        self._thawed.set()
        self._http = _Http(("127.0.0.1", 0), type("Bound", (_Handler,), {"service": self}))
        self._answers = Answers(self.state, self.url)
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)

    def __enter__(self) -> Service:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.thaw()
        self._http.shutdown()
        self._http.server_close()

    def freeze(self) -> None:
        """Let every request wait."""
        self.unanswered.clear()
        self._thawed.clear()

    def thaw(self) -> None:
        """Answer again, what waits first."""
        self._thawed.set()

    def answer(self, request: Answer) -> Answer | None:
        """The `data` of a GraphQL answer; None where the stand-in knows no such operation."""
        with self.lock:
            return self._answers.answer(request["query"], request.get("variables") or {})

    def asked_again(self, path: str) -> bool:
        """Whether a client has given up waiting for an answer, and asks the same again."""
        with self.lock:
            return any(n > 1 and path in request for request, n in self.unanswered.items())

    def wait_while_frozen(self, request: str) -> None:
        if not self._thawed.is_set():
            with self.lock:
                self.unanswered[request] += 1
            self._thawed.wait(120)

    @property
    def operations(self) -> list[str]:
        """Names of all GraphQL operations that were asked for, in order."""
        return self._answers.operations

    @property
    def unknown(self) -> list[str]:
        """What was asked for and could not be answered."""
        return self._answers.unknown

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """What leads the real client here, with few retries, and keeps its files together. A run
        tells its metrics each second (the client rounds down), not each 15 s."""
        few = {
            f"WANDB_X_{kind}_RETRY_{what}": number
            for kind in ("GRAPHQL", "FILE_STREAM", "FILE_TRANSFER")
            for what, number in (
                ("MAX", "6"),
                ("WAIT_MIN_SECONDS", "0.1"),
                ("WAIT_MAX_SECONDS", "2"),
            )
        }
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": KEY,
            "WANDB_CONFIG_DIR": str(self.folder / "config"),
            "WANDB_CACHE_DIR": str(self.folder / "cache"),
            "WANDB_DATA_DIR": str(self.folder / "data"),
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "1",
            **few,
        }

    def register(self, text: str) -> str:
        """Make a sweep of project `p` from a file's text, as `wandb sweep` does; its path."""
        values = {"entityName": ENTITY, "projectName": "p", "config": text}
        with self.lock:
            return f"{ENTITY}/p/{self.state.upsert_sweep(values).name}"

    def sweep(self, name: str) -> Sweep:
        """A sweep by its id, or by what a command was given: `me/project/id`."""
        return self.state.sweeps[name.rpartition("/")[2]]

    def runs_of(self, name: str) -> list[Run]:
        """The runs of a sweep, oldest first."""
        with self.lock:
            self.state.close_silent_runs()
            return list(self.sweep(name).runs)


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that was killed
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    service: Service
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self._body()
        self.service.wait_while_frozen(f"{self.path} {body!r}")
        if self._given_up() or not self._authorised():
            return
        if self.path == "/graphql":
            data = self.service.answer(json.loads(body))
            if data is None:
                self._send(400, {"errors": [{"message": "the stand-in knows no such operation"}]})
            else:
                self._send(200, {"data": data})
        elif match := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path):
            with self.service.lock:
                answer = self.service.state.stream(match[1], json.loads(body))
            self._send(200, answer)
        else:
            self._send(404, {})

    def do_PUT(self) -> None:
        self.service.files[self.path.removeprefix("/storage/")] = self._body()
        self._send(200, {})

    def do_GET(self) -> None:
        self._send(404, {})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _given_up(self) -> bool:
        """Whether the client hung up: what it has asked since is not to be undone by this."""
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    def _authorised(self) -> bool:
        expected = base64.b64encode(f"api:{KEY}".encode()).decode()
        if self.headers.get("Authorization") == f"Basic {expected}":
            return True
        self._send(401, {"errors": [{"message": "no key, or a wrong one"}]})
        return False

    def _send(self, code: int, answer: Answer) -> None:
        content = json.dumps(answer).encode()
        try:
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):  # the client has gone meanwhile
            pass

    def log_message(self, *_: Any) -> None:
        pass
