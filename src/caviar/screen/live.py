"""What a person sees while a stage runs: a row for every worker, counts, the best, the time left.

On a terminal it is redrawn in place; elsewhere every finished trial is a line of its own. The
view only reads the ledger, so it is the same for every launcher, and from another terminal
(`caviar status --watch`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from caviar.base.errors import SearchFailed
from caviar.ledger import RUNNING, Ledger, Overview, Trial
from caviar.screen.view import console, counted, describe, duration, plain_table, plural

PERIOD = 0.5  # seconds between looks at the ledger
ROWS = 32  # workers shown; a screen that scrolls cannot be redrawn in place


class StageView:
    """Follows one stage while it runs: `with StageView(ledger, stage, total, metric, mode): …`."""

    def __init__(self, ledger: Ledger, stage: str, total: int, metric: str, mode: str) -> None:
        self.ledger, self.stage, self.total = ledger, stage, total
        self.metric, self.mode = metric, mode
        self._stop = threading.Event()
        # By what changes, not by all trials: a stage may have a hundred thousand.
        self._mark = ledger.mark(stage)
        overview = ledger.overview(stage).first(total)
        self._seen = {*overview.finished}
        self._faults = dict(overview.faults)
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> StageView:
        if console.is_terminal:
            self._live.start()
        else:
            console.print(f"{self.stage}: {plural(self.total - len(self._seen), 'trial')} to run")
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
        try:
            self.ledger.refresh()  # the last trials ended after the last look
            self._look()
        finally:
            if console.is_terminal:
                self._live.stop()

    def _follow(self) -> None:
        with suppress(SearchFailed):  # the ledger is gone, as the driver says by itself
            while not self._stop.wait(PERIOD):
                self._look()

    def _look(self) -> None:
        # By the ledger alone, never by what a launcher says: other drivers and workers have trials,
        # too, and a view that asked the launcher would be another one for each of them.
        if console.is_terminal:
            shown = stage_screen(self.ledger, self.stage, self.metric, self.total)
            self._live.update(shown, refresh=True)
            return
        self._mark, changed = self.ledger.changed(self.stage, self._mark)
        trials = [t for t in changed if t.number < self.total]
        left = ""
        for trial in trials:
            if len(trial.faults) > self._faults.get(trial.number, 0) and not trial.finished:
                console.print(
                    f"{self.stage}: trial {trial.number}: {trial.faults[-1]}; it is tried again"
                )
                self._faults[trial.number] = len(trial.faults)
            if not trial.finished:  # put back, perhaps, by caviar retry
                self._seen.discard(trial.number)
        for trial in trials:
            if trial.finished and trial.number not in self._seen:
                left = left or self._time_left()
                console.print(
                    f"{self.stage} {len(self._seen) + 1}/{self.total}: "
                    f"{describe(trial, self.metric)}{left and f' · {left}'}"
                )
                self._seen.add(trial.number)

    def _time_left(self) -> str:
        overview = self.ledger.overview(self.stage).first(self.total)
        return time_left(overview, _alive(self.ledger, self.stage, overview))


def stage_screen(
    ledger: Ledger, stage: str, metric: str, total: int | None = None
) -> RenderableType:
    """A stage as it is now: how far, by which workers, and the best so far.

    Arguments:
        ledger: of its study.
        stage: its name.
        metric: that is shown.
        total: how many trials, the first ones; all for None.
    """
    overview = ledger.overview(stage).first(total)
    trials = _alive(ledger, stage, overview)
    lost = len(overview.running) - len(trials)
    numbers = counted({**overview.counts, RUNNING: len(trials)})
    interrupted = f", {lost} interrupted" if lost else ""
    head = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(1, overview.total), completed=overview.done, width=24)
    share = f"{overview.done}/{overview.total}"
    head.add_row(Text(stage, "bold"), bar, share, time_left(overview, trials))
    lines: list[RenderableType] = [head, _fitted(f"  {numbers}{interrupted}")]
    for best in ledger.some(stage, overview.best()):
        lines.append(_fitted(f"  best {describe(best, metric)}"))
    running = sorted(trials, key=_worker)
    if running:
        unit = running[0].length.unit
        table = plain_table("", "  worker", "trial", unit, metric, "best", "for")
        for trial in running[:ROWS]:
            table.add_row(*_row(trial, overview.mode))
        lines.append(table)
    if len(running) > ROWS:
        lines.append(_fitted(f"  … and {len(running) - ROWS} more workers"))
    return Group(*lines)


def _worker(trial: Trial) -> tuple[str, int, str]:
    """Its machine and slot, else its process; of a run elsewhere its name."""
    slot = str(trial.claim.get("slot") or "")
    number = int(slot) if slot.isdigit() else trial.pid or 0
    return trial.host, number, str(trial.claim.get("label", ""))


def _row(trial: Trial, mode: str) -> list[str]:
    host, number, label = _worker(trial)
    trained, total = trial.trained, trial.length.total
    value = f"{trial.curve[max(trial.curve)]:.4g}" if trial.curve else "starting"
    finite = [v for v in trial.curve.values() if v == v]
    best = f"{(min if mode == 'min' else max)(finite):.4g}" if finite else ""
    return [
        f"  {label or f'{host} {number}'}",
        str(trial.number),
        f"{trained}/{total}" if trained and total else f"{trained or ''}",
        value,
        best,
        duration(max(0.0, trial.seconds_running(time.time()))),
    ]


def _alive(ledger: Ledger, stage: str, overview: Overview) -> list[Trial]:
    """The trials that run, those of dead workers left out."""
    lost = ledger.interrupted(stage, overview.running)
    return ledger.some(stage, [n for n in overview.running if n not in lost])


def time_left(overview: Overview, running: Sequence[Trial]) -> str:
    """From the mean length of the finished trials; empty before the first one, and where none runs:
    then nobody knows when the others will."""
    mean, waiting = overview.mean_seconds, overview.waiting
    if not mean or not running:
        return ""
    # By the number that run now, not that of the slots: the last trials of a stage leave some idle.
    now = time.time()
    begun = sum(max(0.0, mean - t.seconds_running(now)) for t in running)
    return f"{duration((waiting * mean + begun) / len(running))} left"


def _fitted(words: str) -> Text:
    """Text that goes on in the next line where the screen ends."""
    return Text(console.fitted(words))
