"""W&B's agents on this machine: `caviar agent`.

One agent for each GPU, or as many as asked. Each is the plain `wandb agent`, in a session of its
own, with its own GPUs and one thread, told to pass signals on and to stop when several runs in a
row have failed. What it and its runs print goes to a file; the screen shows the study.

An agent runs whatever command the sweep on the server names, with this account's rights. Hence the
sweep is compared with what was registered before an agent starts, also before it starts again.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path

from caviar.base import project
from caviar.base.environment import RANKS, one_command, one_thread
from caviar.base.errors import SearchFailed, UserError
from caviar.base.processes import kill_session, session_members
from caviar.config.compose import project_composer
from caviar.pool.machine import Slot, slots_for, visible_gpus
from caviar.screen.live import StageView
from caviar.screen.view import console, plural, shown_path
from caviar.search.study import Study
from caviar.wandb.client import fetch_sweep
from caviar.wandb.record import Registered, refuse_changed_sweep

FAILURES = 3  # runs in a row that failed, after which an agent gives up
GRACE = 20.0  # seconds that runs have to end after a signal: a checkpoint, and W&B's last words
RESTARTS = 3  # of an agent that was killed, such as by a machine that ran out of memory
PERIOD = 0.5  # seconds between looks at the agents
OLDEST = (0, 31)  # client whose `wandb agent` has both options of `agent_command`


@one_command()
def run_agents(study: Study, registered: Registered, count: int | None) -> None:
    """Start agents, and stay until they have ended.

    Arguments:
        study: whose folder gets what the agents print.
        registered: the sweep.
        count: agents; by default one per GPU, else one per core.

    Raises:
        UserError: the sweep on the server is not the one that was registered, or the client is old.
        SearchFailed: an agent could not run, or gave up.
        KeyboardInterrupt: after the runs were given time for a checkpoint.
    """
    server = fetch_sweep(registered.path)
    if changed := refuse_changed_sweep(registered, server.document):
        console.print(f"warning: the sweep on the server differs from the file in\n{changed}")
    if server.over:
        console.print(f"sweep {registered.path} is {server.state}: it starts no more runs")
        return
    if not client_has_options():
        raise UserError(
            f"caviar agent needs wandb 0.31 or newer, and here is {version('wandb')}: pip install "
            f"-U wandb, or start the client's own: wandb agent {registered.path}"
        )
    trials, sweep = study.ledger.trials(registered.stage), registered.sweep
    with ExitStack() as stack:
        config = project_composer()(sweep.overrides)
        gpus = len(visible_gpus())
        # More agents than GPUs share them.
        share = 1 / math.ceil(count / gpus) if count and gpus and count > gpus else None
        slots = slots_for(config, count, share)
        for slot in slots:
            stack.callback(slot.close)
        agents = []
        for slot in slots:
            agents.append(Agent(study.folder, registered, slot))
            stack.callback(agents[-1].end)
        console.print(
            f"{plural(len(agents), 'agent')} for sweep {registered.path}; what they print: "
            f"{shown_path(agents[0].log.with_name(f'agent-*-{os.getpid()}-*.log'))}"
        )
        total = max(len(trials), sweep.num_trials)
        with StageView(study.ledger, registered.stage, total, sweep.metric, sweep.mode):
            _wait_for(agents)
    _raise_if_failed(registered, agents)


class Agent:
    """One `wandb agent` in a slot of the machine."""

    def __init__(self, folder: Path, registered: Registered, slot: Slot) -> None:
        # Of this command alone, also where several machines share the folder.
        name = f"agent-{socket.gethostname()}-{os.getpid()}-{slot.number}.log"
        self.log = folder / registered.stage / name
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._registered = registered
        self._command = agent_command(registered.path)
        self._environment = agent_environment(os.environ, folder, slot)
        self._restarts = 0
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                self._command,
                cwd=project.root(),  # where the sweep's program is
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to pass on
                preexec_fn=_end_with_parent,
            )

    def at_work(self) -> bool:
        """Whether it runs, or the run of an agent that was killed does; such an agent is started
        again, some times.

        Raises:
            UserError: it would start again, and the sweep was changed meanwhile.
        """
        code = self.process.poll()
        if code is None:
            return True
        if code >= 0 or self._restarts == RESTARTS:
            return False
        # The run that a killed agent leaves behind ends in its own time; until then a second agent
        # would train beside it, on the same GPU.
        if not session_members(self.process.pid):
            with suppress(SearchFailed):  # the service is away; at the next look
                # A fresh agent reads the command from the server again.
                refuse_changed_sweep(self._registered, fetch_sweep(self._registered.path).document)
                self._restarts += 1
                self.process = self._start()
        return True

    def signal(self, number: signal.Signals) -> None:
        """Signal the agent, which passes it on to its run."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def end(self) -> None:
        """Leave nothing of it running.

        Its runs are in process groups of their own, so that only the session tells whose they are.
        """
        # The agent first, or it starts the next run behind our back; and it is waited for last:
        # until then the kernel gives its number, which is the session's, to no other process.
        self.process.kill()
        kill_session(self.process.pid)
        self.process.wait()


def client_has_options() -> bool:
    """Whether the installed client can be started as `agent_command` says."""
    return tuple(int(part) for part in version("wandb").split(".")[:2]) >= OLDEST


def agent_command(path: str) -> list[str]:
    """The agent as W&B's documentation starts it, with its options for signals and failures."""
    options = ["--forward-signals", "--max-consecutive-failed-runs", str(FAILURES)]
    return [sys.executable, "-m", "wandb", "agent", *options, path]


def agent_environment(inherited: Mapping[str, str], folder: Path, slot: Slot) -> dict[str, str]:
    """What an agent and its runs see."""
    # HYDRA_FULL_ERROR is this command's own while it runs, and would make a run's slip a traceback.
    dropped = (*RANKS, "HYDRA_FULL_ERROR")
    environment = {name: value for name, value in inherited.items() if name not in dropped}
    environment |= one_thread()
    # The agent starts `python`; it has to be this one.
    own = str(Path(sys.executable).parent)
    environment["PATH"] = f"{own}{os.pathsep}{inherited.get('PATH', os.defpath)}"
    environment["WANDB_DIR"] = str(folder.absolute())
    # Of a distributed run; two agents must not share one.
    environment["MASTER_PORT"] = str(slot.port)
    # Three failures within its first minute, of however many runs, would end it: our limit is
    # on failures in a row.
    environment["WANDB_AGENT_DISABLE_FLAPPING"] = "true"
    environment["PYTHONUNBUFFERED"] = "1"  # an agent that is killed has said all in its log
    if slot.gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(slot.gpus)
    return environment


def _wait_for(agents: Sequence[Agent]) -> None:
    """Until all have ended; a first signal is passed on to them, a second is not waited for."""
    try:
        # A list, so that every one of them is looked at: looking is what starts one again.
        while [agent for agent in agents if agent.at_work()]:
            time.sleep(PERIOD)  # for several processes at once; Popen.wait is for one
    except KeyboardInterrupt:
        console.print("stopping: runs may write a checkpoint; once more to stop at once")
        for agent in agents:
            agent.signal(signal.SIGTERM)
        until = time.monotonic() + GRACE
        for agent in agents:
            with suppress(subprocess.TimeoutExpired):
                agent.process.wait(max(0.0, until - time.monotonic()))
        raise


def _raise_if_failed(registered: Registered, agents: Sequence[Agent]) -> None:
    for agent in agents:
        if agent.process.returncode:
            last = agent.log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
            raise SearchFailed(
                f"an agent left with exit code {agent.process.returncode}; the last lines of "
                f"{shown_path(agent.log)}:\n" + "\n".join(f"  {line}" for line in last)
            )
    # An agent that gives up leaves with exit code 0: only its words tell.
    gave_up = [a for a in agents if "consecutive failed runs" in a.log.read_text(errors="replace")]
    if gave_up and not fetch_sweep(registered.path).over:
        raise SearchFailed(
            f"{len(gave_up)} of {plural(len(agents), 'agent')} gave up after {FAILURES} failed "
            f"runs in a row; what they died of is in {shown_path(gave_up[0].log)}. Mend it, and "
            "start the agents again"
        )


def _end_with_parent() -> None:
    """Let the kernel send SIGTERM when the process that started this one has died."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG of Linux
