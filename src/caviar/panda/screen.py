"""`caviar panda watch`: the run on one screen, with keys for the usual nudges.

It reads what the run writes, and asks it as any other terminal does, so that it may be closed and
opened at any time, or run twice.
"""

from __future__ import annotations

import math
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from caviar.base.errors import UserError
from caviar.base.terminal import wrapped
from caviar.panda.groups import RATE, Groups
from caviar.panda.inbox import go_back, nudge, run_state
from caviar.panda.journal import SET, Event, Journal, Lineage, sentence, shown
from caviar.panda.levers import read_config, settable, value_in_force
from caviar.panda.record import present_line, rows
from caviar.screen.view import console

PERIOD = 0.5  # seconds between looks
PATIENCE = 30.0  # seconds for the run to take what a key asks: the screen stands still meanwhile
LOWEST, HIGHEST = 6, 16  # lines of the curve
GAP = "   "  # between values
FACTOR = 1.5  # of a key's nudge
KEYS = {
    "+": ("lr up", f"{RATE}=*{FACTOR}"),
    "-": ("lr down", f"{RATE}=/{FACTOR}"),
    # Of 1-β, since a momentum times 1.5 would be above 1.
    "m": ("momentum up", "one_minus.optimizer.momentum=*0.5"),
    "n": ("momentum down", "one_minus.optimizer.momentum=*2"),
}
WHY = "a key in panda watch"


def watch(folder: Path) -> None:
    """Show the run until q, or Ctrl-C; where nobody can type, once."""
    if not (sys.stdin.isatty() and console.is_terminal):
        console.print(screen(folder, ""))
        return
    message, back_to = "", None  # back_to: the day that a `y` goes back to
    with _keys_at_once(), Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            live.update(screen(folder, message), refresh=True)
            key = _key()
            if key == "q":
                return
            if back_to is not None and key:  # any other key than y is a no
                message = _back(folder, back_to) if key == "y" else "kept going"
                back_to = None
            elif key == "b":
                lineage = Lineage.of(Journal(folder).events())
                days = lineage.days()
                back_to = max(lineage.first.day, (days or [lineage.first])[-1].day - 1)
                message = f"back to day {back_to}? y to do it"
            elif key in KEYS:
                message = _nudge(folder, KEYS[key][1])


def screen(folder: Path, message: str) -> RenderableType:
    """The run as it is now.

    Arguments:
        folder: of the study.
        message: the last line: what a key's nudge has done.
    """
    config, events = read_config(folder), Journal(folder).events()
    lineage, metric = Lineage.of(events), config["metric"]["name"]
    points = present_line(rows(folder), lineage, metric)
    width = min(console.width, 110)
    nudges = [e.step for e in events if e.kind == SET and e.branch == lineage.branch]
    days = lineage.days()
    day = days[-1].day if days else 0
    step = points[-1][0] + 1 if points else 0
    where = f"branch {lineage.branch} · day {day} · step {step:.0f} · {run_state(folder, lineage)}"
    # Broken here, between words and values: the screen would cut what is too long.
    head = wrapped(f"{folder.name} · {where}", width)
    above = wrapped(f"{metric}: {trend(days)}", width)
    values = flowing(_values(config, lineage), width)
    said = [wrapped(f"  {sentence(e)}", width) for e in events[-4:]]
    keys = [f"[{key}] {what}" for key, (what, _) in KEYS.items()]
    help_ = flowing([*keys, "[b] back one day", "[q] quit"], width)
    message = wrapped(message, width)
    fixed = _height(head, above, values, help_, message) + 2  # the curve's axis
    while len(said) > 1 and fixed + LOWEST + _height(*said) > console.height:
        del said[0]
    height = max(LOWEST, min(HIGHEST, console.height - fixed - _height(*said)))
    lines = plot(points, nudges, width, height, config["metric"]["mode"] == "min")
    return Group(
        Text(head, "bold"),
        Text(above),
        Text("\n".join(lines), no_wrap=True, overflow="crop"),
        Text(values),
        *(Text(line) for line in said),
        Text(help_, "dim"),
        Text(message, "bold"),
    )


def flowing(items: Sequence[str], width: int) -> str:
    """Short texts beside each other, in as many lines as they take; none is broken."""
    lines = [""]
    for item in items:
        longer = f"{lines[-1]}{GAP if lines[-1] else ''}{item}"
        if lines[-1] and len(longer) > width:
            lines.append(item)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def _height(*texts: str) -> int:
    return sum(text.count("\n") + 1 for text in texts)


def trend(days: Sequence[Event]) -> str:
    """What the last day, and the last three, have done."""
    values = [(e.day, e.facts.get("value")) for e in days]
    if not values:
        return "the first day is not over"
    now = values[-1][1]
    words = [f"{shown(now)} at the end of day {values[-1][0]}"]
    for back in (1, 3):
        before = values[-1 - back][1] if len(values) > back else None
        if now and before:
            over = "in a day" if back == 1 else f"in {back} days"
            words.append(f"{(now - before) / abs(before):+.1%} {over}")
    return ", ".join(words)


def _values(config: dict[str, Any], lineage: Lineage) -> list[str]:
    """What is in force, of what can be changed."""
    values = [
        f"{key.rpartition('.')[2]} {shown(value)}"
        for key in settable(config, Groups.of(lineage.events))
        if (value := value_in_force(config, lineage.values, key)) is not None
    ]
    lrs = [e.facts["lr"] for e in lineage.days() if "lr" in e.facts]
    return [*values, f"(lr of the schedule: {shown(lrs[-1])})"] if lrs else values


def _nudge(folder: Path, change: str) -> str:
    try:
        return "; ".join(nudge(folder, [change], WHY, False, PATIENCE))
    except UserError as error:
        return str(error)


def _back(folder: Path, to: int) -> str:
    try:
        return go_back(folder, f"day{to}", [], WHY, False, PATIENCE)
    except UserError as error:
        return str(error)


def _key() -> str:
    """A key that is typed within the next half second; empty without one."""
    ready, _, _ = select.select([sys.stdin], [], [], PERIOD)
    return os.read(sys.stdin.fileno(), 1).decode(errors="replace") if ready else ""


@contextmanager
def _keys_at_once() -> Iterator[None]:
    """Keys come without Enter, and are not shown; the terminal is put back whatever happens."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def plot(
    points: Sequence[tuple[float, float]],
    marks: Sequence[float],
    width: int,
    height: int,
    logarithmic: bool,
) -> list[str]:
    """A learning curve in characters: `height` lines, and two for its axis with the nudges.

    Arguments:
        points: steps and finite values, in order.
        marks: steps at which something was changed.
        width: of the whole, in characters.
        height: of the curve, in lines.
        logarithmic: the vertical axis, if all values are above 0.
    """
    if not points:
        return ["no value yet"]
    # Most of a loss's fall is in its first epochs; a linear axis would show little of the rest.
    logarithmic = logarithmic and min(v for _, v in points) > 0
    scaled = [(s, math.log(v) if logarithmic else v) for s, v in points]
    left, right = points[0][0], max(points[-1][0], points[0][0] + 1)
    low, high = min(v for _, v in scaled), max(v for _, v in scaled)
    high = high if high > low else low + 1
    columns = max(10, width - 10)

    def column(step: float) -> int:
        return round((step - left) / (right - left) * (columns - 1))

    def row(value: float) -> int:
        return round((high - value) / (high - low) * (height - 1))

    cells = [[" "] * columns for _ in range(height)]
    for (s1, v1), (s2, v2) in pairwise(scaled):
        first, last = column(s1), column(s2)
        for c in range(first + 1, last):  # the way between two values, lightly
            share = (c - first) / (last - first)
            cells[row(v1 + share * (v2 - v1))][c] = "·"
    for s, v in scaled:  # last, so that no way between two others covers a value
        cells[row(v)][column(s)] = "●"
    axis = ["─"] * columns
    for mark in marks:
        if left <= mark <= right:
            axis[column(mark)] = "▲"
    lines = []
    for number, line in enumerate(cells):
        value = high - number / max(1, height - 1) * (high - low)
        shown = f"{math.exp(value) if logarithmic else value:.3g}"
        label = shown if number in (0, height // 2, height - 1) else ""
        lines.append(f"{label:>8} │{''.join(line)}")
    lines.append(f"{'':>8} └{''.join(axis)}")
    ends = f"{f'step {left:.0f}':<{columns - 8}}{right:>8.0f}"
    lines.append(f"{'':>10}{ends}")
    return lines
