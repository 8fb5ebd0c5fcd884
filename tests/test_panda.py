"""A panda that nobody interrupts: begun, refused, sent back, gone on with and copied.

All trains inside the test's own process, but for a keeper that goes back.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import yaml
from omegaconf import OmegaConf

from caviar.panda.force import InForce
from caviar.panda.journal import BACK, DAY, DIVERGED, FINISH, START, Journal, Lineage
from conftest import ROOT, Start, done
from panda_verbs import DIVERGES, SLOW, Verb, days, events
from test_schedules import Seen, by_hand, one_cycle, watched

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("slip", "message"),
    [
        ("panda.day=nonsense", "should be a number of epochs, steps, minutes or hours"),
        ("panda.rules.most=0", "panda.rules.most=0 should be 1 or more"),
        ("trainer.max_epoch=3", "did you mean trainer.max_epochs?"),
    ],
)
def test_what_is_refused_at_once_leaves_nothing(
    panda: Verb, runs: Path, slip: str, message: str
) -> None:
    assert message in panda("start", slip, code=2)
    assert not (runs / "p").exists()


@pytest.mark.parametrize(
    "slip", ["data.name=nothing", "model.width=wide", "metric.name=nothing", "trainer.devices=x"]
)
def test_what_is_refused_later_was_never_begun(panda: Verb, runs: Path, slip: str) -> None:
    """Else the slip would be in the journal for good: a run goes on as it was begun."""
    assert slip.partition("=")[2] in panda("start", slip, "trainer.max_epochs=1", code=2)
    assert not Journal(runs / "p").exists()
    panda("start", "trainer.max_epochs=1")
    assert [e.kind for e in events(runs)] == [START, DAY, FINISH]


def test_a_slip_of_one_who_goes_on_changes_nothing(panda: Verb, runs: Path) -> None:
    panda("start", "trainer.max_epochs=1", "scheduler=none")
    before = (runs / "p/journal.jsonl").read_text()
    assert "panda.day=nonsense" in panda("start", "panda.day=nonsense", code=2)
    for other in ("model.width=32", "foo=1"):
        assert "was begun without it" in panda("start", other, code=2)
    assert "is finished" in panda("start", code=2)
    assert "leaves nothing to train" in panda("start", "trainer.max_epochs=1e0", code=2)
    assert "has days 0 to 1" in panda("back", "--to", "day50", code=2)
    assert "does not run" in panda("set", "optimizer.lr=0.02", code=2)
    assert (runs / "p/journal.jsonl").read_text() == before


def test_a_longer_run_has_a_longer_cosine(panda: Verb, runs: Path) -> None:
    """The checkpoint's length of the schedule would let the lr climb again."""
    panda("start", "scheduler=cosine", "trainer.max_epochs=3")
    panda("start", "trainer.max_epochs=6")
    lrs = [e.facts["lr"] for e in events(runs, DAY)]
    whole = [0.01 * (1 + math.cos(math.pi * epoch / 6)) / 2 for epoch in (5, 6)]
    assert lrs[4:] == pytest.approx(whole)  # at a day's end, that of the next epoch


def test_a_schedule_by_the_step_follows_length_and_batch_size(panda: Verb, runs: Path) -> None:
    """OneCycleLR refuses to be stepped beyond its end, which smaller batches would be."""
    panda("start", "scheduler=one_cycle", "trainer.max_epochs=2", "data.batch_size=128")
    panda("start", "trainer.max_epochs=4", "data.batch_size=64", "optimizer.lr=0.02")
    lrs = [e.facts["lr"] for e in events(runs, DAY)]
    # At a day's end, that of the next step.
    assert lrs[2] == pytest.approx(0.2 * by_hand(one_cycle(4 * 17), 52)[-1])
    assert lrs[3] < 1e-4


def test_smaller_batches_do_not_outlast_a_schedule_by_the_step() -> None:
    """As `caviar panda set` changes them: nine batches in the first two epochs, then 17."""
    config = OmegaConf.create(
        {
            "scheduler": OmegaConf.load(ROOT / "conf/scheduler/one_cycle.yaml"),
            "optimizer": {"lr": 0.1},
            "data": {"batch_size": 128},
        }
    )
    force = InForce(config)

    class Nudge(Seen):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            force.follow_batch_size(trainer)

        def on_train_batch_start(
            self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
        ) -> None:
            super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
            if trainer.global_step == 12:
                force.put(trainer, {"data.batch_size": 64})

    seen = watched("one_cycle", seen=Nudge(), max_epochs=4)
    assert seen.lrs == by_hand(one_cycle(36), 36)[:18] + by_hand(one_cycle(68), 68)[34:]


def test_days_by_the_clock(panda: Verb, runs: Path) -> None:
    """At least 35 steps of 5 ms in an epoch, in days of 0.12 s."""
    panda("start", SLOW, "trainer.max_epochs=3", 'panda.day="0.002 minutes"')
    assert days(runs) >= 2
    assert events(runs)[-1].kind == FINISH


def test_the_same_command_goes_on_as_it_is(panda: Verb, runs: Path) -> None:
    command = ["optimizer.lr=0.02", "trainer.max_epochs=4", "seed=null"]
    panda("start", *command)
    seed = json.loads((runs / "p/result.json").read_text())["seed"]
    best = (runs / "p/checkpoints/branch0/best.ckpt").read_bytes()
    assert "leaves nothing to train" in panda("start", "trainer.max_epochs=2", code=2)
    panda("back", "--to", "day2", "optimizer.lr=0.005")
    panda("start", *command)
    assert Lineage.of(events(runs)).values == {"optimizer.lr": 0.005}
    assert next(e.facts["lr"] for e in events(runs, DAY) if e.branch == 1) < 0.005
    assert json.loads((runs / "p/result.json").read_text())["seed"] == seed
    # The branch that was left keeps its best, and the new one has its own.
    assert (runs / "p/checkpoints/branch0/best.ckpt").read_bytes() == best
    assert (runs / "p/checkpoints/branch1/best.ckpt").exists()
    # A config that was cut off is written again.
    (runs / "p/config.yaml").write_text("")
    assert "is damaged; caviar panda start writes it again" in panda("watch", code=2)


def test_days_inside_of_epochs_know_a_loss_that_is_no_number(panda: Verb, runs: Path) -> None:
    """No such day is a good one."""
    printed = panda("start", *DIVERGES, 'panda.day="5 steps"', "trainer.max_epochs=3")
    # It goes wrong behind step 50.
    assert "go back: caviar panda back search.study=p --to day10" in printed
    assert (days(runs), events(runs)[-1].kind) == (10, DIVERGED)


def test_a_day_that_is_put_off_by_a_step_puts_off_no_other(panda: Verb, runs: Path) -> None:
    """Where a validation is to come, no checkpoint is exact; an epoch has 34 steps."""
    validated = ["+trainer.val_check_interval=10", "trainer.max_epochs=2"]
    panda("start", 'panda.day="10 steps"', *validated)
    assert [e.step for e in events(runs, DAY)] == [11, 21, 31, 40, 50, 60]


def test_days_without_a_validation_are_no_plateau(panda: Verb, runs: Path) -> None:
    """Five days of an epoch in seven have none, and the keeper would take them for one."""
    panda("start", 'panda.day="5 steps"', "panda.keeper=true", "trainer.max_epochs=3")
    assert not [e for e in events(runs) if e.by == "keeper"]
    assert events(runs)[-1].kind == FINISH


def test_a_fork_runs_beside_it(panda: Verb, runs: Path) -> None:
    panda("start", "trainer.max_epochs=3", "scheduler=none")
    panda("fork", "calmer", "--from", "day2", "optimizer.lr=*0.5")
    ended = events(runs, DAY, "calmer")
    assert [(e.day, e.facts["lr"]) for e in ended] == [(3, 0.005)]
    assert "a copy of p, branch 0, day 2" in (runs / "calmer/journal.md").read_text()
    assert "calmer is there already" in panda("fork", "calmer", code=2)
    # The day that it was made from is its first, to which it can go back.
    assert "has days 2 to 3" in panda("back", "--to", "day1", study="calmer", code=2)
    panda("back", "--to", "day2", study="calmer")
    panda("start", study="calmer")
    again = events(runs, DAY, "calmer")[-1]
    assert (again.branch, again.day, again.step) == (1, 3, ended[0].step)


@pytest.mark.nightly
def test_a_keeper_that_came_later_saves_a_run_and_stays(
    start: Start, panda: Verb, runs: Path
) -> None:
    """With no hand on it: day 2 goes wrong, and it goes on from day 1 with half the lr."""
    panda("start", *DIVERGES, "trainer.max_epochs=1")
    later = ["panda.keeper=true", "trainer.max_epochs=3"]
    printed = done(start("caviar", "panda", "start", "search.study=p", *later))
    assert "back to day 1, as branch 1" in printed
    (back,) = events(runs, BACK)
    assert (back.by, back.facts, back.changes) == (
        "keeper", {"from": 0, "to": 1, "left": back.facts["left"]}, {"optimizer.lr": [0.01, 0.005]},
    )  # fmt: skip
    assert "NaN or infinite" in back.why
    assert "(keeper)" in (runs / "p/journal.md").read_text()
    # The process that took the first one's place was told nothing of a keeper.
    assert yaml.safe_load((runs / "p/config.yaml").read_text())["panda"]["keeper"]
    assert (days(runs, 1), events(runs)[-1].kind) == (3, FINISH)
