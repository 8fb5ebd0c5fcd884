"""A panda from end to end: real processes, nudged, stopped, killed and sent back."""

from __future__ import annotations

import json
import math
import os
import pty
import select
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from caviar.panda.inbox import is_running
from caviar.panda.journal import BACK, DAY, DIVERGED, FINISH, SET, Event, Journal, Lineage
from caviar.panda.record import rows
from caviar.training.checkpoints import read_checkpoint
from conftest import ROOT, Process, Start, awaited, done
from wandb_standin import Service

pytestmark = pytest.mark.slow

PAIR = ("p", "whole")  # a run that was interrupted, and one that was not
SLOW = "model._target_=slow_models.Slow"


def panda(start: Start, verb: str, *arguments: str) -> Process:
    return start("caviar", "panda", verb, "search.study=p", *arguments)


def events(runs: Path, kind: str | None = None, study: str = "p") -> list[Event]:
    return [e for e in Journal(runs / study).events() if kind in (None, e.kind)]


def days(runs: Path, branch: int = 0) -> int:
    """Days that a branch has ended."""
    return max((e.day for e in events(runs, DAY) if e.branch == branch), default=0)


def learned(folder: Path, branch: int = 0) -> list[dict[str, Any]]:
    """All that a branch logged, without the time."""
    kept = [row for row in rows(folder) if row["branch"] == branch]
    return [{k: v for k, v in row.items() if k != "time"} for row in kept]


def test_a_run_is_nudged_goes_wrong_is_sent_back_and_ends(start: Start, runs: Path) -> None:
    run = panda(start, "start", SLOW, "trainer.max_epochs=60", "scheduler=none")
    awaited(lambda: days(runs) >= 2)
    printed = done(panda(start, "set", "optimizer.lr=*1.5", "--why", "flat since\nday 2"))
    assert "optimizer.lr 0.01 → 0.015, in force within one step of step" in printed
    (nudge,) = events(runs, SET)
    assert (nudge.changes, nudge.why) == ({"optimizer.lr": [0.01, 0.015]}, "flat since day 2")
    # The logged lr changes at that step, and stays.
    awaited(lambda: days(runs) >= nudge.day + 1)
    lrs = [(row["step"], row["lr"]) for row in rows(runs / "p") if "lr" in row]
    assert {lr for step, lr in lrs if step < nudge.step} == {0.01}
    assert {lr for step, lr in lrs if step >= nudge.step} == {0.015}
    assert (nudge.step, 0.015) in lrs
    after = next(e for e in events(runs, DAY) if e.day == nudge.day + 1)
    assert after.facts["after"] == "optimizer.lr 0.015"

    # What must not be, says why, and changes nothing.
    outside = done(panda(start, "set", "optimizer.lr=30"), 2)
    assert "outside of the declared space, 0.0001 to 1; write --force" in outside
    assert "it shapes the weights" in done(panda(start, "set", "model.width=32"), 2)
    assert "runs already" in done(panda(start, "start"), 2)

    done(panda(start, "set", "optimizer.lr=1e30", "--force", "--why", "on purpose"))
    printed = done(run)
    assert "it diverged; go back: caviar panda back --to day" in printed
    assert events(runs)[-1].kind == DIVERGED
    assert "does not run" in done(panda(start, "set", "optimizer.lr=0.02"), 2)

    assert "there is no" not in done(panda(start, "back", "--to", "day2", "optimizer.lr=0.02"))
    assert f"has days 0 to {2}" in done(panda(start, "back", "--to", "day50"), 2)
    done(panda(start, "start", "trainer.max_epochs=6"))
    assert events(runs)[-1].kind == FINISH
    lineage = Lineage.of(events(runs))
    assert (lineage.branch, lineage.origins) == (1, {1: (0, 2)})
    assert [(e.branch, e.day) for e in lineage.days()] == [
        (0, 1), (0, 2), (1, 3), (1, 4), (1, 5), (1, 6),
    ]  # fmt: skip
    # The values in force, not the checkpoint's; and the old branch stays on record.
    again = [row["lr"] for row in learned(runs / "p", 1) if "lr" in row]
    assert set(again) == {0.02}
    assert max(row["step"] for row in learned(runs / "p", 0)) >= events(runs, SET)[1].step
    journal = done(panda(start, "log"))
    assert journal == (runs / "p/journal.md").read_text()
    assert "of branch 0, with optimizer.lr 1e+30 → 0.02" in journal
    assert "“flat since day 2”" in journal
    done(panda(start, "picture"))
    assert (runs / "p/panda.png").read_bytes().startswith(b"\x89PNG")
    assert "is finished" in done(panda(start, "start"), 2)


def test_stopped_killed_and_continued_is_the_same_to_the_last_bit(start: Start, runs: Path) -> None:
    """Dropout, a schedule, and a nudge before it all."""
    settings = [SLOW, "model.dropout=0.2", "trainer.max_epochs=14", "data.batch_size=16"]
    done(start("caviar", "panda", "start", "search.study=whole", *settings))
    run = panda(start, "start", *settings)
    awaited(lambda: days(runs) >= 2)
    run.send(signal.SIGINT)
    assert "caviar panda start search.study=p goes on" in done(run, 130)
    run = panda(start, "start")
    awaited(lambda: days(runs) >= 5)
    os.killpg(run.popen.pid, signal.SIGKILL)
    run.wait()
    assert not is_running(runs / "p")
    run = panda(start, "start")
    awaited(lambda: days(runs) >= 9)
    done(panda(start, "stop"))
    done(run, 143)
    done(panda(start, "start"))
    assert learned(runs / "p") == learned(runs / "whole")
    ended = [[(e.day, e.step, e.facts["value"]) for e in events(runs, DAY, s)] for s in PAIR]
    assert ended[0] == ended[1]


def test_days_of_steps_are_exact_too(start: Start, runs: Path) -> None:
    settings = [SLOW, "model.dropout=0.2", "trainer.max_epochs=5", 'panda.day="25 steps"']
    done(start("caviar", "panda", "start", "search.study=whole", *settings))
    run = panda(start, "start", *settings)
    awaited(lambda: days(runs) >= 2)
    os.killpg(run.popen.pid, signal.SIGKILL)
    run.wait()
    done(panda(start, "start"))
    assert [(e.day, e.step) for e in events(runs, DAY)] == [
        (1, 25), (2, 50), (3, 75), (4, 100), (5, 125), (6, 150),
    ]  # fmt: skip
    assert learned(runs / "p") == learned(runs / "whole")


def test_whatever_can_be_changed_is(start: Start, runs: Path) -> None:
    """And it is in force in what the optimizer and the schedule do, and after a restart."""
    run = panda(start, "start", SLOW, "optimizer=adamw", "scheduler=step", "trainer.max_epochs=99")
    awaited(lambda: days(runs) >= 1)
    changes = [
        "optimizer.beta1=0.95", "optimizer.weight_decay=0.02", "optimizer.eps=1e-7",
        "scheduler.gamma=0.9", "scheduler.step_size=2", "trainer.gradient_clip_val=1",
        "model.dropout=0.1", "data.batch_size=64",
    ]  # fmt: skip
    printed = done(panda(start, "set", *changes))
    assert "data.batch_size 32 → 64, in force at the next epoch of" in printed
    assert "model.dropout 0 → 0.1, in force within one step of" in printed
    now = days(runs)
    awaited(lambda: days(runs) >= now + 3)
    done(panda(start, "stop"))
    done(run, 143)
    checkpoint = read_checkpoint(runs / "p/checkpoints/last.ckpt")
    (group,) = checkpoint["optimizer_states"][0]["param_groups"]
    assert (group["betas"], group["weight_decay"], group["eps"]) == ((0.95, 0.999), 0.02, 1e-7)
    (schedule,) = checkpoint["lr_schedulers"]
    assert (schedule["gamma"], schedule["step_size"]) == (0.9, 2)
    assert group["lr"] == pytest.approx(0.001 * 0.9 ** (schedule["last_epoch"] // 2))
    steps = [e.step for e in events(runs, DAY)]
    assert (steps[1] - steps[0], steps[-1] - steps[-2]) == (34, 17)
    # A value that was set holds for those who start it again, too.
    run = panda(start, "start", "optimizer.lr=*2")
    awaited(lambda: days(runs) > len(steps))
    done(panda(start, "stop"))
    done(run, 143)
    config = yaml.safe_load((runs / "p/config.yaml").read_text())
    assert (config["model"]["dropout"], config["data"]["batch_size"]) == (0.1, 64)
    assert config["optimizer"]["lr"] == 0.002
    other = panda(start, "start", "model.width=32")
    assert "was begun without it, and goes on as it is" in done(other, 2)


def test_a_longer_run_has_a_longer_cosine(start: Start, runs: Path) -> None:
    """The checkpoint's length of the schedule would let the lr climb again."""
    done(panda(start, "start", "scheduler=cosine", "trainer.max_epochs=3"))
    done(panda(start, "start", "trainer.max_epochs=6"))
    lrs = [e.facts["lr"] for e in events(runs, DAY)]
    whole = [0.01 * (1 + math.cos(math.pi * epoch / 6)) / 2 for epoch in (5, 6)]
    assert lrs[4:] == pytest.approx(whole)  # at a day's end, that of the next epoch


def test_days_by_the_clock(start: Start, runs: Path) -> None:
    done(panda(start, "start", SLOW, "trainer.max_epochs=12", 'panda.day="0.01 minutes"'))
    assert days(runs) >= 2  # some 2.4 s of training, in days of 0.6 s


def test_the_keeper_saves_a_run_that_diverges(start: Start, runs: Path) -> None:
    """With no hand on it: day 2 goes wrong, and it goes on from day 1 with half the lr."""
    diverges = ["model._target_=slow_models.DivergesLater", "scheduler=none"]
    printed = done(panda(start, "start", *diverges, "panda.keeper=true", "trainer.max_epochs=4"))
    assert "back to day 1, as branch 1" in printed
    (back,) = events(runs, BACK)
    assert (back.by, back.facts, back.changes) == (
        "keeper", {"from": 0, "to": 1, "left": back.facts["left"]}, {"optimizer.lr": [0.01, 0.005]},
    )  # fmt: skip
    assert "NaN or infinite" in back.why
    assert events(runs)[-1].kind == FINISH
    assert days(runs, 1) == 4
    assert "(keeper)" in (runs / "p/journal.md").read_text()


def test_days_inside_of_epochs_know_a_loss_that_is_no_number(start: Start, runs: Path) -> None:
    """No such day is a good one; and one without a validation is no plateau."""
    inside = ["model._target_=slow_models.DivergesLater", "scheduler=none", 'panda.day="5 steps"']
    printed = done(panda(start, "start", *inside, "trainer.max_epochs=3"))
    assert "go back: caviar panda back --to day10" in printed  # it goes wrong behind step 50
    assert (days(runs), events(runs)[-1].kind) == (10, DIVERGED)
    good = ["search.study=good", 'panda.day="5 steps"', "panda.keeper=true", "trainer.max_epochs=3"]
    done(start("caviar", "panda", "start", *good))
    assert not [e for e in events(runs, study="good") if e.by == "keeper"]
    assert events(runs, study="good")[-1].kind == FINISH


def test_the_same_command_goes_on_as_it_is(start: Start, runs: Path) -> None:
    command = ["optimizer.lr=0.02", "trainer.max_epochs=4", "seed=null"]
    done(panda(start, "start", *command))
    seed = json.loads((runs / "p/result.json").read_text())["seed"]
    best = (runs / "p/checkpoints/branch0/best.ckpt").read_bytes()
    assert "leaves nothing to train" in done(panda(start, "start", "trainer.max_epochs=2"), 2)
    done(panda(start, "back", "--to", "day2", "optimizer.lr=0.005"))
    done(panda(start, "start", *command))
    assert Lineage.of(events(runs)).values == {"optimizer.lr": 0.005}
    assert next(e.facts["lr"] for e in events(runs, DAY) if e.branch == 1) < 0.005
    assert json.loads((runs / "p/result.json").read_text())["seed"] == seed
    # The branch that was left keeps its best, and the new one has its own.
    assert (runs / "p/checkpoints/branch0/best.ckpt").read_bytes() == best
    assert (runs / "p/checkpoints/branch1/best.ckpt").exists()
    # A config that was cut off is written again.
    (runs / "p/config.yaml").write_text("")
    assert "is damaged; caviar panda start writes it again" in done(panda(start, "watch"), 2)


def test_a_keeper_that_came_later_stays_and_goes_no_further_back_than_a_fork(
    start: Start, runs: Path
) -> None:
    diverges = ["model._target_=slow_models.DivergesLater", "scheduler=none"]
    done(panda(start, "start", *diverges, "trainer.max_epochs=1"))
    copy = ["fork", "copy", "search.study=p", "trainer.max_epochs=3"]
    done(start("caviar", "panda", *copy))
    later = ["panda.keeper=true", "trainer.max_epochs=3"]
    done(panda(start, "start", *later))
    done(start("caviar", "panda", "back", "search.study=copy", "--to", "day1"))
    done(start("caviar", "panda", "start", "search.study=copy", "panda.keeper=true"))
    for study in ("p", "copy"):
        (back,) = [e for e in events(runs, BACK, study) if e.by == "keeper"]
        assert (back.day, back.facts["to"]) == (1, 1)
        assert yaml.safe_load((runs / study / "config.yaml").read_text())["panda"]["keeper"]
        assert events(runs, study=study)[-1].kind == FINISH


def test_every_rank_takes_a_nudge_at_the_same_step(start: Start, runs: Path) -> None:
    distributed = ["trainer=ddp_cpu", "model._target_=slow_models.RanksAgree"]
    run = panda(start, "start", *distributed, "trainer.max_epochs=40")
    awaited(lambda: days(runs) >= 1)
    done(panda(start, "set", "optimizer.lr=*3", "optimizer.momentum=0.5", "--force"))
    awaited(lambda: days(runs) >= events(runs, SET)[0].day + 1)
    done(panda(start, "back", "--to", "day1", "data.batch_size=64", "trainer.max_epochs=5"))
    printed = done(run)
    assert "AssertionError" not in printed
    assert events(runs)[-1].kind == FINISH
    assert days(runs, 1) == 5
    ends = [e.step for e in events(runs, DAY) if e.branch == 1]
    per_day = {later - sooner for sooner, later in pairwise(ends)}
    assert per_day == {9}  # 1,078 images, two processes, 64 each


def test_a_fork_runs_beside_it(start: Start, runs: Path) -> None:
    done(panda(start, "start", "trainer.max_epochs=3", "scheduler=none"))
    copy = ["fork", "calmer", "search.study=p"]
    done(start("caviar", "panda", *copy, "--from", "day2", "optimizer.lr=*0.5"))
    ended = events(runs, DAY, "calmer")
    assert [(e.day, e.facts["lr"]) for e in ended] == [(3, 0.005)]
    assert "a copy of p, branch 0, day 2" in (runs / "calmer/journal.md").read_text()
    assert "calmer is there already" in done(start("caviar", "panda", *copy), 2)


def test_one_wandb_run_however_often_it_is_stopped(
    start: Start, runs: Path, service: Service
) -> None:
    run = panda(start, "start", SLOW, "trainer.max_epochs=60", "logger=wandb")
    awaited(lambda: days(runs) >= 2)
    done(panda(start, "stop"))
    done(run, 143)
    done(panda(start, "back", "--to", "day1"))
    done(panda(start, "start", "trainer.max_epochs=4"))
    (only,) = service.state.runs.values()
    assert only.state == "finished"
    logged = [h["val/loss"] for h in only.history if "val/loss" in h]
    assert len(logged) >= 5
    steps = [h["trainer/global_step"] for h in only.history if "val/loss" in h]
    assert steps != sorted(steps)  # it went back, in the same record


def test_the_screen_in_a_terminal(start: Start, runs: Path) -> None:
    """A real pseudo-terminal: the curve is drawn, a key nudges, q leaves."""
    run = panda(start, "start", SLOW, "trainer.max_epochs=200")
    awaited(lambda: days(runs) >= 3)
    ours, theirs = pty.openpty()
    code = "from caviar.cli import main; main()"
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "34"}
    watch = subprocess.Popen(
        [sys.executable, "-c", code, "panda", "watch", "search.study=p"],
        cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    seen = ""

    def sees(text: str) -> bool:
        nonlocal seen
        while select.select([ours], [], [], 0)[0]:
            try:
                seen += os.read(ours, 65536).decode(errors="replace")
            except OSError:  # it has ended
                break
        return text in seen

    try:
        awaited(lambda: sees("●") and sees("[q] quit"))
        os.write(ours, b"+")
        awaited(lambda: sees("▲"))
        assert events(runs, SET)[0].changes == {"optimizer.lr": [0.01, 0.015]}
        os.write(ours, b"b")
        awaited(lambda: sees("y to do it"))
        os.write(ours, b"y")
        awaited(lambda: bool(events(runs, BACK)))
        os.write(ours, b"q")
        assert watch.wait(20) == 0
    finally:
        watch.kill()
        watch.wait()
        os.close(ours)
    awaited(lambda: days(runs, 1) >= 4)
    done(panda(start, "stop"))
    done(run, 143)
    assert json.loads((runs / "p/journal.jsonl").read_text().splitlines()[0])["kind"] == "start"
