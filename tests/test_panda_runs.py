"""A panda that is interfered with: nudged, stopped, killed, sent back and watched, while it trains
in real processes."""

from __future__ import annotations

import signal
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from caviar.panda.inbox import is_running
from caviar.panda.journal import BACK, DAY, DIVERGED, FINISH, SET, STOP, Lineage
from caviar.panda.record import append_row, rows
from caviar.training.checkpoints import read_checkpoint
from conftest import Process, Start, awaited, done
from panda_verbs import SLOW, Verb, days, events, logged
from terminal import terminal
from wandb_standin import Service

pytestmark = pytest.mark.slow

SIGNALLED = "model._target_=slow_models.Signalled"
GOES_ON = "caviar panda start search.study=p goes on"


def begun(start: Start, *settings: str, **environment: str) -> Process:
    """A run that trains in a process of its own."""
    return start("caviar", "panda", "start", "search.study=p", *settings, **environment)


def test_a_run_is_nudged_goes_wrong_is_sent_back_and_ends(
    start: Start, panda: Verb, runs: Path
) -> None:
    run = begun(start, SLOW, "trainer.max_epochs=60", "scheduler=none")
    awaited(lambda: days(runs) >= 2)
    printed = panda("set", "optimizer.lr=*1.5", "--why", "flat since\nday 2")
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
    outside = panda("set", "optimizer.lr=30", code=2)
    assert "outside of the declared space, 0.0001 to 1; write --force" in outside
    assert "it shapes the weights" in panda("set", "model.width=32", code=2)
    assert "runs already" in panda("start", code=2)

    panda("set", "optimizer.lr=1e30", "--force", "--why", "on purpose")
    assert "it diverged; go back: caviar panda back search.study=p --to day" in done(run)
    assert events(runs)[-1].kind == DIVERGED

    panda("back", "--to", "day2", "optimizer.lr=0.02")
    panda("start", "trainer.max_epochs=4")
    assert events(runs)[-1].kind == FINISH
    lineage = Lineage.of(events(runs))
    assert (lineage.branch, lineage.origins) == (1, {1: (0, 2)})
    assert [(e.branch, e.day) for e in lineage.days()] == [(0, 1), (0, 2), (1, 3), (1, 4)]
    # The values in force, not the checkpoint's; and the old branch stays on record.
    assert {row["lr"] for row in logged(runs / "p", 1) if "lr" in row} == {0.02}
    assert max(row["step"] for row in logged(runs / "p", 0)) >= events(runs, SET)[1].step
    journal = panda("log")
    assert journal == (runs / "p/journal.md").read_text()
    assert "of branch 0, with optimizer.lr 1e+30 → 0.02" in journal
    assert "“flat since day 2”" in journal
    panda("picture")
    assert (runs / "p/panda.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("day", "signals"),
    [
        ("1 epoch", [(50, signal.SIGINT), (85, signal.SIGKILL), (150, signal.SIGTERM)]),
        pytest.param(
            "25 steps", [(60, signal.SIGKILL), (60, signal.SIGINT)], marks=pytest.mark.nightly
        ),
    ],
)
def test_stopped_killed_and_continued_is_the_same_to_the_last_bit(
    start: Start,
    panda: Verb,
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    day: str,
    signals: list[tuple[int, signal.Signals]],
) -> None:
    """With dropout and a schedule; an epoch has 34 steps, so each signal comes inside of one."""
    settings = [SIGNALLED, "model.dropout=0.2", "trainer.max_epochs=5", f'panda.day="{day}"']
    panda("start", *settings, study="whole")
    for step, number in signals:
        at = f"{step}:{number.value}"
        if number == signal.SIGKILL:
            done(begun(start, *settings, SIGNAL_AT=at), -number)
            assert not is_running(runs / "p")
            # What it had logged behind its last checkpoint, it will log once more.
            append_row(runs / "p", {"branch": 0, "step": step, "time": 0.0, "lr": 7.0})
        else:
            monkeypatch.setenv("SIGNAL_AT", at)
            assert GOES_ON in panda("start", *settings, code=128 + number)
            assert events(runs, STOP)[-1].step in (step, step + 1)  # not where its day began
        settings = []
    monkeypatch.delenv("SIGNAL_AT")
    panda("start")
    assert logged(runs / "p") == logged(runs / "whole")
    ended, whole = (
        [(e.day, e.step, e.facts["value"]) for e in events(runs, DAY, study)]
        for study in ("p", "whole")
    )
    assert ended == whole
    length = 34 if day == "1 epoch" else 25
    assert [step for _, step, _ in ended] == list(range(length, 171, length))


@pytest.mark.nightly
def test_whatever_can_be_changed_is(start: Start, panda: Verb, runs: Path) -> None:
    """And it is in force in what the optimizer and the schedule do, and after a restart."""
    run = begun(start, SLOW, "optimizer=adamw", "scheduler=step", "trainer.max_epochs=99")
    awaited(lambda: days(runs) >= 1)
    changes = [
        "optimizer.beta1=0.95", "optimizer.weight_decay=0.02", "optimizer.eps=1e-7",
        "scheduler.gamma=0.9", "scheduler.step_size=2", "trainer.gradient_clip_val=1",
        "model.dropout=0.1", "data.batch_size=64",
    ]  # fmt: skip
    printed = panda("set", *changes)
    assert "data.batch_size 32 → 64, in force at the next epoch of" in printed
    assert "model.dropout 0 → 0.1, in force within one step of" in printed
    now = days(runs)
    awaited(lambda: days(runs) >= now + 3)
    panda("stop")
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
    panda("start", "optimizer.lr=*2", f"trainer.max_epochs={len(steps) + 1}")
    config = yaml.safe_load((runs / "p/config.yaml").read_text())
    assert (config["model"]["dropout"], config["data"]["batch_size"]) == (0.1, 64)
    assert config["optimizer"]["lr"] == 0.002


@pytest.mark.nightly
def test_every_rank_takes_a_nudge_at_the_same_step(start: Start, panda: Verb, runs: Path) -> None:
    distributed = ["trainer=ddp_cpu", "model._target_=slow_models.RanksAgree"]
    run = begun(start, *distributed, "trainer.max_epochs=40")
    awaited(lambda: days(runs) >= 1)
    panda("set", "optimizer.lr=*3", "optimizer.momentum=0.5", "--force")
    awaited(lambda: days(runs) >= events(runs, SET)[0].day + 1)
    panda("back", "--to", "day1", "data.batch_size=64", "trainer.max_epochs=3")
    assert "AssertionError" not in done(run)
    assert events(runs)[-1].kind == FINISH
    assert days(runs, 1) == 3
    ends = [e.step for e in events(runs, DAY) if e.branch == 1]
    per_day = {later - sooner for sooner, later in pairwise(ends)}
    assert per_day == {9}  # 1,078 images, two processes, 64 each


@pytest.mark.nightly
def test_one_wandb_run_however_often_it_is_stopped(
    start: Start, panda: Verb, runs: Path, service: Service
) -> None:
    done(begun(start, SIGNALLED, "logger=wandb", SIGNAL_AT=f"110:{signal.SIGTERM.value}"), 143)
    panda("back", "--to", "day1")
    done(begun(start, "trainer.max_epochs=4"))
    (only,) = service.state.runs.values()
    assert only.state == "finished"
    steps = [h["trainer/global_step"] for h in only.history if "val/loss" in h]
    assert len(steps) >= 6
    assert steps != sorted(steps)  # it went back, in the same record


@pytest.mark.nightly
def test_the_screen_in_a_terminal(start: Start, runs: Path) -> None:
    """A real pseudo-terminal: the curve is drawn, a key nudges, q leaves."""
    begun(start, SLOW, "trainer.max_epochs=200")
    awaited(lambda: days(runs) >= 3)
    with terminal("panda", "watch", "search.study=p") as watch:
        awaited(lambda: watch.sees("●") and watch.sees("[q] quit") and watch.sees("running"))
        watch.type("+")
        awaited(lambda: watch.sees("▲"))
        assert events(runs, SET)[0].changes == {"optimizer.lr": [0.01, 0.015]}
        watch.type("b")
        awaited(lambda: watch.sees("y to do it"))
        watch.type("y")
        awaited(lambda: bool(events(runs, BACK)))
        watch.type("q")
        assert watch.process.wait(20) == 0
    awaited(lambda: bool([e for e in events(runs, DAY) if e.branch == 1]))
