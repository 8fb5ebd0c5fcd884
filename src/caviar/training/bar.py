"""The line at the bottom of a terminal while one model trains: where it is, and all its values.

One line whatever is logged, and one writer: it is drawn by the console that everything else is
printed with, so that what others print comes above it, whole. When the training ends it is gone.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.live import Live
from rich.text import Text

from caviar.screen.view import console, duration
from caviar.training.callbacks import BestMetric

PERIOD = 0.1  # seconds between two drawings, at least
GAP = "  "
WIDEST, NARROWEST = 24, 6  # of the bar itself, in characters; with less room there is none


class TrainingBar(ProgressBar):
    """Lightning's progress bar, on one line.

    Arguments:
        best: follows the metric, which is shown first.
    """

    def __init__(self, best: BestMetric) -> None:
        super().__init__()
        self.best = best
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._enabled, self._drawn = True, 0.0
        self._routed: list[tuple[logging.StreamHandler[Any], Any]] = []  # and where they wrote to
        self._begun: tuple[float, float] | None = None  # when, and which share was done by then

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        """As Lightning does on every rank but the first."""
        self._enabled = False
        self._stop()

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Above the line."""
        console.print(*args)

    # -- when it is drawn

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._begun = time.monotonic(), _share(trainer, 0, self.total_train_batches)
        self._draw("", 0, self.total_train_batches, now=True)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, output: Any, batch: Any, number: int
    ) -> None:
        self._draw("", number + 1, self.total_train_batches)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, output: Any, batch: Any, number: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        totals = trainer.num_sanity_val_batches if trainer.sanity_checking else None
        totals = trainer.num_val_batches if totals is None else totals
        self._draw("validation", number + 1, totals[dataloader_idx])

    def on_test_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, output: Any, batch: Any, number: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        self._draw("test", number + 1, trainer.num_test_batches[dataloader_idx])

    def on_train_end(self, *_: Any) -> None:
        self._stop()

    def on_exception(self, *_: Any) -> None:
        self._stop()

    def teardown(self, *_: Any, **__: Any) -> None:
        self._stop()

    def _start(self) -> None:
        """Draw; who prints, and who logs to where it would be printed, does it above the line."""
        real = {id(stream) for stream in (sys.stdout, sys.stderr)}
        self._live.start()  # it takes the place of both
        loggers = [logging.root, *logging.root.manager.loggerDict.values()]
        for handler in {h for one in loggers for h in getattr(one, "handlers", ())}:
            if isinstance(handler, logging.StreamHandler) and id(handler.stream) in real:
                self._routed.append((handler, handler.stream))
                handler.setStream(sys.stderr)

    def _stop(self) -> None:
        self._live.stop()
        while self._routed:
            handler, stream = self._routed.pop()
            handler.setStream(stream)

    # -- what is drawn

    def _draw(self, what: str, done: int, total: float, now: bool = False) -> None:
        if not self._enabled or (time.monotonic() - self._drawn < PERIOD and not now):
            return
        if not self._live.is_started:
            self._start()
        trainer = self.trainer
        head, left = what, ""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            head = f"epoch {trainer.current_epoch}"  # from 0, as everywhere where one is named
            last = (trainer.max_epochs or 0) - 1
            head += f"/{last}" if last >= 0 else ""
            left = "validation" if what else self._left(done, total)
        values: dict[str, Any] = {**trainer.progress_bar_metrics}
        if self.best.last is not None:  # also one that the module does not log to a bar
            values = {self.best.metric: self.best.last} | values
        line = one_line(console.width, head, done, total, left, values)
        self._live.update(line, refresh=True)
        self._drawn = time.monotonic()

    def _left(self, done: int, total: float) -> str:
        share = _share(self.trainer, done, total)
        if self._begun is None or share <= self._begun[1]:
            return ""
        began, before = self._begun
        seconds = (time.monotonic() - began) / (share - before) * (1 - share)
        return f"{duration(seconds)} left"


def _share(trainer: pl.Trainer, done: int, total: float) -> float:
    """Which part of the whole training is done; 0 where nobody knows its end."""
    steps, epochs = trainer.max_steps, trainer.max_epochs or -1
    by_steps = trainer.global_step / steps if steps > 0 else 0.0
    by_epochs = (trainer.current_epoch + done / max(total, 1)) / epochs if epochs > 0 else 0.0
    return min(1.0, max(by_steps, by_epochs))


def one_line(
    width: int, head: str, done: int, total: float, left: str, values: Mapping[str, Any]
) -> Text:
    """`epoch 3/19  ━━━━━━────  20/34  12 s left  val/loss 0.4013  val/acc 0.89`.

    A value is shown whole or not at all; `+2` says that there are two more than have room.

    Arguments:
        width: of the terminal, in characters.
        head: what is going on.
        done: batches.
        total: of them; infinite where nobody knows.
        left: the time, or another word about it.
        values: by name, the most important first.
    """
    known = total != float("inf") and total > 0
    count = f"{done}/{int(total)}" if known else str(done)
    words = [word for word in (head, count, left) if word]
    texts = [f"{name} {_number(value)}" for name, value in values.items()]
    kept: list[str] = []
    for at, text in enumerate(texts):
        rest = len(texts) - at - 1
        more = [f"+{rest}"] if rest else []
        if len(GAP.join([*words, *kept, text, *more])) >= width:
            break
        kept.append(text)
    more = [f"+{len(texts) - len(kept)}"] if len(kept) < len(texts) else []
    room = width - 1 - len(GAP.join([*words, *kept, *more])) - len(GAP)
    length = min(WIDEST, room)
    line = Text(words[0], "bold", no_wrap=True, overflow="crop")
    if known and length >= NARROWEST:
        filled = min(length, round(length * done / total))
        line.append(GAP).append("━" * filled, "green").append("─" * (length - filled), "dim")
    for word in [*words[1:], *kept, *more]:
        line.append(f"{GAP}{word}", "not bold")
    return line


def _number(value: Any) -> str:
    return f"{float(value):.4g}" if isinstance(value, int | float) else str(value)
