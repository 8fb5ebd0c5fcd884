"""What a person sees while a stage runs.

On a terminal a few lines are redrawn in place; elsewhere every finished trial is a line of its
own. The view only reads the ledger, so it is the same for every launcher.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from caviar.ledger import RUNNING, Ledger, Trial
from caviar.view import best_trials, console, describe, duration, plural

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
            console.print(f"{self.stage}: {plural(self.total - self._before, 'trial')} to run")
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
                lines.append(_folded(f"  best {describe(best[0], self.metric)}"))
            running = [self._progress(t) for t in trials if t.status == RUNNING]
            if len(done) < self.total:
                lines.append(_folded(f"  now  {', '.join(running) or 'starting'}"))
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


def _folded(words: str) -> Text:
    """Text that goes on in the next line where the screen ends."""
    return Text(words, no_wrap=False, overflow="fold")
