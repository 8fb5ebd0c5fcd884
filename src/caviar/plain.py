"""Plain functions: a training that is no Lightning module is tuned as well.

    # src/mine.py
    from caviar.plain import report

    def train(config):
        for step in range(1, config.steps + 1):
            ...                          # your own loop, with or without torch
            report(step, loss)           # may end the function here, if the trial is hopeless

    python train.py train._target_=mine.train +steps=100

The function is called with the composed config, and reads from it what it likes. It needs no
checkpoint and has none, so a trial that is interrupted begins anew, and confirm judges by fresh
seeds alone: the test set is its own affair. No torch is imported here.
"""

from __future__ import annotations

import csv
import math
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hydra.utils import get_method
from omegaconf import DictConfig

from caviar.base.errors import UserError, failure
from caviar.base.result import COMPLETE, DIVERGED, PRUNED, STEP, Ended, Length, Report, Result
from caviar.config.compose import check_root


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


_run: Run | None = None


def report(step: int, value: float) -> None:
    """One point of the learning curve: the declared metric (`metric.name`), at a step.

    Outside of `python train.py` it does nothing, so that the function can be called by itself.

    Arguments:
        step: a whole number that grows, of any kind: an epoch, a batch, a tree.
        value: of the metric. NaN or infinity ends the run as diverged.

    Raises:
        UserError: the steps do not grow.
    """
    if _run is not None:
        _run.report(int(step), float(value))


def is_function(config: DictConfig) -> bool:
    """Whether a config names a plain function in the place of a Lightning module."""
    return bool((config.get("train") or {}).get("_target_"))


def run_function(
    config: DictConfig,
    output: Path,
    report: Report | None = None,
    resume: Path | None = None,
    ended: Ended | None = None,
) -> Result:
    """Call the config's function; write `result.json` and `metrics.csv` into `output`.

    Arguments:
        config: composed, with `train._target_`.
        output: the run's folder.
        report: called at every point of the curve; True stops the run.
        resume: never there, since a function keeps no checkpoint that we know of.
        ended: called once with the result and the learning curve.

    Raises:
        UserError: the function cannot be imported, or has reported nothing.
    """
    global _run
    check_root(config)
    if config.seed is None:
        config.seed = random.SystemRandom().randrange(2**31)
    target = str(config.train["_target_"])
    try:
        function = get_method(target)
    except Exception as error:
        raise UserError(f"train._target_={target}: {error}") from None
    _seed(config.seed, config.threads)
    output.mkdir(parents=True, exist_ok=True)
    sign = 1 if config.metric.mode == "min" else -1
    run = Run(sign, output / "metrics.csv", config.metric.name, report)
    run.file.write_text(f"step,{run.metric}\n", encoding="utf-8")
    start = time.perf_counter()
    _run = run
    try:
        returned = function(config)
        if not run.curve and isinstance(returned, int | float):
            run.report(1, float(returned))
        if not run.curve:
            raise UserError(
                f"{target} reported nothing; call report(step, value) of caviar.plain in its loop, "
                f"or return the value of {run.metric}"
            )
    except Stop:
        pass
    except BaseException as error:
        if ended is not None:
            ended(failure(error, config.seed), run.curve)
        raise
    finally:
        _run = None
    last_step, last = list(run.curve.items())[-1]
    result = Result(
        status=run.status,
        best=run.best,
        best_step=run.best_step,
        last=last,
        unit=STEP,
        steps=last_step,
        seconds=round(time.perf_counter() - start, 3),
        seed=config.seed,
        metrics={run.metric: last} | ({} if run.best is None else {f"{run.metric}_best": run.best}),
    )
    if ended is not None:
        ended(result, run.curve)
    result.write(output)
    return result


def _seed(seed: int, threads: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if torch := sys.modules.get("torch"):  # the function's own module has imported it
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
