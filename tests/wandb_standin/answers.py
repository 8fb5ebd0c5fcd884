"""The answers to GraphQL operations, by their names; there is no parser, and none is needed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from wandb_standin.state import Run, State

ENTITY = "me"
OPERATION = re.compile(r"\b(?:query|mutation)\s+(\w+)")

Answer = dict[str, Any]


class Answers:
    """Answers from a state, and remembers what was asked.

    Arguments:
        state: of the service.
        url: of the server, where files go.
    """

    def __init__(self, state: State, url: str) -> None:
        self.state, self.url = state, url
        self.operations: list[str] = []
        self.unknown: list[str] = []

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
            # Clients before 0.26 ask what the server knows, which may be one of years ago.
            "ProbeServerCapabilities": lambda v: _types(
                QueryType=[], MutationType=["createRunFiles"], ServerInfoType=[]
            ),
            "ProbeServerSettings": lambda v: _types(ServerSettingsType=[]),
            "ProbeProjectInput": lambda v: _types(ProjectType=["internalId"]),
            "ProbeRunInput": lambda v: _types(RunType=["projectId"]),
            "Sweep": self._get_sweep,
            "RunStoppedStatus": lambda v: {"project": {"run": {"stopped": False}}},
            "unnamed": self._viewer,  # { viewer { id } }
        }
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


def _types(**fields: list[str]) -> Answer:
    return {
        name: {"fields": [{"name": field, "args": []} for field in known]}
        for name, known in fields.items()
    }


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
