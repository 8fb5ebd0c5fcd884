"""The seam: a function of your own trains in the place of a Lightning module, and is tuned.

    # src/mine.py
    import caviar

    def train(config):
        for step in range(1, config.steps + 1):
            ...                               # your own loop, with or without torch
            caviar.report(step, loss)         # may end the function here, if the trial is hopeless

    python train.py caviar.train=mine.train +steps=100

It is called as (config, output, report, resume), of which it may leave out the last ones:

    output     the run's folder, for whatever it keeps
    report     as `caviar.report`: report(step, value)
    resume     the checkpoint that an earlier try of it left in `output`: the newest whole `*.ckpt`,
               `*.pt` or `*.pth`, one named `last…` before others; None in the first try

and returns nothing if it has reported, or the value of the metric, or a `caviar.Result`. A trial
that is interrupted begins anew where its function takes no `resume`. No torch is imported here.
"""

from __future__ import annotations

import csv
import inspect
import math
import random
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from caviar.base.errors import UserError, failure, interrupt_behind
from caviar.base.result import COMPLETE, DIVERGED, PRUNED, STEP, Ended, Length, Report, Result
from caviar.config.keys import Keys, metric_of


class Stop(BaseException):
    """Ends a function that has nothing to gain; no Exception, so that none of its own handlers
    takes it for an error."""


@dataclass
class Run:
    """What has been reported in the run of this process."""

    sign: int
    """1 where less is better, else -1."""
    file: Path
    """`metrics.csv` in the run's folder."""
    metric: str
    tell: Report | None = None
    curve: dict[int, float] = field(default_factory=dict)
    """Step → value."""
    best: float | None = None
    best_step: int | None = None
    status: str = COMPLETE

    def report(self, step: int, value: float) -> None:
        """Take one point; see `report`."""
        if self.curve and step <= max(self.curve):
            raise UserError(
                f"report({step}, …): steps only grow, and {max(self.curve)} was reported before"
            )
        self.curve[step] = value
        with open(self.file, "a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([step, value])
        if math.isfinite(value) and (self.best is None or self.sign * (value - self.best) < 0):
            self.best, self.best_step = value, step
        hopeless = self.tell is not None and self.tell(step, value, Length(STEP))
        if not math.isfinite(value):
            self.status = DIVERGED
        elif hopeless:
            self.status = PRUNED
        if self.status != COMPLETE:
            raise Stop

    def result(self) -> Result:
        """What came of the run, where all that is known are its points."""
        last_step, last = list(self.curve.items())[-1]
        best = {} if self.best is None else {f"{self.metric}_best": self.best}
        return Result(
            status=self.status,
            best=self.best,
            best_step=self.best_step,
            last=last,
            unit=STEP,
            steps=last_step,
            metrics={self.metric: last} | best,
        )


_run: Run | None = None


def report(step: int, value: float) -> None:
    """One point of the learning curve: the declared metric (`metric.name`), at a step.

    Outside of a run it does nothing, so that the function can be called by itself.

    Arguments:
        step: a whole number that grows, of any kind: an epoch, a batch, a tree.
        value: of the metric. NaN or infinity ends the run as diverged.

    Raises:
        UserError: the steps do not grow.
    """
    if _run is not None:
        _run.report(int(step), float(value))


def run_function(
    config: DictConfig,
    output: Path,
    report: Report | None = None,
    resume: Path | None = None,
    *,
    ended: Ended | None = None,
) -> Result:
    """Call the config's function; write `result.json` and `metrics.csv` into `output`.

    Arguments:
        config: composed, with `caviar.train`.
        output: the run's folder.
        report: called at every point of the curve; True stops the run.
        resume: what an earlier try has left, for a function that takes it.
        ended: called once with the result and the learning curve.

    Raises:
        UserError: the function cannot be imported, or has reported nothing.
    """
    global _run
    metric, key = metric_of(config), Keys.of(config).seed
    seed = settled_seed(config, key)
    target = str(config.caviar.train)
    try:
        function = get_method(target)
    except Exception as error:
        raise UserError(f"caviar.train={target}: {error}") from None
    seed_everything(seed, config.get("threads", 1))
    output.mkdir(parents=True, exist_ok=True)
    sign = 1 if metric.mode == "min" else -1
    run = Run(sign, output / "metrics.csv", metric.name, report)
    run.file.write_text(f"step,{run.metric}\n", encoding="utf-8")

    def call() -> Result:
        returned: Any = None
        with suppress(Stop):
            returned = _call(function, config, output, run.report, resume)
            if not run.curve and is_number(returned):
                run.report(1, float(returned))
            if not run.curve and not isinstance(returned, Result):
                raise UserError(
                    f"{target} reported nothing; call report(step, value) of caviar in its loop, "
                    f"or return the value of {run.metric}"
                )
        return returned if isinstance(returned, Result) else run.result()

    _run = run
    try:
        return recorded(call, output, seed, ended, lambda: run.curve)
    finally:
        _run = None


def recorded(
    call: Callable[[], Result],
    output: Path,
    seed: int,
    ended: Ended | None,
    curve: Callable[[], Mapping[int, float]],
) -> Result:
    """A training that is not ours: what it gives is told and written, what ends it is told.

    Arguments:
        call: trains.
        output: the run's folder.
        seed: that was settled for it.
        ended: called once with the result, or the failure, and the curve.
        curve: what is known of it by then.
    """
    start = time.perf_counter()
    try:
        result = call()
    except BaseException as error:
        cause = interrupt_behind(error)
        if ended is not None:
            ended(failure(cause, seed), curve())
        if cause is not error:
            raise cause from None
        raise
    result.seed = seed
    result.seconds = result.seconds or round(time.perf_counter() - start, 3)
    if ended is not None:
        ended(result, curve())
    result.write(output)
    return result


def settled_seed(config: DictConfig, key: str) -> int:
    """The seed of a run; a fresh one, written into the config, where that says null."""
    seed = OmegaConf.select(config, key)
    if seed is None:
        seed = random.SystemRandom().randrange(2**31)
        OmegaConf.update(config, key, seed)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(f"{key} is {seed}; it should be a whole number from 0 on, or null")
    return seed


def is_number(value: Any) -> bool:
    """Whether a task's answer is a metric's value: a number of Python's, NumPy's or torch's."""
    if isinstance(value, bool | str | bytes) or value is None:
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _call(function: Any, config: DictConfig, output: Path, report: Any, resume: Any) -> Any:
    """Call it with as much of the seam as it takes."""
    try:
        kinds = [p.kind for p in inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):  # of C code
        return function(config)
    places = sum(k in (k.POSITIONAL_ONLY, k.POSITIONAL_OR_KEYWORD) for k in kinds)
    most = 4 if any(k is k.VAR_POSITIONAL for k in kinds) else places
    return function(*(config, output, report, resume)[: max(1, min(4, most))])


def seed_everything(seed: int, threads: int | None = None) -> None:
    """Seed what is imported; processes that are forked would else all draw the same."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if torch := sys.modules.get("torch"):  # the function's own module has imported it
        torch.manual_seed(seed)
        if threads is not None:
            torch.set_num_threads(threads)
