"""The wire: GraphQL by operation name, the stream of a run's metrics, and its files."""

from __future__ import annotations

import base64
import json
import re
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from wandb_standin.state import Run, State, Sweep

ENTITY = "me"
KEY = "local" + "0123456789abcdef" * 3  # the client takes none of fewer than 40 characters
OPERATION = re.compile(r"\b(?:query|mutation)\s+(\w+)")

Answer = dict[str, Any]


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
        self.operations: list[str] = []
        """Names of all GraphQL operations that were asked for, in order."""
        self.files: dict[str, bytes] = {}
        """What was uploaded, by run and name."""
        self.unknown: list[str] = []
        """What was asked for and could not be answered."""
        self.frozen = threading.Event()
        """While it is set, nothing is answered."""
        self.lock = threading.Lock()
        self._thawed = threading.Event()
        self._http = _Http(("127.0.0.1", 0), type("Bound", (_Handler,), {"service": self}))
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
        self._thawed.clear()
        self.frozen.set()

    def thaw(self) -> None:
        """Answer again, what waits first."""
        self.frozen.clear()
        self._thawed.set()

    def wait_while_frozen(self) -> None:
        if self.frozen.is_set():
            self._thawed.wait(120)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """What leads the real client here, with few retries, and keeps its files together."""
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
            **few,
        }

    def sweep(self, name: str) -> Sweep:
        """A sweep by its id, or by what a command was given: `me/project/id`."""
        return self.state.sweeps[name.rpartition("/")[2]]

    def runs_of(self, name: str) -> list[Run]:
        """The runs of a sweep, oldest first."""
        with self.lock:
            self.state.close_silent_runs()
            return list(self.sweep(name).runs)

    # -- GraphQL, by the name of the operation

    def answer(self, query: str, variables: dict[str, Any]) -> Answer | None:
        """The `data` of an answer; None where the stand-in knows no such operation."""
        found = OPERATION.search(query)
        name = found[1] if found else "unnamed"
        operations: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "Viewer": self._viewer,
            "GetDefaultEntity": self._viewer,
            "GetViewer": self._viewer,
            "ServerFeaturesQuery": lambda v: {"serverInfo": {"features": []}},
            "OrganizationCoreWeaveOrganizationID": lambda v: {"entity": None},
            "UpsertSweep": self._upsert_sweep,
            "SweepWithRuns": self._sweep_with_runs,
            "GetSweep": self._get_sweep,
            "GetSweepState": self._get_sweep,
            "CreateAgent": self._create_agent,
            "Heartbeat": self._heartbeat,
            "RunResumeStatus": self._resume_status,
            "UpsertBucket": self._upsert_bucket,
            "CreateRunFiles": self._create_files,
            "Runs": lambda v: self._runs(v, full="summaryMetrics" in query),
            "Run": self._run,
        }
        with self.lock:
            self.operations.append(name)
            self.state.close_silent_runs()
            if name not in operations:
                self.unknown.append(query)
                return None
            return operations[name](variables)

    def _viewer(self, variables: dict[str, Any]) -> Answer:
        viewer = {"id": "user", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}"}
        return {
            "viewer": {**viewer, "admin": False, "teams": {"edges": []}, "apiKeys": {"edges": []}}
        }

    def _upsert_sweep(self, variables: dict[str, Any]) -> Answer:
        known = {"entityName": variables.get("entityName") or ENTITY}
        sweep = self.state.upsert_sweep({**variables, **known})
        project = {
            "id": "project",
            "name": sweep.project,
            "entity": {"id": "entity", "name": sweep.entity},
        }
        answer = {"name": sweep.name, "project": project}
        return {"upsertSweep": {"sweep": answer, "configValidationWarnings": []}}

    def _sweep_with_runs(self, variables: dict[str, Any]) -> Answer:
        found = self._get_sweep({**variables, "name": variables["sweep"]})
        if found["project"]["sweep"] is not None:
            found["project"]["sweep"] |= {"runs": {"edges": []}}
        return found

    def _get_sweep(self, variables: dict[str, Any]) -> Answer:
        sweep = self.state.sweeps.get(variables.get("name") or variables.get("sweep") or "")
        if sweep is None:
            return {"project": {"sweep": None}}
        document = sweep.document
        return {
            "project": {
                "sweep": {
                    "__typename": "Sweep",
                    "id": sweep.name,
                    "name": sweep.name,
                    "displayName": document.get("name"),
                    "method": document["method"],
                    "state": sweep.state,
                    "description": None,
                    "bestLoss": None,
                    "config": sweep.config,
                    "createdAt": "2026-01-01T00:00:00Z",
                    "updatedAt": None,
                    "runCount": len(sweep.runs),
                    "runCountExpected": document.get("run_cap"),
                    "priorRuns": None,
                }
            }
        }

    def _create_agent(self, variables: dict[str, Any]) -> Answer:
        agent = self.state.fresh_name()
        self.state.agents[agent] = variables["sweep"]
        return {"createAgent": {"agent": {"id": agent}}}

    def _heartbeat(self, variables: dict[str, Any]) -> Answer:
        running = json.loads(variables.get("runState") or "{}")
        commands = self.state.commands(variables["id"], running)
        return {
            "agentHeartbeat": {
                "agent": {"id": variables["id"]},
                "commands": json.dumps(commands),
            }
        }

    def _resume_status(self, variables: dict[str, Any]) -> Answer:
        run = self.state.runs.get(variables["name"])
        bucket = None
        if run is not None and run.started:
            bucket = {
                "id": run.name,
                "name": run.name,
                "summaryMetrics": json.dumps(run.summary),
                "displayName": run.display_name,
                "logLineCount": 0,
                "historyLineCount": len(run.history),
                "eventsLineCount": 0,
                "historyTail": json.dumps([json.dumps(h) for h in run.history[-1:]]),
                "eventsTail": "[]",
                "config": json.dumps(run.config),
                "tags": [],
                "notes": None,
                "wandbConfig": None,
            }
        entity = {"id": "entity", "name": variables.get("entity") or ENTITY}
        model = {"id": "project", "name": variables["project"], "entity": entity}
        return {"model": {**model, "bucket": bucket}}

    def _upsert_bucket(self, variables: dict[str, Any]) -> Answer:
        run, inserted = self.state.upsert_run(
            {**variables, "entity": variables.get("entity") or ENTITY}
        )
        entity = {"id": "entity", "name": run.entity}
        bucket = {
            "id": run.name,
            "name": run.name,
            "displayName": run.display_name,
            "description": None,
            "config": json.dumps(run.config),
            "sweepName": run.sweep,
            "project": {"id": "project", "name": run.project, "entity": entity},
            "historyLineCount": len(run.history),
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _create_files(self, variables: dict[str, Any]) -> Answer:
        run = variables["run"]
        files = [
            {"name": f, "uploadUrl": f"{self.url}/storage/{run}/{f}"} for f in variables["files"]
        ]
        return {"createRunFiles": {"runID": run, "uploadHeaders": [], "files": files}}

    def _runs(self, variables: dict[str, Any], full: bool) -> Answer:
        wanted = _sweep_of(json.loads(variables.get("filters") or "{}"))
        found = [
            run
            for run in self.state.runs.values()
            if run.project == variables["project"] and (wanted is None or run.sweep == wanted)
        ]
        found.sort(key=lambda run: run.created)
        start = int(variables.get("cursor") or 0)
        page = found[start : start + int(variables.get("perPage") or 50)]
        end = start + len(page)
        edges = [
            {"node": _node(run, full), "cursor": str(start + i + 1)} for i, run in enumerate(page)
        ]
        info = {"endCursor": str(end), "hasNextPage": end < len(found)}
        runs = {"edges": edges, "pageInfo": info}
        return {
            "project": {"internalId": "1", "runCount": len(found), "readOnly": False, "runs": runs}
        }

    def _run(self, variables: dict[str, Any]) -> Answer:
        run = self.state.runs.get(variables["name"])
        return {"project": {"run": None if run is None else _node(run, True)}}


def _sweep_of(filters: Any) -> str | None:
    if "sweep" in filters:
        return str(filters["sweep"])
    return next((found for f in filters.get("$and", ()) if (found := _sweep_of(f))), None)


def _node(run: Run, full: bool) -> Answer:
    node = {
        "id": run.name,
        "projectId": "1",
        "tags": [],
        "name": run.name,
        "displayName": run.display_name,
        "sweepName": run.sweep,
        "state": run.state,
        "group": run.group,
        "jobType": None,
        "commit": None,
        "readOnly": False,
        "createdAt": datetime.fromtimestamp(run.created, UTC).isoformat(),
        "heartbeatAt": None,
        "description": None,
        "notes": None,
        "historyLineCount": len(run.history),
        "user": {"name": ENTITY, "username": ENTITY},
    }
    if full:
        node |= {
            "config": json.dumps(run.config),
            "summaryMetrics": json.dumps(run.summary),
            "systemMetrics": "{}",
            "historyKeys": None,
        }
    return node


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
        self.service.wait_while_frozen()
        if not self._authorised():
            return
        if self.path == "/graphql":
            request = json.loads(body)
            data = self.service.answer(request["query"], request.get("variables") or {})
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
