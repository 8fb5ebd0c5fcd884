"""A plain grid: every combination of the values that a command names, each trained once.

    python train.py -m hydra/sweeper=grid search.study=seeds seed=1,2,3 optimizer.lr=0.01,0.1

It draws nothing, refines nothing and keeps no ledger; each of its runs is what `python train.py`
does, in a folder of its own, `runs/<study>/jobs/<number>/`. Numbers go on where an earlier command
has left off. `hydra/sweeper=basic`, Hydra's own name for it, is the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from caviar.base.errors import ProcessDied, SearchFailed, UserError, failure
from caviar.base.result import COMPLETE, DIVERGED, Result
from caviar.config.commands import set_to
from caviar.config.keys import LIGHTNING, Keys, metric_of
from caviar.config.messages import SLIPS, message
from caviar.config.resolvers import JOBS, next_number
from caviar.config.slips import refuse_added
from caviar.screen.view import console, plain_table, plural, setting_columns, shown_path
from caviar.search.study import Launch
from caviar.search.swept import combinations
from caviar.search.verdict import mean_text

FOLDER = "hydra.sweep.subdir"


@dataclass
class Job:
    """One run of a grid."""

    overrides: list[str]
    setting: dict[str, Any]
    """The values that vary, by key."""
    folder: Path
    result: Result | None = None
    error: BaseException | None = None


def run_grid(config: DictConfig, arguments: Sequence[str], launch: Launch, loader: Any) -> None:
    """Train every combination, and print a table of what came out.

    Arguments:
        config: composed, with every override.
        arguments: the command line's overrides, `hydra.` ones left out.
        launch: hands jobs, lists of overrides, to Hydra's launcher.
        loader: Hydra's config loader.

    Raises:
        UserError: before anything ran; or all that failed are slips.
        SearchFailed: some runs failed.
    """
    refuse_added(config, arguments)
    base = Path(config.hydra.sweep.dir)
    jobs = [Job(*combination, base) for combination in combinations(arguments, loader)]
    varied = {key for job in jobs for key in job.setting}
    for job in jobs:  # a slip in the last is better found now
        _check(loader.load_sweep_config(config, job.overrides), varied)
    for job in jobs:
        job.folder = base / JOBS / str(next_number(str(base / JOBS)))
        job.overrides.append(set_to(FOLDER, job.folder.relative_to(base)))
    try:
        returned = launch([job.overrides for job in jobs], 0)
    except KeyboardInterrupt as interrupt:
        raise type(interrupt)(f"what has finished is in {shown_path(base / JOBS)}") from None
    except SearchFailed:
        print_grid(config, jobs, [])
        raise
    print_grid(config, jobs, returned)
    failed = {job.folder.name: job.error for job in jobs if job.error is not None}
    if failed:
        lines = "\n".join(f"  job {name}: {_words(error)}" for name, error in failed.items())
        if any(isinstance(error, ProcessDied) for error in failed.values()):
            lines += f"\nwhat they said is in {shown_path(base / JOBS)}/…/output.txt"
        slips = all(isinstance(error, SLIPS) for error in failed.values())
        kind = UserError if slips else SearchFailed
        raise kind(f"{len(failed)} of {plural(len(jobs), 'job')} failed:\n{lines}")


def _check(config: DictConfig, varied: set[str]) -> None:
    """A grid compares settings, and whoever chooses by the test set has none left.

    Raises:
        UserError: it would test what it compares.
    """
    keys = Keys.of(config)
    if keys.kind == LIGHTNING and config.test and varied - {keys.seed}:
        raise UserError(
            "test=true: a grid compares settings, and the test set is for the one that is chosen; "
            "leave it out, or let only seed vary"
        )


def print_grid(config: DictConfig, jobs: Sequence[Job], returned: Sequence[JobReturn]) -> None:
    """A row for each job; where several seeds were trained, also their means.

    Arguments:
        config: names the metric.
        jobs: all of them; their results are filled in.
        returned: what came of them, as far as anybody knows.
    """
    for job in jobs:
        written = job.folder / "result.json"
        if written.exists():
            job.result = Result.from_dict(json.loads(written.read_text(encoding="utf-8")))
    for job, answer in zip(jobs, returned, strict=False):
        if answer.status == JobStatus.FAILED:
            job.error = answer._return_value
        elif job.result is None:
            job.error = ProcessDied("it left without a result")
        if job.error is not None:
            job.result = failure(job.error, job.setting.get("seed"))
    metric, study = metric_of(config).name, config.search.study
    head, settings = setting_columns([job.setting for job in jobs])
    table = plain_table(
        f"{study}: a grid of {len(jobs)}", "job", *head, metric, "epoch", "status", "seconds"
    )
    for job, setting in zip(jobs, settings, strict=True):
        result = job.result or Result(status="not run")
        known = result.best is not None and result.status == COMPLETE
        value, epoch = (f"{result.best:.4g}", str(result.best_epoch)) if known else ("", "")
        seconds = f"{result.seconds:.1f}" if result.seconds else ""
        table.add_row(job.folder.name, *setting, value, epoch, result.status, seconds)
    console.print(table)
    _print_means(jobs, metric, metric_of(config).mode)
    console.print(f"in {shown_path(jobs[0].folder.parent)}: a folder for each job")


def _print_means(jobs: Sequence[Job], metric: str, mode: str) -> None:
    """Each setting's mean over its seeds, in the order of the table."""
    worst = math.inf if mode == "min" else -math.inf
    settings: dict[str, tuple[dict[str, Any], list[float]]] = {}
    for job in jobs:
        if "seed" not in job.setting or job.result is None or job.result.failed:
            continue
        setting = {k: v for k, v in job.setting.items() if k != "seed"}
        values = settings.setdefault(repr(setting), (setting, []))[1]
        best = job.result.best
        values.append(worst if job.result.status == DIVERGED or best is None else best)
    if not any(len(values) > 1 for _, values in settings.values()):
        return
    head, rows = setting_columns([setting for setting, _ in settings.values()])
    table = plain_table("means over seeds", *head, f"{metric}, mean ± s.e.", "seeds")
    for row, (_, values) in zip(rows, settings.values(), strict=True):
        table.add_row(*row, mean_text(values), str(len(values)))
    console.print(table)


def _words(error: BaseException) -> str:
    return message(error) if isinstance(error, SLIPS) else str(failure(error, None).error)
