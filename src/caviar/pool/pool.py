"""Which job runs where and when, and what became of it.

One process a job, forked from a server that has imported torch and run none of it, so that a job
starts in some 30 ms and takes nothing over from the one before. A job that dies takes nobody
along.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import connection
from typing import Any

import cloudpickle
from hydra.core.utils import JobReturn, JobStatus

from caviar.errors import ProcessDied, SearchFailed, TryAgain
from caviar.pool.machine import Slot
from caviar.pool.process import Fault, Job, Running, start_server
from caviar.pool.worker import Launched
from caviar.result import KILLED

GRACE = 8.0  # seconds that interrupted jobs have for a checkpoint


class Pool:
    """Runs jobs in slots, without a barrier between them.

    Arguments:
        slots: room for trials; see `caviar.pool.slots`.
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
        died: Callable[[Sequence[str], Fault], str | None],
    ) -> None:
        self.slots, self.timeout, self.retries = slots, timeout, retries
        self.max_failures, self.died = max_failures, died
        self._launched, self._pickled = launched, cloudpickle.dumps(launched)
        self._idle = list(reversed(slots))
        self._running: list[Running] = []
        self._returned: dict[int, Any] = {}
        self._errors: list[str] = []  # of the first jobs, for as long as each failed
        self.preload = preload
        start_server(preload)  # while the first configs are composed

    def run(self, jobs: Sequence[Sequence[str]], first: int) -> list[Any]:
        """Run all jobs; a JobReturn each, in their order.

        Raises:
            SearchFailed: the first `max_failures` all failed with the same error.
            KeyboardInterrupt: after every job was given the time for a checkpoint.
        """
        waiting = deque(Job(index, job) for index, job in enumerate(jobs, start=first))
        next_ones = iter([*waiting])
        try:
            while waiting or self._running:
                while waiting and self._idle:
                    self._start(waiting.popleft())
                self._compose_meanwhile(next_ones)
                for ended in self._wait():
                    if self._again(ended):
                        waiting.append(ended.job)
                self._check_failures(len(waiting))
        except KeyboardInterrupt:
            self._interrupt()
            raise
        finally:
            for running in self._running:
                running.end()
            self._running.clear()
        return [self._returned[index] for index in sorted(self._returned)]

    def _start(self, job: Job) -> None:
        slot = self._idle.pop()
        job.tries += 1
        start_server(self.preload)  # unless it runs; somebody may have killed it
        self._running.append(Running(job, slot, self._pickled, self.retries, self.timeout))

    def _compose_meanwhile(self, jobs: Iterator[Job]) -> None:
        """Compose the configs of the jobs to come for as long as no job has ended: a tenth of a
        second each, which a worker then need not spend. Where jobs end faster, workers do it."""
        while self._running and not self._ready(0):
            job = next((j for j in jobs if not j.tries), None)
            if job is None:
                return
            with suppress(Exception):  # its process will say what is wrong with it
                job.composed = cloudpickle.dumps(self._launched.compose(job.overrides))

    def _ready(self, timeout: float | None) -> set[Any]:
        handles: list[Any] = [r.channel for r in self._running if not r.silent]
        handles += [r.process.sentinel for r in self._running]
        return set(connection.wait(handles, timeout))

    def _wait(self) -> list[Running]:
        """Wait until some jobs have ended, or are out of time."""
        deadlines = [r.deadline for r in self._running if r.deadline is not None]
        left = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        ready = self._ready(left)
        ended = []
        for running in self._running:
            late = running.deadline is not None and time.monotonic() >= running.deadline
            if running.channel in ready:
                running.receive()
            dead = running.process.sentinel in ready
            if running.answer is not None or dead or late:
                running.timed_out = running.answer is None and not dead
                ended.append(running)
        for running in ended:
            running.end()
            self._running.remove(running)
            self._idle.append(running.slot)
        return ended

    def _again(self, ended: Running) -> bool:
        """Keep what came of a job; True if it is to be started again."""
        answer = ended.answer
        if answer is None:
            error = self.died(ended.job.overrides, fault := ended.fault())
            # Its tries are counted here as well: a process may die before it claims its trial.
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
        return False

    def _check_failures(self, waiting: int) -> None:
        enough = self._errors[: self.max_failures]
        if waiting and 0 < self.max_failures == len(enough) and len(set(enough)) == 1:
            raise SearchFailed(f"the first {len(enough)} jobs all failed with\n  {enough[0]}")

    def _interrupt(self) -> None:
        """Let every job checkpoint and end itself; a second interrupt ends them at once."""
        until = time.monotonic() + GRACE
        try:
            for running in self._running:
                running.send(signal.SIGTERM)
            left = {running.process.sentinel for running in self._running}
            while left and time.monotonic() < until:
                left -= set(connection.wait(list(left), until - time.monotonic()))
        except KeyboardInterrupt:
            pass
        for running in self._running:
            pid = running.process.pid
            running.end()
            if pid is not None:
                self.died(running.job.overrides, Fault(KILLED, "", pid, interrupted=True))
