"""Study `s` as W&B sweeps: what the tests of sweeps have in common."""

from __future__ import annotations

import io
import json
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton

from caviar.base.result import MARKER, RESULT
from caviar.ledger import Trial
from caviar.space import Axis, Choice, Integer, Log, OneMinusLog, Space
from caviar.space.sweep_file import SweepFile
from caviar.wandb.agents import client_has_options
from caviar.wandb.ledger import SweepLedger
from caviar.wandb.record import Registered, digest
from conftest import Process, Start, awaited
from wandb_standin import Run, Service
from wandb_standin.law import draw

SPACE = Space(
    (
        Axis("optimizer.lr", Log(1e-4, 1.0)),
        Axis("optimizer.momentum", OneMinusLog(1e-3, 0.1)),
        Axis("model.width", Integer(16, 128)),
        Axis("model.act", Choice(("relu", "gelu"))),
    )
)
SWEEP = SweepFile("s", "01_coarse", SPACE, 20, "val/loss", "min")
POINT = {
    "optimizer.lr": 0.01,
    "one_minus.optimizer.momentum": 0.02,
    "model.width": 64.0,  # JSON knows no whole numbers
    "model.act": "relu",
}

SHORT = ["trainer.max_epochs=2", "~space.data"]


def called(*arguments: str, code: int = 0) -> str:
    """What the `caviar` command prints, run inside this process: it saves the imports.

    The command is as ever but for its client of W&B, which is begun anew for each call, since it
    remembers where the service was.
    """
    import wandb

    from caviar.cli import main

    hydra, argv = Singleton.get_state(), sys.argv
    GlobalHydra.instance().clear()
    sys.argv = ["caviar", *arguments]
    printed, left = io.StringIO(), 0
    wandb.teardown()  # of whoever used it in this process before
    try:
        with redirect_stdout(printed), redirect_stderr(printed), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, module="wandb")
            main()
    except SystemExit as leaving:
        left = int(leaving.code or 0)
    finally:
        wandb.teardown()
        GlobalHydra.instance().clear()
        Singleton.set_state(hydra)
        sys.argv = argv
    assert left == code, printed.getvalue()
    return printed.getvalue()


def registered(*overrides: str) -> str:
    """Register the first stage of study `s`; its `entity/project/id`."""
    printed = called("sweep", "search.study=s", "--project", "p", *overrides)
    return printed.rpartition("wandb agent ")[2].split()[0]


def trained(service: Service, path: str, losses: Sequence[float]) -> None:
    """Let a sweep have complete runs at points that it draws, one for each best loss."""
    sweep = service.sweep(path)
    parameters = sweep.document["parameters"]
    for number, loss in enumerate(losses):
        point = draw(parameters, service.state.rng)
        run = Run(f"made{number:04}", "me", "p", 1e9 + number, sweep.name, "finished")
        run.config = {name: {"value": value} for name, value in point.items()}
        result = {"status": "complete", "best": loss, "curve": [[0, loss + 0.2], [1, loss]]}
        marker = {MARKER: "complete", RESULT: json.dumps(result)}
        run.summary = {**marker, "val/loss_best": loss}
        service.state.runs[run.name] = run
        sweep.runs.append(run)


def skip_without_agents() -> None:
    """Leave out a test of `caviar agent` where the client is older than it needs."""
    if not client_has_options():
        pytest.skip("caviar agent needs wandb 0.31")


def agents(start: Start, *options: str) -> Process:
    skip_without_agents()
    return start("caviar", "agent", "search.study=s", *options)


def trials(runs: Path, stage: str = "01_coarse") -> list[Trial]:
    return SweepLedger(runs / "s", "s").trials(stage)


def told(run: Run) -> dict[str, object]:
    """What a run said of itself at its end."""
    result: dict[str, object] = json.loads(run.summary[RESULT])
    return result


def below(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [int(p) for child in children for p in (child, *below(int(child)))]


def named(pid: int, *words: str) -> bool:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except FileNotFoundError:
        return False
    return all(any(word in part for part in line) for word in words)


def child_of(process: Process, *words: str) -> int:
    """Wait for a process that this one started, by words of its command line."""
    children: list[int] = []

    def there() -> bool:
        children[:] = [p for p in below(process.popen.pid) if named(p, *words)]
        return bool(children)

    awaited(there)
    return children[0]


def record_of(**worker: Any) -> Registered:
    """The first stage of study `s`, as it is remembered."""
    spec = {"sweep": SWEEP.text(), **worker}
    return Registered("01_coarse", "me", "p", "abc", digest(spec["sweep"]), "2026-01-01", spec)
