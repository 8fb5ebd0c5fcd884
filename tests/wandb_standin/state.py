"""Projects, sweeps and runs, in memory. The server holds a lock around every call."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field
from typing import Any

import yaml

from wandb_standin.law import draw

OVER = ("finished", "failed", "crashed", "killed")


@dataclass
class Run:
    """One run, as the service knows it."""

    name: str
    entity: str
    project: str
    created: float
    sweep: str | None = None
    state: str = "pending"
    """`pending` until a process has started it; `crashed` when it was not heard of for long."""
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    display_name: str = ""
    group: str | None = None
    exit_code: int | None = None
    heard: float = 0.0
    stopped: bool = False
    """Somebody asked for its end on the web page."""

    @property
    def started(self) -> bool:
        return self.state != "pending"


@dataclass
class Sweep:
    """One sweep; `config` is the text that it was registered or updated with."""

    name: str
    entity: str
    project: str
    config: str
    state: str = "RUNNING"
    runs: list[Run] = field(default_factory=list)
    scripted: list[dict[str, Any]] = field(default_factory=list)
    """Values that the next runs get, in the place of drawn ones."""

    @property
    def document(self) -> dict[str, Any]:
        loaded: dict[str, Any] = yaml.safe_load(self.config)
        return loaded


class State:
    """All that the service remembers."""

    def __init__(self, seed: int, crash_after: float) -> None:
        self.rng = random.Random(seed)
        self.crash_after = crash_after
        self.sweeps: dict[str, Sweep] = {}
        self.runs: dict[str, Run] = {}
        self.agents: dict[str, str] = {}  # agent → sweep

    def fresh_name(self) -> str:
        return "".join(self.rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=8))

    def upsert_sweep(self, values: dict[str, Any]) -> Sweep:
        """Register a sweep, or change its config or state."""
        known = self.sweeps.get(values.get("id") or "")
        if known is None:
            name = self.fresh_name()
            known = self.sweeps[name] = Sweep(
                name, values["entityName"], values["projectName"], values["config"]
            )
        known.config = values.get("config") or known.config
        known.state = values.get("state") or known.state
        return known

    def commands(self, agent: str, running: dict[str, bool]) -> list[dict[str, Any]]:
        """What an agent is told at its heartbeat."""
        sweep = self.sweeps[self.agents[agent]]
        cap = sweep.document.get("run_cap")
        full = cap is not None and len(sweep.runs) >= cap
        if sweep.state == "CANCELED" and running:
            return [{"type": "stop", "run_id": name} for name in running]
        if running or sweep.state == "PAUSED":
            return []
        if full or sweep.state != "RUNNING":
            return [{"type": "exit"}]
        document = sweep.document
        point = draw(document["parameters"], self.rng)
        point |= sweep.scripted.pop(0) if sweep.scripted else {}
        run = Run(self.fresh_name(), sweep.entity, sweep.project, time.time(), sweep.name)
        run.config = {name: {"value": value} for name, value in point.items()}
        self.runs[run.name] = run
        sweep.runs.append(run)
        command = {"type": "run", "run_id": run.name, "program": document["program"]}
        return [{**command, "args": {name: {"value": value} for name, value in point.items()}}]

    def upsert_run(self, values: dict[str, Any]) -> tuple[Run, bool]:
        """What a process says of its run as it starts; whether it is new."""
        name = values["name"]
        inserted = name not in self.runs or not self.runs[name].started
        run = self.runs.get(name)
        if run is None:
            run = Run(name, values.get("entity") or "me", values["project"], time.time())
            self.runs[name] = run
        if sweep := values.get("sweep"):
            run.sweep = sweep
        run.config |= json.loads(values.get("config") or "{}")
        run.display_name = values.get("displayName") or run.display_name or f"run-{name}"
        run.group = values.get("groupName") or run.group
        run.state, run.heard = values.get("state") or "running", time.time()
        return run, inserted

    def stream(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Metrics of a run, and perhaps its end."""
        run = self.runs[name]
        run.heard = time.time()
        files = body.get("files") or {}
        if "wandb-history.jsonl" in files:
            run.history += [json.loads(line) for line in files["wandb-history.jsonl"]["content"]]
        if "wandb-summary.json" in files:
            run.summary = json.loads(files["wandb-summary.json"]["content"][-1])
        if body.get("complete"):
            run.exit_code = body.get("exitcode")
            run.state = "finished" if run.exit_code == 0 else "failed"
        return {"stopped": True} if run.stopped else {}

    def close_silent_runs(self) -> None:
        """Runs that were not heard of for long have crashed; a sweep at its cap is finished."""
        for run in self.runs.values():
            if run.state == "running" and time.time() - run.heard > self.crash_after:
                run.state = "crashed"
        for sweep in self.sweeps.values():
            cap = sweep.document.get("run_cap")
            over = all(run.state in OVER for run in sweep.runs)
            if sweep.state == "RUNNING" and cap is not None and len(sweep.runs) >= cap and over:
                sweep.state = "FINISHED"
