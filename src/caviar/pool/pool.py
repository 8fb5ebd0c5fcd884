"""Which job runs where and when, and what became of it.

One process a job, forked from a server that has imported torch and run none of it, so that it
starts in some 30 ms and takes nothing over from the job before: no weights on a GPU, no random
state, no thread. A job that dies takes nobody along; with joblib's shared workers, one that was
killed lost every job that was left.

A process is forked before a slot is free and has its config by then, since Hydra takes 0.1 s for
one: so a slot trains again at once. What driver and process say to each other is in `process`.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing import connection
from typing import Any

import cloudpickle
from hydra.core.utils import JobReturn, JobStatus

from caviar.base.errors import ProcessDied, SearchFailed, TryAgain
from caviar.base.result import KILLED
from caviar.pool.machine import Slot
from caviar.pool.process import Fault, Job, Running, start_server
from caviar.pool.worker import Launched

GRACE = 8.0  # seconds that interrupted jobs have for a checkpoint; so the command ends within 10
# Seconds for the jobs that just began, before the next get ready beside them: to compose a config
# takes 0.1 s of a core, which would be taken from theirs.
SETTLE = 0.2
WHOLE = 1000  # answers that are kept as they came
DYING = 5.0  # seconds for a server that was killed to be gone, so that another takes its place


class Pool:
    """Runs jobs in slots, without a barrier between them.

    Arguments:
        slots: room for trials; see `caviar.pool.machine.slots_for`.
        launched: what all jobs have in common.
        preload: modules that the server imports before the first job.
        timeout: seconds for a job; None for no limit.
        retries: how often a job whose process was killed is started again.
        max_failures: give up when the first so many jobs all fail with the same error; 0 never.
        died: called with a job's overrides and its fault; None if it is to be started again,
            else what became of it: an error, or nothing if it had done its work.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        launched: Launched,
        preload: Sequence[str],
        timeout: float | None,
        retries: int,
        max_failures: int,
        died: Callable[[Any, Fault], str | None],
    ) -> None:
        self.slots, self.timeout, self.retries = slots, timeout, retries
        self.max_failures, self.died = max_failures, died
        self._pickled = cloudpickle.dumps(launched)
        self._idle = list(reversed(slots))
        self._running: list[Running] = []
        self._ready: deque[Running] = deque()  # forked, with their configs, without a slot
        self._spare = max(2, len(slots) // 4)
        self._settled = 0.0  # by time.monotonic(): when more may get ready
        self._returned: dict[int, Any] = {}  # by the job's index
        self._errors: list[str] = []  # of the first jobs, for as long as each failed
        self._preload = preload

    def run(self, jobs: Sequence[Any], first: int) -> list[Any]:
        """Run all jobs; a JobReturn each, in their order.

        Arguments:
            jobs: the overrides of each.
            first: the index of the first.

        Raises:
            SearchFailed: the first `max_failures` all failed with the same error.
            KeyboardInterrupt: after every job was given the time for a checkpoint.
        """
        waiting = deque(Job(index, job) for index, job in enumerate(jobs, start=first))
        try:
            while waiting or self._running or self._ready:
                self._fill(waiting)
                for ended in self._wait(self._settled if self._lacks(waiting) else math.inf):
                    if self._again(ended):
                        waiting.append(ended.job)
                self._check_failures(len(waiting) + len(self._ready))
        except KeyboardInterrupt:
            self._interrupt()
            raise
        finally:
            for running in [*self._running, *self._ready]:
                running.end()
            self._running.clear()
            self._ready.clear()
        return [self._returned[index] for index in sorted(self._returned)]

    def _fill(self, waiting: deque[Job]) -> None:
        """Let jobs run in the free slots, and get the next ones ready."""
        while self._idle and (self._ready or waiting):
            running = self._ready.popleft() if self._ready else self._forked(waiting.popleft())
            running.begin(self._idle.pop(), self.retries)
            self._running.append(running)
            self._settled = time.monotonic() + SETTLE
        while self._lacks(waiting) and time.monotonic() >= self._settled:
            self._ready.append(self._forked(waiting.popleft()))

    def _lacks(self, waiting: deque[Job]) -> bool:
        """Whether there are jobs that should get ready."""
        return bool(waiting) and len(self._ready) < self._spare

    def _forked(self, job: Job) -> Running:
        until = time.monotonic() + DYING
        while True:
            start_server(self._preload)  # unless it runs; somebody may have killed it
            try:
                return Running(job, self._pickled, self.timeout)
            except (EOFError, OSError):  # just now; its connections close before it is gone
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def _wait(self, until: float) -> list[Running]:
        """Wait until some jobs have ended, or are out of time, at most until a point in time."""
        handles: list[Any] = [r.channel for r in self._running if not r.silent]
        handles += [r.process.sentinel for r in self._running]
        until = min(until, *(r.deadline for r in self._running))
        left = None if until == math.inf else max(0.0, until - time.monotonic())
        ready = connection.wait(handles, left)
        ended = []
        for running in self._running:
            late = time.monotonic() >= running.deadline
            if running.channel in ready:
                running.receive()
            dead = running.process.sentinel in ready
            # What came at the last moment counts: an answer is looked at before the clock.
            if running.answer is not None or dead or late:
                running.timed_out = running.answer is None and not dead
                ended.append(running)
        for running in ended:
            running.end()
            self._running.remove(running)
            if running.slot is not None:
                self._idle.append(running.slot)
        return ended

    def _again(self, ended: Running) -> bool:
        """Keep what came of a job; True if it is to be started again."""
        answer = ended.answer
        if answer is None:  # it died, or it became a single run, whose result is in the ledger
            error = self.died(ended.job.overrides, fault := ended.fault())
            # Its tries are counted here as well: a process that dies before it claims its trial
            # leaves no fault in the ledger, and would be started again for ever.
            if error is None and ended.job.tries <= self.retries:
                return True
            answer = ProcessDied(error or fault.error) if error != "" else None
        if not isinstance(answer, JobReturn):
            status = JobStatus.FAILED if answer else JobStatus.COMPLETED
            answer = JobReturn(overrides=ended.job.overrides, status=status, _return_value=answer)
        value = answer._return_value
        if isinstance(value, TryAgain):
            return True
        failed = answer.status == JobStatus.FAILED
        if failed and len(self._errors) == len(self._returned):
            self._errors.append(str(value))
        self._returned[ended.job.index] = answer
        if len(self._returned) > WHOLE:  # its config, which nobody asks for, is 0.1 MB
            answer.cfg = answer.hydra_cfg = None
        return False

    def _check_failures(self, waiting: int) -> None:
        # Only from the first job on: a slip in the config fails in every trial, while three later
        # failures may be three settings of the same corner.
        enough = self._errors[: self.max_failures]
        if waiting and 0 < self.max_failures == len(enough) and len(set(enough)) == 1:
            raise SearchFailed(f"the first {len(enough)} jobs all failed with\n  {enough[0]}")

    def _interrupt(self) -> None:
        """Let every job checkpoint and end itself; a second interrupt ends them at once."""
        until = time.monotonic() + GRACE
        try:
            for running in self._running:
                running.terminate()
            left = {running.process.sentinel for running in self._running}
            while left and time.monotonic() < until:
                left -= set(connection.wait(list(left), until - time.monotonic()))
        except KeyboardInterrupt:
            pass
        for running in self._running:
            running.end()  # before its trial is given back, or two could train it
            assert running.process.pid is not None
            fault = Fault(KILLED, "", running.process.pid, interrupted=True)
            self.died(running.job.overrides, fault)
