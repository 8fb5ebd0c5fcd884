"""What a person sees: one live line while a stage runs, tables when it is done.

On a terminal the line is redrawn in place; elsewhere every finished trial is a line of its own.
The view only reads the ledger, so it is the same for every launcher.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from caviar.ledger import RUNNING, Ledger, Trial
from caviar.overrides import command_line, point_overrides
from caviar.result import COMPLETE, DIVERGED, FAILED, Result
from caviar.space import OneMinusLog
from caviar.space.sweep_file import SweepFile

console = Console(highlight=False, soft_wrap=True)
if not console.is_terminal:  # in a file or a pipe nothing should be cut to a screen's width
    console.width = 160
PERIOD = 0.5  # seconds between looks at the ledger


class StageView:
    """Follows one stage while it runs: `with StageView(ledger, stage, total, metric, mode): …`."""

    def __init__(self, ledger: Ledger, stage: str, total: int, metric: str, mode: str) -> None:
        self.ledger, self.stage, self.total = ledger, stage, total
        self.metric, self.mode = metric, mode
        self._stop = threading.Event()
        self._start = time.monotonic()
        self._seen = {t.number for t in ledger.trials(stage) if t.finished}
        self._before = len(self._seen)
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
        )
        self._task = self._bar.add_task(stage, total=total, left="")
        self._live = Live(self._bar, console=console, auto_refresh=False, transient=True)
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> StageView:
        if console.is_terminal:
            self._live.start()
        else:
            console.print(f"{self.stage}: {self.total - self._before} trials to run")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()
        if console.is_terminal:
            self._live.stop()

    def _follow(self) -> None:
        while not self._stop.wait(PERIOD):
            self._look()

    def _look(self) -> None:
        trials = self.ledger.trials(self.stage)
        done = [t for t in trials if t.finished]
        left = self._time_left(len(done))
        if console.is_terminal:
            lines: list[Any] = [self._bar]
            if best := best_trials(trials, self.mode, 1):
                lines.append(Text(f"  best {describe(best[0], self.metric)}"))
            running = [self._progress(t) for t in trials if t.status == RUNNING]
            lines.append(Text(f"  now  {', '.join(running) or 'starting'}"))
            self._bar.update(self._task, completed=len(done), left=left)
            self._live.update(Group(*lines), refresh=True)
        else:
            for trial in done:
                if trial.number not in self._seen:
                    console.print(
                        f"{self.stage} {len(self._seen) + 1}/{self.total}: "
                        f"{describe(trial, self.metric)}{left and f' · {left}'}"
                    )
                    self._seen.add(trial.number)

    def _progress(self, trial: Trial) -> str:
        if not trial.curve:
            return f"trial {trial.number}"
        epoch, value = list(trial.curve.items())[-1]
        return f"trial {trial.number}, epoch {epoch}: {self.metric} {value:.4g}"

    def _time_left(self, done: int) -> str:
        run = done - self._before
        if run <= 0 or done >= self.total:
            return ""
        seconds = (time.monotonic() - self._start) / run * (self.total - done)
        return f"{duration(seconds)} left"


def best_trials(trials: Sequence[Trial], mode: str, count: int) -> list[Trial]:
    """The best few that finished and did not diverge, best first."""
    sign = 1 if mode == "min" else -1
    ranked = [
        (sign * t.result.best, t.number, t)
        for t in trials
        if t.status == COMPLETE and t.result and t.result.best is not None
    ]
    return [trial for *_, trial in sorted(ranked, key=lambda r: r[:2])[:count]]


def describe(trial: Trial, metric: str) -> str:
    """One trial in one line: value and setting, or what became of it."""
    result = trial.result
    label = f"{trial.note}: " if trial.note else ""
    if result is None or result.status == FAILED:
        what = f"failed ({result.error if result else 'no result'})"
    elif result.status == DIVERGED or result.best is None:
        what = result.status
    else:
        what = f"{metric} {result.best:.4g}"
    return f"{label}{what} · trial {trial.number}: {setting_text(trial.point)}"


def setting_text(point: Mapping[str, Any]) -> str:
    """A setting for reading, in natural values: `lr=0.0431 momentum=0.9802`."""
    shown = _natural(point)
    return " ".join(f"{k}={v}" for k, v in shown.items()) or "the default setting"


def setting_columns(points: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Settings as a table in natural values: the head, and a row for each."""
    shown = [_natural(p) for p in points]
    head = list(dict.fromkeys(name for row in shown for name in row))
    return head, [[row.get(name, "") for name in head] for row in shown]


def _natural(point: Mapping[str, Any]) -> dict[str, str]:
    """Shortest name that tells the axes apart → natural value, rounded for reading."""
    keys = {name: name.removeprefix(OneMinusLog.prefix) for name in point}
    last = Counter(key.rpartition(".")[2] for key in keys.values())
    shown = {}
    for name, key in keys.items():
        short = key.rpartition(".")[2]
        value = point[name]
        if name != key:  # as many digits as tell 1-β
            text = f"{1 - value:.{max(3, 3 - math.floor(math.log10(value)))}g}"
        else:
            text = f"{value:.3g}" if isinstance(value, float) else str(value)
        shown[short if last[short] == 1 else key] = text
    return shown


def print_stage(
    trials: Sequence[Trial], metric: str, mode: str, stage: str, overrides: Sequence[str]
) -> None:
    """The best five of a stage, what became of the others, and how to train the best again."""
    best = best_trials(trials, mode, 5)
    head, rows = setting_columns([t.point for t in best])
    table = plain_table(f"{stage}: the best five", "trial", metric, "epoch", *head, "seconds")
    for trial, row in zip(best, rows, strict=True):
        assert trial.result is not None
        value, epoch = f"{trial.result.best:.4g}", str(trial.result.best_epoch)
        table.add_row(str(trial.number), value, epoch, *row, f"{trial.result.seconds:.1f}")
    console.print(table)
    console.print(f"{len(trials)} trials: {counts(trials)}")
    if best:
        again = [*overrides, *point_overrides(best[0].point), f"seed={best[0].seed}"]
        console.print(f"the best again: {command_line(again)}")


def plain_table(title: str, *columns: str) -> Table:
    """A table without lines, for numbers."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def counts(trials: Sequence[Trial]) -> str:
    """`28 complete, 2 diverged`."""
    return ", ".join(f"{n} {status}" for status, n in Counter(t.status for t in trials).items())


def print_status(ledger: Ledger, metric: str | None, mode: str | None, folder: Path) -> None:
    """A line for each stage: how many trials of which status, and the best so far."""
    console.print(f"[bold]{ledger.study}[/bold] in {shown_path(folder)}")
    for stage in ledger.stages():
        trials = ledger.trials(stage)
        console.print(f"  {stage}: {len(trials)} trials: {counts(trials)}")
        facts = ledger.facts(stage)
        if "sweep" not in facts:
            continue
        sweep = SweepFile.parse(facts["sweep"], Path(stage))
        for best in best_trials(trials, mode or sweep.mode, 1):
            console.print(f"    best {describe(best, metric or sweep.metric)}")


def print_result(result: Result, metric: str, folder: Path) -> None:
    """The last lines of `python train.py`."""
    best = f"{metric}: no finite value"
    if result.best is not None and result.best_epoch is not None:
        last = "" if result.last is None else f", last {result.last:.4g}"
        best = f"{metric} {result.best:.4g} at epoch {result.best_epoch}{last}"
    console.print(
        f"{best} · {result.status} · {result.num_params:,} parameters · {result.seconds:.1f} s · "
        f"seed {result.seed}"
    )
    for name, value in sorted(result.metrics.items()):
        if name.startswith("test/"):
            console.print(f"{name} {value:.4g}")
    console.print(f"in {shown_path(folder)}: result.json, the checkpoints and the logs")


def shown_path(path: Path) -> Path:
    """`path` as one would type it from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def stage_command(study: str, sweep: Path) -> str:
    """What runs a stage's sweep file."""
    return f"python train.py -m search.study={study} search.sweep={shown_path(sweep)}"


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
