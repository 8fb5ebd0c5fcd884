"""What a person reads: tables of trials, settings and results, and the words for them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from caviar.base.result import COMPLETE, DIVERGED, EPOCH, FAULTS, PRUNED, Result
from caviar.base.terminal import wrapped
from caviar.ledger import RUNNING, WAITING, Trial
from caviar.space import OneMinusLog


class Screen(Console):
    """Rich's console, whose text is broken between words, and commands never."""

    def print(self, *objects: Any, **how: Any) -> None:
        """As Rich's, of text or a table."""
        super().print(*(self.fitted(o) if isinstance(o, str) else o for o in objects), **how)

    def fitted(self, text: str) -> str:
        """For what is put together by hand; in a file or a pipe no line is broken."""
        return wrapped(text, self.width) if self.is_terminal else text


# No markup: names, errors and reasons are other people's, and may well have [brackets].
console = Screen(highlight=False, soft_wrap=True, markup=False)
if not console.is_terminal:  # in a file or a pipe nothing should be cut to a screen's width
    console.width = 160
NUMBERS = ("", "", " two", " three", " four", " five")


def best_trials(trials: Sequence[Trial], mode: str, count: int) -> list[Trial]:
    """The best few that finished and did not diverge, best first."""
    # Pruned ones are left out: their best is that of fewer epochs. Ties go to the first.
    ranked = [
        (t.result.loss(mode), t.number, t)
        for t in trials
        if t.status == COMPLETE and t.result and t.result.best is not None
    ]
    return [trial for *_, trial in sorted(ranked, key=lambda r: r[:2])[:count]]


def describe(trial: Trial, metric: str) -> str:
    """One trial in one line: value and setting, or what became of it."""
    result = trial.result
    label = f"{trial.note}: " if trial.note else ""
    if result is None:
        what = trial.status
    elif result.failed:
        what = f"{result.status} ({result.error})"
    elif result.status == DIVERGED or result.best is None:
        what = result.status
    else:
        after = plural(trial.trained, trial.length.unit)
        # Not that it is given up: the best of a rung go on.
        pruned = f" (after {after})" if result.status == PRUNED else ""
        what = f"{metric} {result.best:.4g}{pruned}"
    # Of the confirmation its setting has a name, which is that of the trial that found it.
    number = "" if trial.note else f"trial {trial.number}: "
    return f"{label}{what} · {number}{setting_text(trial.point)}"


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
        if name != key:  # as many digits as tell 1-β: 0.9984 and 0.9985 average over other lengths
            text = f"{1 - value:.{max(3, 3 - math.floor(math.log10(value)))}g}"
        else:
            text = f"{value:.3g}" if isinstance(value, float) else str(value)
        shown[short if last[short] == 1 else key] = text
    return shown


def print_stage(
    trials: Sequence[Trial],
    metric: str,
    mode: str,
    stage: str,
    again: Callable[[Trial], str],
) -> None:
    """The best five of a stage, what became of the others, and how to train the best again.

    Arguments:
        trials: of the stage.
        metric: that is compared.
        mode: `min` or `max`.
        stage: its name.
        again: the command that trains a trial again.
    """
    best = best_trials(trials, mode, 5)
    head, rows = setting_columns([t.point for t in best])
    number = NUMBERS[len(best)]
    unit = best[0].length.unit if best else EPOCH
    table = plain_table(f"{stage}: the best{number}", "trial", metric, unit, *head, "seconds")
    for trial, row in zip(best, rows, strict=True):
        assert trial.result is not None
        value, at = f"{trial.result.best:.4g}", _best_at(trial.result)
        table.add_row(str(trial.number), value, at, *row, _seconds(trial.result.seconds))
    if best:
        console.print(table)
    console.print(f"{plural(len(trials), 'trial')}: {counts(trials)}")
    for line in fault_lines(trials):
        console.print(f"  {line}")
    if best:
        console.print(f"the best again: {again(best[0])}")


def fault_lines(trials: Sequence[Trial]) -> list[str]:
    """Each kind of fault once, with the trials that it ended."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for trial in trials:
        if trial.result is not None and trial.result.failed:
            kind = (trial.result.status, trial.result.error or "")
            kinds.setdefault(kind, []).append(str(trial.number))
    return [
        f"trial{'' if len(numbers) == 1 else 's'} {', '.join(numbers)}: {status}: {error}"
        for (status, error), numbers in kinds.items()
    ]


def plain_table(title: str, *columns: str) -> Table:
    """A table without lines, for numbers: closer on a narrow screen, folded rather than cut."""
    gap = 2 if console.width >= 100 else 1
    table = Table(
        title=title, title_justify="left", box=None, pad_edge=False, padding=(0, gap, 0, 0)
    )
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    return table


def counts(trials: Sequence[Trial]) -> str:
    """`28 complete, 2 diverged, 1 killed`; what has a result first, then what has none."""
    return counted(Counter(t.status for t in trials))


def counted(numbers: Mapping[str, int]) -> str:
    """The same of the numbers themselves, by status."""
    order = (COMPLETE, PRUNED, DIVERGED, *FAULTS, RUNNING, WAITING)
    return ", ".join(f"{numbers[status]} {status}" for status in order if numbers.get(status))


def print_result(result: Result, metric: str, folder: Path) -> None:
    """The last lines of `python train.py`."""
    best = f"{metric}: no finite value"
    # A run that only tests has its value in the lines below, and no epoch.
    if result.best is not None and (result.best_epoch is not None or result.unit != EPOCH):
        last = "" if result.last is None else f", last {result.last:.4g}"
        best = f"{metric} {result.best:.4g} at {result.unit} {_best_at(result)}{last}"
    parameters = f"{result.num_params:,} parameters · " if result.num_params else ""
    console.print(
        f"{best} · {result.status} · {parameters}{result.seconds:.1f} s · seed {result.seed}"
    )
    for name, value in sorted(result.metrics.items()):
        if name.startswith("test"):
            console.print(f"{name} {value:.4g}")
    kept = ", the checkpoints and the logs" if result.checkpoint else " and the logs"
    console.print(f"in {shown_path(folder)}: result.json{kept}")


def _best_at(result: Result) -> str:
    """The epoch, from 0, or the step of the best value."""
    return str(result.best_epoch if result.unit == EPOCH else result.best_step)


def shown_path(path: Path) -> Path:
    """`path` as one would type it from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def plural(count: int, what: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def _seconds(seconds: float) -> str:
    """Of a training; of one in a stack its part, which may be hundredths."""
    return f"{seconds:.1f}" if seconds >= 0.1 else f"{seconds:.2g}"


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
