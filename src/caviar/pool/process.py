"""A job in its process, and the server that the processes are forked from."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerProcess
from types import ModuleType
from typing import Any

import cloudpickle

from caviar.base.environment import PORT, PRELOAD, RETRIES, SLOT, one_thread
from caviar.base.result import EXCEPTION, KILLED, TIMEOUT
from caviar.pool.machine import Slot
from caviar.pool.worker import work

LOST = 255  # the exit code that multiprocessing gives where nobody could tell it


@dataclass(frozen=True)
class Fault:
    """How a process ended that brought no result."""

    status: str
    """`killed`, `timeout`, or `exception` where the job itself left."""
    error: str
    pid: int
    interrupted: bool = False
    """It was this pool that ended it, because the user did."""


@dataclass
class Job:
    """One job and its tries."""

    index: int
    overrides: Sequence[str]
    tries: int = 0


class Running:
    """A job in its process, which gets ready and waits for `begin`."""

    def __init__(self, job: Job, launched: bytes, timeout: float | None) -> None:
        self.job, self.timeout = job, timeout
        self.slot: Slot | None = None
        self.deadline = math.inf
        self.timed_out = False
        self.silent = False  # it will send no answer: it became a single run, or has died
        self.answer: Any = None
        self.channel, theirs = connection.Pipe()
        self.process = ForkServerProcess(
            target=work, args=(launched, job.overrides, job.index, timeout, theirs)
        )
        with _without_main():
            self.process.start()
        theirs.close()

    def begin(self, slot: Slot, retries: int) -> None:
        """Let it run, in `slot`."""
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
        """Take the answer, if there is one."""
        try:
            self.answer = cloudpickle.loads(self.channel.recv_bytes())
        except (EOFError, OSError):
            self.silent = True

    def send(self, number: signal.Signals) -> None:
        """Signal the job; SIGKILL goes to everything that it has started as well."""
        with suppress(ProcessLookupError):
            assert self.process.pid is not None
            (os.killpg if number == signal.SIGKILL else os.kill)(self.process.pid, number)

    def end(self) -> None:
        """Leave nothing of it running, and nothing open."""
        self.send(signal.SIGKILL)
        self.process.join()
        self.channel.close()

    def fault(self) -> Fault:
        """How it ended, if it brought no answer."""
        pid, code = self.process.pid, self.process.exitcode
        assert pid is not None
        if self.timed_out:
            return Fault(TIMEOUT, "ran longer than hydra.launcher.timeout", pid)
        if code is not None and code < 0:
            return Fault(KILLED, f"killed by {signal.Signals(-code).name}", pid)
        if code == 128 + signal.SIGTERM:
            return Fault(KILLED, "killed by SIGTERM", pid)
        if code == LOST:
            return Fault(KILLED, "the server that the process was forked from was killed", pid)
        return Fault(EXCEPTION, f"the process left with exit code {code}", pid)


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep multiprocessing from running the user's script once more in every child: jobs bring
    all they need, and a script may well lack its `if __name__ == "__main__"`."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def start_server(preload: Sequence[str]) -> None:
    """Start the server that forks the workers, if it does not run yet."""
    before: Mapping[str, str] = dict(os.environ)
    forkserver.set_forkserver_preload(["caviar.pool.preload"])
    resource_tracker.ensure_running()  # it would undo the mask
    # Ctrl-C is the driver's to deal with. Blocked, it reaches the driver a moment later, and the
    # server not before `caviar.pool.preload` ignores it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        os.environ.update(one_thread())  # taken over by children: one, for small matrices
        os.environ[PRELOAD] = " ".join(preload)
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.environ.clear()
        os.environ.update(before)
