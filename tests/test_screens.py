"""What a person sees in a terminal of 80 columns and of 100: no line broken inside of a word or a
value, nothing cut, and nothing that stays behind."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path

import pyte
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from caviar.base.terminal import wrapped
from caviar.panda.journal import DAY, SET, START, Journal, event
from caviar.panda.levers import CONFIG
from caviar.panda.record import append_row
from caviar.panda.screen import flowing, screen
from caviar.screen.view import console
from caviar.training.bar import TrainingBar, one_line
from caviar.training.callbacks import BestMetric

WIDTHS = (80, 100)
COMMAND = "caviar panda back search.study=mine 'optimizer.lr=0.5' --to day3"
WORDS = st.lists(st.sampled_from(["a", "of", "twelve", "metric", "(best):", COMMAND]), max_size=40)


@given(WORDS, st.sampled_from(WIDTHS), st.sampled_from(["", "  "]))
def test_lines_are_broken_between_words_and_never_inside_of_a_command(
    words: list[str], width: int, indent: str
) -> None:
    text = indent + " ".join(words)
    lines = wrapped(text, width).split("\n")
    assert " ".join(line.strip() for line in lines).strip() == text.strip()
    assert "\n".join(lines).count(COMMAND) == words.count(COMMAND)
    for line in lines:
        assert len(line) <= width or line.strip() == COMMAND


def test_a_command_that_is_longer_than_the_screen_has_a_line_to_itself() -> None:
    long = f"caviar search experiment=digits space={'x' * 80} search.study=mine"
    assert wrapped(f"next: {long}", 80) == f"next:\n  {long}"
    assert wrapped(f"it is kept; go on: {long}\nand so on", 80).split("\n")[1:] == [
        f"  {long}",
        "and so on",
    ]


VALUES = st.dictionaries(st.sampled_from(["val/loss", "val/acc", "train/loss", "f1"]), st.floats())


@given(VALUES, st.sampled_from(WIDTHS), st.sampled_from(["", "12 min left"]))
def test_the_bar_is_one_line_with_whole_values(
    values: dict[str, float], width: int, left: str
) -> None:
    line = one_line(width, "epoch 3/199", 12, 34, left, values).plain
    assert len(line) < width
    shown = [f"{name} {value:.4g}" for name, value in values.items()]
    kept = [text for text in shown if f"  {text}" in line]
    assert shown[: len(kept)] == kept
    assert (f"  +{len(shown) - len(kept)}" in line) == (len(kept) < len(shown))


def test_a_bar_without_an_end() -> None:
    assert one_line(80, "epoch 3", 12, float("inf"), "", {"val/loss": 0.5}).plain == (
        "epoch 3  12  val/loss 0.5"
    )


@pytest.fixture
def looked_after(tmp_path: Path) -> Path:
    """A run's folder, of an optimizer with many values, at step 2000."""
    optimizer = {"lr": 0.0015, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.012}
    nodes = {
        "metric": {"name": "val/loss", "mode": "min"}, "space": {}, "panda": {},
        "optimizer": {"_target_": "caviar.training.optim.AdamW", **optimizer},
        "scheduler": {"_target_": "caviar.training.schedule.inverse_time", "rate": 0.05},
        "model": {"dropout": 0.125}, "data": {"batch_size": 2000},
        "trainer": {"max_epochs": 300, "gradient_clip_val": 1.25},
    }  # fmt: skip
    (tmp_path / CONFIG).write_text(yaml.safe_dump(nodes))
    journal = Journal(tmp_path)
    journal.write(event(START, 0, 0, 0, facts={"overrides": ["seed=1"]}))
    why = "the curve has been flat since the day before yesterday, and nobody knows a reason"
    changes = {"optimizer.lr": [0.001, 0.0015], "optimizer.weight_decay": [0.01, 0.012]}
    journal.write(event(SET, 0, 0, 50, changes=changes, why=why))
    for day in range(1, 21):
        facts = {
            "metric": "val/loss",
            "value": 1 / day,
            "lr": 0.00123,
            "before": 1 / max(1, day - 1),
        }
        journal.write(event(DAY, 0, day, 100 * day, facts=facts))
        append_row(tmp_path, {"branch": 0, "step": 100 * day, "time": 0.0, "val/loss": 1 / day})
    return tmp_path


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("height", [24, 34])
def test_a_panda_is_watched_whole(
    looked_after: Path, monkeypatch: pytest.MonkeyPatch, width: int, height: int
) -> None:
    monkeypatch.setattr(console, "_width", width)
    monkeypatch.setattr(console, "_height", height)
    message = f"outside of the declared space; {COMMAND} does it all the same, whatever it is for"
    with console.capture() as captured:
        console.print(screen(looked_after, message))
    lines = captured.get().rstrip("\n").split("\n")
    assert max(map(len, lines)) <= width
    assert len(lines) <= height
    text = " ".join(" ".join(lines).split())
    for value in ("lr 0.0015", "beta2 0.999", "weight_decay 0.012", "dropout 0.125",
                  "batch_size 2000", "max_epochs 300", "(lr of the schedule: 0.00123)",
                  "[q] quit", "step 2001", "day 20", COMMAND):  # fmt: skip
        assert value in text, value
    assert any(line.endswith("2000") for line in lines)  # of the curve's axis


def test_values_beside_each_other() -> None:
    assert flowing(["lr 0.1", "beta1 0.9", "eps 1e-8"], 18) == "lr 0.1   beta1 0.9\neps 1e-8"


def test_what_is_logged_while_the_bar_is_drawn_comes_above_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Handlers keep the stream that was there before, of Hydra's and of Lightning's own."""
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr("caviar.training.bar.console", terminal)
    handler = logging.StreamHandler(sys.stderr)
    monkeypatch.setattr(logging.root, "handlers", [handler])
    before, bar = sys.stderr, TrainingBar(BestMetric("val/loss", "min"))
    for _ in range(2):  # it is drawn anew for the test set
        bar._start()
        bar._live.update(one_line(80, "epoch 3", 1, 3, "", {}), refresh=True)
        logging.warning("a line of Lightning's")
        print("a line of the model's")
        bar._stop()
        assert handler.stream is before
    screen = pyte.Screen(80, 10)
    pyte.Stream(screen).feed(terminal.file.getvalue().replace("\n", "\r\n"))  # type: ignore[attr-defined]
    seen = [line.strip() for line in screen.display if line.strip()]
    assert seen == ["a line of Lightning's", "a line of the model's"] * 2
