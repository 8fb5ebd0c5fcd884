"""A job in its process, and the server that the processes are forked from.

The handshake of driver and process, whose other half is `caviar.pool.worker.work`:

    fork     the server forks a process for one job, before there is a slot for it
    ready    it composes the job's config, and waits at its end of the channel
    begin    the driver sends it the slot, as environment variables; the time limit counts from now
    answer   it sends back a JobReturn, or an exception; one that became a single run sends nothing
    end      the driver kills what is left of its session, and waits for it

Every step may be the last: a process that dies closes the channel and its sentinel at any of them.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerProcess
from typing import Any

import cloudpickle

from caviar.base.environment import PORT, PRELOAD, RETRIES, SLOT, one_thread
from caviar.base.processes import kill_session
from caviar.base.result import EXCEPTION, KILLED, TIMEOUT
from caviar.pool.alone import without_main
from caviar.pool.machine import Slot
from caviar.pool.worker import work

LOST = 255  # what multiprocessing takes for the exit code where the server died before telling it


@dataclass(frozen=True)
class Fault:
    """How a process ended that brought no result."""

    status: str
    """`killed`, `timeout`, or `exception` where the job itself left."""
    error: str
    pid: int
    interrupted: bool = False
    """It was this pool that ended it, because the user did."""
    in_order: bool = False
    """It left with exit code 0, as a job does that became a single run."""


@dataclass
class Job:
    """One job and its tries."""

    index: int
    overrides: Any
    """What its `Launched.prepare` takes: Hydra's overrides of one config, or of many."""
    tries: int = 0


class Running:
    """A job in its process, which gets ready and waits for `begin`.

    Arguments:
        job: what it runs.
        launched: a pickled `caviar.pool.worker.Launched`, pickled once for all jobs.
        timeout: seconds from `begin` on; None for no limit.
    """

    def __init__(self, job: Job, launched: bytes, timeout: float | None) -> None:
        self.job, self.timeout = job, timeout
        self.slot: Slot | None = None
        self.deadline = math.inf
        self.timed_out = False
        self.silent = False  # it will send no answer: it became a single run, or has died
        self.answer: Any = None  # a JobReturn, or an exception
        self.channel, theirs = connection.Pipe()
        self.process = ForkServerProcess(
            target=work, args=(launched, job.overrides, job.index, timeout, theirs)
        )
        with without_main():
            self.process.start()
        theirs.close()  # or the death of the process would not close the channel

    def begin(self, slot: Slot, retries: int) -> None:
        """Let it run.

        Arguments:
            slot: whose GPUs and port are its own now.
            retries: how often a transient fault of the job is forgiven, for its ledger.
        """
        self.slot = slot
        self.job.tries += 1
        if self.timeout is not None:
            self.deadline = time.monotonic() + self.timeout
        environment = {SLOT: str(slot.number), RETRIES: str(retries), PORT: str(slot.port)}
        environment |= one_thread()
        if slot.gpus is not None:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(slot.gpus)
        with suppress(OSError):  # it has died already, which its end will tell
            self.channel.send_bytes(json.dumps(environment).encode())

    def receive(self) -> None:
        """Take the answer, if it sent one; else only its end will tell."""
        try:
            pickled = self.channel.recv_bytes()
        except (EOFError, OSError):
            self.silent = True
            return
        try:
            self.answer = cloudpickle.loads(pickled)
        except (
            Exception
        ) as error:  # an exception of the job's own, say, that is built of two values
            self.answer = RuntimeError(f"the job's return value: {type(error).__name__}: {error}")

    def terminate(self) -> None:
        """Ask the job to checkpoint and leave; what it has started is its own to end."""
        with suppress(ProcessLookupError):
            assert self.process.pid is not None
            os.kill(self.process.pid, signal.SIGTERM)

    def end(self) -> None:
        """Leave nothing of it running, and nothing open."""
        pid = self.process.pid
        assert pid is not None
        # One that has ended is not asked: its number may be another's by now.
        with suppress(ProcessLookupError):
            if self.process.exitcode is None:
                os.kill(pid, signal.SIGKILL)
        self.process.join()
        with suppress(ProcessLookupError):
            os.killpg(pid, 0)  # raises if nothing is left in its group
            kill_session(pid)  # which it is the leader of: what the job started is in it
        self.channel.close()

    def fault(self) -> Fault:
        """How it ended, if it brought no answer."""
        pid, code = self.process.pid, self.process.exitcode
        assert pid is not None
        if self.timed_out:
            return Fault(TIMEOUT, "ran longer than hydra.launcher.timeout", pid)
        if code is not None and code < 0:
            return Fault(KILLED, f"killed by {signal.Signals(-code).name}", pid)
        if code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
            return Fault(KILLED, f"killed by {signal.Signals(code - 128).name}", pid)
        if code == LOST:
            return Fault(KILLED, "the server that the process was forked from was killed", pid)
        return Fault(EXCEPTION, f"the process left with exit code {code}", pid, in_order=code == 0)


def start_server(preload: Sequence[str]) -> None:
    """Start the server that forks the workers, if it does not run yet.

    Arguments:
        preload: modules that it imports, so that no worker has to.
    """
    before: Mapping[str, str] = dict(os.environ)
    forkserver.set_forkserver_preload(["caviar.pool.preload"])
    # Starting the server would start the tracker, which unblocks SIGINT when it is done.
    resource_tracker.ensure_running()
    # Ctrl-C is the driver's to deal with, and a terminal sends it to the server too. A mask is
    # taken over by a child: blocked here, it reaches the driver a moment later, and the server not
    # before `caviar.pool.preload` ignores it and takes the mask away.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        os.environ.update(one_thread())  # taken over by children: one, for small matrices
        os.environ[PRELOAD] = " ".join(preload)
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.environ.clear()
        os.environ.update(before)
