"""A panda's journal, its record of metrics, and its inbox: files, and no training."""

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
from rich.console import Console

from caviar.base.errors import UserError
from caviar.pages.panda import panda_sections
from caviar.panda.inbox import INBOX, Inbox, is_running, run_state, running
from caviar.panda.journal import (
    BACK,
    DAY,
    DIVERGED,
    EVENTS,
    FINISH,
    NOTE,
    READABLE,
    RESUME,
    SET,
    START,
    STOP,
    Event,
    Journal,
    Lineage,
    back_event,
    event,
    sentence,
)
from caviar.panda.record import append_row, keep_until, rows
from caviar.panda.screen import screen
from conftest import awaited


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


@pytest.mark.slow
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
    printed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    assert "File too large" in printed
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
    ("ends", "state"),
    [
        ([], "stopped"),  # killed in its first day
        ([DAY, STOP], "stopped"),
        ([DAY, FINISH], "finished"),
        ([DAY, DIVERGED, NOTE], "diverged"),
        ([DAY, FINISH, BACK], "stopped"),  # sent back, and not started again
        ([DAY, STOP, RESUME], "stopped"),  # killed since
    ],
)
def test_one_word_says_how_a_run_is_on_screen_and_page(
    tmp_path: Path, ends: Sequence[str], state: str
) -> None:
    folder = tmp_path / "p"
    origin = {"from": 0, "to": 0}
    made = journal(folder, *(event(kind, int(kind == BACK), 1, 10, facts=origin) for kind in ends))
    config = "metric: {name: val/loss, mode: min}\n"
    (folder / "config.yaml").write_text(config, encoding="utf-8")

    def says(word: str) -> bool:
        console = Console(width=100)
        with console.capture() as captured:
            console.print(screen(folder, ""))
        page, *_ = panda_sections(folder)
        assert run_state(folder, Lineage.of(made.events())) == word
        assert f"p is {word}, after" in page.words[0]
        return f"· {word}" in captured.get()

    assert says(state)
    with running(folder):
        assert says("running")


@pytest.mark.parametrize("kind", [START, DAY, SET, BACK, NOTE, RESUME, STOP, DIVERGED, FINISH])
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


@pytest.mark.parametrize(
    ("dies", "message"),
    [
        (True, "the run took this and ended; see caviar panda log"),
        (False, "the run took this, but has not answered; see caviar panda log for whether it"),
    ],
)
def test_a_run_that_took_a_request_and_says_nothing(
    tmp_path: Path, dies: bool, message: str
) -> None:
    """It died with the request in its hands; or its disk is full, and the answer is a file too."""
    inbox = Inbox(tmp_path)
    refusals: list[str] = []

    def ask() -> None:
        with pytest.raises(UserError) as refused:
            inbox.ask({}, 20 if dies else 0.3)
        refusals.append(str(refused.value))

    asking = threading.Thread(target=ask, daemon=True)
    with running(tmp_path):
        asking.start()
        awaited(lambda: inbox.take() is not None)
        if not dies:
            asking.join(20)
    asking.join(20)
    assert len(refusals) == 1
    assert refusals[0].startswith(message)


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
