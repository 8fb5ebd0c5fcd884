"""A panda's parts by themselves: what may be set, the journal, the inbox, the keeper, the plot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from caviar.errors import UserError
from caviar.panda.inbox import INBOX, Inbox, is_running, running
from caviar.panda.journal import (
    BACK,
    DAY,
    EVENTS,
    NOTE,
    READABLE,
    SET,
    START,
    Event,
    Journal,
    event,
    sentence,
)
from caviar.panda.keeper import Action, decide
from caviar.panda.levers import read_changes, settable
from caviar.panda.lineage import Lineage, back_event
from caviar.panda.plot import plot
from caviar.panda.record import append_row, keep_until, rows
from caviar.panda.settings import Day, Rules
from caviar.space import Axis, Choice, Log, OneMinusLog, Space

CONFIG: dict[str, Any] = {
    "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.01, "momentum": 0.9, "nesterov": False},
    "scheduler": {"_target_": "caviar.training.schedulers.inverse_time", "rate": 0.05},
    "model": {"_target_": "caviar.training.models.MLP", "width": 64, "dropout": 0.0},
    "data": {"batch_size": 32, "name": "digits"},
    "trainer": {"max_epochs": 20, "gradient_clip_val": None, "accelerator": "cpu"},
}
LR, MOMENTUM = Log(1e-4, 1.0), OneMinusLog(1e-3, 0.1)
BATCH = Axis("data.batch_size", Choice((16, 32, 64)))
SPACE = Space((Axis("optimizer.lr", LR), Axis("optimizer.momentum", MOMENTUM), BATCH))


# -- what may be set


@pytest.mark.parametrize(
    ("text", "key", "new"),
    [
        ("optimizer.lr=0.02", "optimizer.lr", 0.02),
        ("optimizer.lr=*1.5", "optimizer.lr", 0.015),
        ("optimizer.lr=/4", "optimizer.lr", 0.0025),
        ("optimizer.lr=2e-2", "optimizer.lr", 0.02),
        ("one_minus.optimizer.momentum=*0.5", "optimizer.momentum", 0.95),
        ("one_minus.optimizer.momentum=0.02", "optimizer.momentum", 0.98),
        ("optimizer.momentum=0.95", "optimizer.momentum", 0.95),
        ("scheduler.rate=*2", "scheduler.rate", 0.1),
        ("model.dropout=0.3", "model.dropout", 0.3),
        ("data.batch_size=*2", "data.batch_size", 64),
        ("trainer.gradient_clip_val=1", "trainer.gradient_clip_val", 1.0),
        ("trainer.max_epochs=40", "trainer.max_epochs", 40),
    ],
)
def test_a_change_is_read(text: str, key: str, new: Any) -> None:
    (change,) = read_changes([text], CONFIG, {}, SPACE, force=False)
    assert change.key == key
    assert change.new == pytest.approx(new)
    assert isinstance(change.new, type(new))


def test_a_relative_change_is_one_of_the_value_in_force() -> None:
    (change,) = read_changes(["optimizer.lr=*2"], CONFIG, {"optimizer.lr": 0.1}, SPACE, force=False)
    assert (change.old, change.new) == (0.1, 0.2)
    (change,) = read_changes(["trainer.gradient_clip_val=null"], CONFIG, {}, SPACE, force=False)
    assert change.new is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "nothing to change"),
        (["optimizer.lr"], "write KEY=VALUE"),
        (["optimizer.lrr=1"], "the run has no optimizer.lrr; it can be nudged in optimizer.lr"),
        (["optimizer.lr=fast"], "'fast' is no number"),
        (["optimizer.lr=true"], "True is no number"),
        (["optimizer.lr=*fast"], "'fast' is no number"),
        (["optimizer.lr=nan"], "finite number"),
        (["optimizer.lr=/0"], "finite number"),
        (["optimizer.lr=0"], "above 0"),
        (["optimizer.lr=-1"], "above 0"),
        (["optimizer.lr=null"], "needs a number"),
        (["optimizer.lr=30"], r"outside of the declared space, 0\.0001 to 1; write --force"),
        (["optimizer.momentum=0.5"], "outside of the declared space"),
        (["optimizer.momentum=1"], "below 1"),
        (["model.dropout=1.5"], "below 1"),
        (["model.width=128"], "it shapes the weights"),
        (["model._target_=os.system"], "no number"),
        (["data.name=wine"], "read and split once"),
        (["trainer.accelerator=gpu"], "the trainer is built with it"),
        (["optimizer=adam"], "no number"),
        (["trainer.gradient_clip_val=*2"], "it is None now"),
        (["data.batch_size=inf"], "finite number"),
        (["data.batch_size=/0"], "finite number"),
        (["trainer.max_epochs=nan"], "finite number"),
        (["data.batch_size=48"], "none of the declared space, choice 16, 32, 64; write --force"),
        (["optimizer.lr=0.1", "optimizer.lr=0.2"], "set twice"),
    ],
)
def test_a_change_that_cannot_be_says_why(given: Sequence[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_changes(given, CONFIG, {}, SPACE, force=False)


def test_force_leaves_the_declared_space_but_not_sense() -> None:
    (change,) = read_changes(["optimizer.lr=30"], CONFIG, {}, SPACE, force=True)
    assert change.new == 30
    with pytest.raises(UserError, match="below 1"):
        read_changes(["optimizer.momentum=2"], CONFIG, {}, SPACE, force=True)


def test_what_can_be_set() -> None:
    assert settable(CONFIG) == [
        "optimizer.lr", "optimizer.momentum", "scheduler.rate", "model.dropout",
        "data.batch_size", "trainer.gradient_clip_val", "trainer.max_epochs",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "length", "unit"),
    [
        ("1 epoch", 1, "epochs"),
        ("500 steps", 500, "steps"),
        ("30 minutes", 1800, "seconds"),
        ("1.5 hours", 5400, "seconds"),
    ],
)
def test_how_long_a_day_is(text: str, length: float, unit: str) -> None:
    assert Day.parse(text) == Day(length, unit)


@pytest.mark.parametrize("text", ["", "3", "0 epochs", "half an hour", "1.5 epochs", "-1 steps"])
def test_no_length_of_a_day(text: str) -> None:
    with pytest.raises(UserError, match=r"panda\.day="):
        Day.parse(text)


# -- the journal


def day(number: int, value: float, branch: int = 0) -> Event:
    return event(DAY, branch, number, 10 * number, facts={"metric": "val/loss", "value": value})


def journal(folder: Path, *events: Event) -> Journal:
    made = Journal(folder)
    for one in (event(START, 0, 0, 0, facts={"overrides": ["seed=1"]}), *events):
        made.write(one)
    return made


def test_the_journal_reads_back(tmp_path: Path) -> None:
    change = event(SET, 0, 1, 12, changes={"optimizer.lr": [0.01, 0.02]}, why="flat")
    made = journal(tmp_path, day(1, 0.5), change)
    assert [e.kind for e in made.events()] == [START, DAY, SET]
    assert made.events()[2] == change
    text = (tmp_path / READABLE).read_text()
    assert text == made.text()
    assert "branch 0, day 1, step 12 · optimizer.lr 0.01 → 0.02: “flat”" in text


def test_a_line_that_was_cut_off_is_left_behind(tmp_path: Path) -> None:
    made = journal(tmp_path, day(1, 0.5))
    path = tmp_path / EVENTS
    whole = path.read_text()
    for cut in (whole[:-1], whole[: len(whole) // 2 + 10]):
        path.write_text(cut)
        kept = made.events()
        made.write(day(2, 0.4))
        lines = path.read_text().splitlines()
        assert all(json.loads(line) for line in lines)
        assert made.events()[-1].day == 2
        assert len(made.events()) in (len(kept), len(kept) + 1)


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    """A real limit on the file's size, in a process of its own."""
    made = journal(tmp_path, day(1, 0.5))
    before = (tmp_path / EVENTS).read_text()
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "from caviar.panda.journal import Journal, event\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 20},) * 2)\n"
        "try:\n    Journal(Path(sys.argv[1])).write(event('note', 0, 1, 11, why='x' * 99))\n"
        "except OSError as error:\n    print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    assert "File too large" in said
    assert (tmp_path / EVENTS).read_text() == before
    made.write(day(2, 0.4))
    assert [e.day for e in made.events()] == [0, 1, 2]


def test_branches_and_days_follow_from_the_journal(tmp_path: Path) -> None:
    events = [day(1, 0.5), day(2, 0.4), day(3, 9.0)]
    made = journal(tmp_path, *events)
    made.write(back_event(made.events(), 2, 35, {"optimizer.lr": [0.1, 0.05]}, "a jump"))
    made.write(day(3, 0.3, branch=1))
    made.write(back_event(made.events(), 1, 30, {}, ""))
    lineage = Lineage.of(made.events())
    assert (lineage.branch, lineage.origins) == (2, {1: (0, 2), 2: (1, 1)})
    assert [(e.branch, e.day) for e in lineage.days()] == [(0, 1)]
    assert [(e.branch, e.day) for e in lineage.days(1)] == [(0, 1), (0, 2), (1, 3)]
    assert lineage.values == {"optimizer.lr": 0.05}
    assert [e.step for e in made.events() if e.kind == BACK] == [20, 10]
    with pytest.raises(UserError, match="this branch has days 0 to 1"):
        lineage.day(2)


@pytest.mark.parametrize(
    "kind", [START, DAY, SET, BACK, NOTE, "resume", "stop", "diverged", "finish"]
)
def test_every_event_has_words(kind: str) -> None:
    assert "branch 0, day 1, step 2" in sentence(event(kind, 0, 1, 2))


# -- the record


def test_the_record_keeps_other_branches(tmp_path: Path) -> None:
    for branch, step in ((0, 9), (0, 19), (1, 9), (0, 29)):
        append_row(tmp_path, {"branch": branch, "step": step, "val/loss": float("nan")})
    kept = keep_until(tmp_path, 0, 20)
    assert [row["step"] for row in kept] == [9, 19]
    assert [(row["branch"], row["step"]) for row in rows(tmp_path)] == [(0, 9), (0, 19), (1, 9)]
    assert rows(tmp_path)[0]["val/loss"] != rows(tmp_path)[0]["val/loss"]  # NaN


# -- the inbox


def answering(inbox: Inbox, count: int) -> threading.Thread:
    """A run that takes so many requests."""

    def serve() -> None:
        taken = 0
        while taken < count:
            request = inbox.take()
            if request is not None:
                taken += 1
                inbox.answer(request, number=taken, got=dict(request.what))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def test_two_nudges_at_once_are_taken_one_after_the_other(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    answers: list[dict[str, Any]] = []
    with running(tmp_path):
        asked = [
            threading.Thread(target=lambda n=n: answers.append(inbox.ask({"n": n}, 20)))
            for n in range(2)
        ]
        for thread in asked:
            thread.start()
        answering(inbox, 2).join(20)
        for thread in asked:
            thread.join(20)
    assert sorted(a["number"] for a in answers) == [1, 2]
    assert sorted(a["got"]["n"] for a in answers) == [0, 1]


def test_nobody_is_there_to_be_asked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not run; caviar panda start"):
        Inbox(tmp_path).ask({}, 5)


def test_a_run_that_dies_with_a_request_in_its_hands(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    said: list[str] = []

    def ask() -> None:
        with pytest.raises(UserError) as refused:
            inbox.ask({}, 20)
        said.append(str(refused.value))

    with running(tmp_path):
        asking = threading.Thread(target=ask)
        asking.start()
        while inbox.take() is None:
            pass
    asking.join(20)
    assert said == ["the run took this and ended; see caviar panda log"]


def test_a_run_that_does_not_answer_loses_the_request(tmp_path: Path) -> None:
    with running(tmp_path), pytest.raises(UserError, match="has not answered; nothing was changed"):
        Inbox(tmp_path).ask({}, 0.2)
    assert os.listdir(tmp_path / INBOX) == []


def test_only_one_process_trains_in_a_folder(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    with running(tmp_path):
        assert is_running(tmp_path)
        with pytest.raises(UserError, match="runs already"), running(tmp_path):
            pass
    assert not is_running(tmp_path)


# -- the keeper


def decided(
    values: Sequence[float], *done: Event, mode: str = "min", diverged: bool = False
) -> Action | None:
    days = [day(n, v) for n, v in enumerate(values, start=1)]
    return decide(Rules(), [*days, *done], days, mode, diverged)


def by_keeper(kind: str, number: int, **facts: Any) -> Event:
    return event(kind, 0, number, 0, by="keeper", facts=facts)


def test_the_keeper_lets_a_good_run_be() -> None:
    assert decided([0.9, 0.7, 0.5, 0.4]) is None
    assert decided([]) is None


def test_the_keeper_goes_back_when_it_diverged() -> None:
    action = decided([0.9, 0.7], diverged=True)
    assert action is not None
    assert (action.back_to, action.lr) == (2, 0.5)
    first = decided([], diverged=True)
    assert first is not None
    assert first.back_to == 0


def test_the_keeper_goes_further_back_when_that_did_not_help() -> None:
    tried = [by_keeper(BACK, 2, to=2), by_keeper(BACK, 2, to=2)]
    action = decided([0.9, 0.7], *tried, diverged=True)
    assert action is not None
    assert action.back_to == 1


@pytest.mark.parametrize(
    ("values", "mode", "back"),
    [
        ([0.5, 0.4, 0.9], "min", 2),
        ([0.5, 0.4, 0.7], "min", None),
        ([0.9, 0.95, 0.4], "max", 2),
        ([0.9, 0.95, 0.6], "max", None),
        ([0.5, 0.4, 1.0, 2.0], "min", 2),
        ([float("nan"), 0.5], "min", None),
    ],
)
def test_a_jump(values: Sequence[float], mode: str, back: int | None) -> None:
    action = decided(values, mode=mode)
    assert (action.back_to if action else None) == back


def test_a_plateau_lowers_the_lr_and_at_last_stops() -> None:
    flat = [0.9, 0.5, 0.5, 0.499, 0.5]
    action = decided(flat)
    assert action is not None
    assert (action.back_to, action.lr, action.stop) == (None, 0.5, False)
    assert decided(flat, by_keeper(SET, 4)) is None  # give it its days
    stop = decided(flat, *[by_keeper(SET, n) for n in (0, 1, 1)])
    assert stop is not None
    assert stop.stop


def test_a_day_without_a_validation_says_nothing() -> None:
    days = [day(1, 0.9), day(2, 0.5)]
    silent = [event(DAY, 0, n, 0, facts={"value": 0.5, "validated": False}) for n in range(3, 9)]
    assert decide(Rules(), [*days, *silent], [*days, *silent], "min", False) is None


def test_the_keeper_has_a_limit() -> None:
    action = decided([0.5], *[by_keeper(BACK, 1, to=1)] * 10, diverged=True)
    assert action is not None
    assert action.stop
    assert "its limit" in action.why


# -- the plot


def test_a_curve_in_characters() -> None:
    points = [(float(s), 1.0 / (1 + s)) for s in range(0, 100, 10)]
    lines = plot(points, [50.0], width=60, height=8, logarithmic=True)
    assert len(lines) == 10
    assert sum(line.count("●") for line in lines) == 10
    assert lines[8].count("▲") == 1
    assert max(map(len, lines)) <= 60
    assert lines[0].split("│")[1][0] == "●"  # the highest value, at the left
    assert plot([], [], 60, 8, True) == ["no value yet"]
    assert sum(line.count("●") for line in plot([(3.0, 0.5)], [], 60, 8, True)) == 1
