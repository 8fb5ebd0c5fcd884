"""One agent on this machine: what it sees, and that nothing of it is left; without W&B."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

import pytest

from caviar.base.processes import session_members
from caviar.pool.machine import Slot
from caviar.wandb import agents
from caviar.wandb.agents import Agent, agent_environment
from conftest import awaited
from wandb_study import record_of

# As an agent does: run after run, each in a process group of its own.
STARTS_RUNS = """
import subprocess
while True:
    subprocess.Popen(["sleep", "60"], process_group=0)
"""


@pytest.mark.slow
def test_nothing_of_an_agent_is_left_though_it_starts_runs_all_the_while(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "agent.py"
    program.write_text(STARTS_RUNS)
    monkeypatch.setattr(agents, "agent_command", lambda path: [sys.executable, str(program)])
    with closing(Slot(0)) as slot:
        agent = Agent(runs / "s", record_of(), slot)
        awaited(lambda: len(session_members(agent.process.pid)) > 5)
        agent.end()
    assert session_members(agent.process.pid) == []


def test_an_agent_sees_its_own_gpus_port_and_python(tmp_path: Path) -> None:
    inherited = {
        "PATH": "/usr/bin",
        "HOME": "/home/me",
        "LOCAL_RANK": "1",  # as if this command ran in a rank of a distributed run
        "MASTER_PORT": "1",
        "HYDRA_FULL_ERROR": "1",
    }
    with closing(Slot(0, ("3", "4"))) as slot:
        environment = agent_environment(inherited, tmp_path, slot)
        assert environment["MASTER_PORT"] == str(slot.port)
    assert environment["PATH"] == f"{Path(sys.executable).parent}{os.pathsep}/usr/bin"
    assert environment["CUDA_VISIBLE_DEVICES"] == "3,4"
    assert environment["OMP_NUM_THREADS"] == os.environ.get("OMP_NUM_THREADS", "1")
    assert environment["HOME"] == "/home/me"
    assert not {"LOCAL_RANK", "HYDRA_FULL_ERROR"} & set(environment)
    with closing(Slot(0)) as slot:
        assert "CUDA_VISIBLE_DEVICES" not in agent_environment(inherited, tmp_path, slot)


@pytest.mark.parametrize(
    ("version", "enough"), [("0.19.0", False), ("0.30.0", False), ("0.31.0", True), ("1.0", True)]
)
def test_an_older_client_lacks_an_option(
    monkeypatch: pytest.MonkeyPatch, version: str, enough: bool
) -> None:
    monkeypatch.setattr(agents, "version", lambda name: version)
    assert agents.client_has_options() is enough
