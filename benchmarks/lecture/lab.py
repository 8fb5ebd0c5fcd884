"""The processes that train, how far they are, and where randomness comes from.

    lab.train("digits", jobs, "grid")   # final validation losses, in the order of the jobs

Work is handed out in pieces that do not depend on the number of processes, and comes back in
order, so the numbers do not either.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.pool import Pool
from types import TracebackType
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from caviar.space.sampling import seed_sequence
from trainings import CAP, STACK, Job, train

EVERY = 3.0  # seconds between lines about one piece of work


class Lab:
    """Processes for one run of the page.

    Arguments:
        seed: of everything that is drawn.
        workers: processes.
        quick: whether sections shall do with few repetitions.
    """

    def __init__(self, seed: int, workers: int, quick: bool) -> None:
        self.seed, self.workers, self.quick = seed, workers, quick
        self.start = time.perf_counter()
        self.trainings = self.kept = 0  # kept: of these, from an earlier run
        self._pool: Pool | None = None

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool:
            self._pool.terminate()
            self._pool.join()

    def rng(self, *names: str) -> np.random.Generator:
        """A generator of its own for whatever bears these names."""
        return np.random.default_rng(seed_sequence(self.seed, "lecture", *names))

    def repeat(self, full: int, quick: int) -> int:
        """How many repetitions."""
        return quick if self.quick else full

    def say(self, words: str) -> None:
        print(f"{time.perf_counter() - self.start:5.0f} s  {words}", flush=True)

    def map(self, function: Callable[[Any], Any], works: Iterable[Any], label: str) -> list[Any]:
        """`function` of each work, in order, side by side."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = context.Pool(self.workers, begin)
        works, results, told = list(works), [], time.perf_counter()
        for result in self._pool.imap(function, works):
            results.append(result)
            if time.perf_counter() - told > EVERY or len(results) == len(works):
                told = time.perf_counter()
                self.say(f"{label}: {len(results)} of {len(works)} parts")
        return results

    def train(self, name: str, jobs: Sequence[Job], label: str) -> np.ndarray:
        """Final validation loss of each job on this task, infinite where training diverged."""
        self.trainings += len(jobs)
        stacks = [(name, list(jobs[i : i + STACK])) for i in range(0, len(jobs), STACK)]
        return np.concatenate(self.map(trained, stacks, f"{label}, {name}"))

    def fresh_means(
        self, name: str, points: Sequence[tuple[float, ...]], seeds: Sequence[int], label: str
    ) -> np.ndarray:
        """Mean capped loss of each setting over fresh seeds, shape (points,)."""
        jobs = [Job(point, seed) for point in points for seed in seeds]
        losses = self.train(name, jobs, label).reshape(len(points), len(seeds))
        return capped(losses).mean(axis=1)


def one_thread() -> None:
    """Of torch and of the Gaussian process: two threads slow small matrices down."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    threadpool_limits(1)


def begin() -> None:
    """In every process of the pool. Ctrl-C is for the one that drives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    one_thread()


def trained(work: tuple[str, list[Job]]) -> np.ndarray:
    return np.array(train(*work))


def capped(losses: np.ndarray) -> np.ndarray:
    """A diverged training counts as CAP, 3."""
    return np.minimum(losses, CAP)
