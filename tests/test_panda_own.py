"""A panda of modules with optimizers of their own: whatever it reads, says and changes is real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from caviar.panda.groups import Groups
from caviar.panda.inbox import is_running
from caviar.panda.journal import BACK, DAY, FINISH, MOVES, SET, STOP
from caviar.training.checkpoints import read_checkpoint
from conftest import Start, awaited, done
from panda_verbs import Verb, days, events, logged

pytestmark = pytest.mark.slow

ASKS = "+callbacks.asks={_target_:own_optimizers.Asks}"
GAN = ["~model", "+model={_target_:own_optimizers.Gan,lr_g:0.0004}"]
PARTIAL = [
    "model._target_=own_optimizers.Partial",
    "model.dropout=0.2",
    "+model.optimizer={_target_:torch.optim.SGD,_partial_:true,lr:0.01,momentum:0.9}",
    "+model.schedule={_target_:torch.optim.lr_scheduler.CosineAnnealingLR,_partial_:true,T_max:99}",
]


def asking(monkeypatch: pytest.MonkeyPatch, **requests: Any) -> None:
    """Let `Asks` ask: `at40={"set": […]}`."""
    asked = {name.removeprefix("at"): what for name, what in requests.items()}
    monkeypatch.setenv("ASKS", json.dumps(asked))


def answers(runs: Path, study: str = "p") -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((runs / study / "outbox").glob("*"))]


def rates(runs: Path, branch: int, study: str = "p") -> dict[int, Any]:
    """Day → the real rates of the next step, as its line in the journal has them."""
    ended = [e for e in events(runs, DAY, study) if e.branch == branch]
    return {e.day: e.facts["lr"] for e in ended}


def initial(runs: Path, place: str, study: str = "p") -> list[float]:
    """Where the schedule of each group begins, in a checkpoint."""
    checkpoint = read_checkpoint(runs / study / "checkpoints" / place)
    states = checkpoint["optimizer_states"]
    return [group["initial_lr"] for state in states for group in state["param_groups"]]


def test_both_rates_of_a_gan_are_halved(
    panda: Verb, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The generator's has a key and a schedule, the discriminator's neither."""
    halve = {"set": ["optimizer.lr=*0.5"], "why": "flat"}
    refused = [["optimizer.lr=0.1"], ["trainer.gradient_clip_val=1"], ["model.lr_g=/0"]]
    later = {f"at{50 + i}": {"set": typed} for i, typed in enumerate(refused)}
    asking(monkeypatch, at40=halve, **later, at56={"set": ["model.dropout=0.1"]})
    printed = panda("start", *GAN, "+model.dropout=0", ASKS, "trainer.max_epochs=3")
    assert "optimizer 1: lr 0.0004 (model.lr_g); optimizer 2: lr 0.0001" in printed
    nudge, dropout = events(runs, SET)
    assert nudge.changes == {"model.lr_g": [4e-4, 2e-4]}
    moved = [(m["where"], m["old"], m["new"]) for m in nudge.facts[MOVES]]
    assert moved == [("optimizer 1", 4e-4, 2e-4), ("optimizer 2", 1e-4, 5e-5)]
    assert dropout.changes == {"model.dropout": [0, 0.1]}
    assert "model.lr_g 0.0004 → 0.0002 (optimizer 1: lr 0.0004 → 0.0002; optimizer 2: lr" in panda(
        "log"
    )
    taken, *errors, _ = answers(runs)
    assert taken["lr"] == [1e-4, 5e-5]  # the schedule's factor is kept
    for said, error in zip(
        ["has optimizer.lr's value 0.01;", "this module optimizes by hand", "lr_g would be nan"],
        errors,
        strict=True,
    ):
        assert said in error["error"]
    assert rates(runs, 0) == {1: [2e-4, 1e-4], 2: 5e-5, 3: [2.5e-5, 5e-5]}
    at = [
        row for row in logged(runs / "p") if row["step"] == nudge.step and "lr/optimizer_1" in row
    ]
    assert (at[0]["lr/optimizer_1"], at[0]["lr/optimizer_2"]) == (1e-4, 5e-5)

    monkeypatch.delenv("ASKS")
    # What is in force is in force on every branch, and for the first weights too.
    panda("back", "--to", "day1", "model.lr_g=*0.5")
    panda("start")
    assert rates(runs, 1) == {2: 2.5e-5, 3: [1.25e-5, 2.5e-5]}
    panda("back", "--to", "day0")
    panda("start", "trainer.max_epochs=1")
    assert initial(runs, "last.ckpt") == [1e-4, 2.5e-5]
    # And in a copy, which may be nudged as it begins.
    panda("fork", "copy", "--from", "day1", "lr=*0.1", "trainer.max_epochs=2")
    assert initial(runs, "last.ckpt", "copy") == [1e-5, 2.5e-6]
    groups = Groups.of(events(runs, study="copy"))
    assert groups is not None
    assert groups.keys == {"model.lr_g": ("lr", [(0, 0)])}


def test_no_weight_decay_for_biases_stays(
    panda: Verb, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its module reads the config's optimizer, and makes two groups of it."""
    grouped = ["model._target_=own_optimizers.Grouped", "optimizer.weight_decay=0.01", ASKS]
    asked = ["optimizer.weight_decay=*10", "optimizer.lr=*2", "optimizer.momentum=0.8"]
    change = {"set": [*asked, "data.batch_size=64"], "force": True}
    asking(monkeypatch, at10=change, at12={"set": ["scheduler.rate=*2"]})
    panda("start", *grouped, 'panda.day="20 steps"', "trainer.max_epochs=2")
    checkpoint = read_checkpoint(runs / "p/checkpoints/last.ckpt")
    (state,) = checkpoint["optimizer_states"]
    kept = [(g["weight_decay"], g["lr"], g["momentum"]) for g in state["param_groups"]]
    assert kept == [(0.1, 0.02, 0.8), (0.0, 0.02, 0.8)]
    assert "group 2: weight_decay 0 stays" in (runs / "p/journal.md").read_text()
    assert (runs / "p/metrics.jsonl").read_text().count("lr/group_2") >= 2
    assert [e.step for e in events(runs, DAY)] == [20, 40]
    assert checkpoint["global_step"] == 34 + 17  # one epoch by the old size, one by the new
    assert "the schedule is the module's own" in answers(runs)[1]["error"]


def test_stopped_and_gone_on_with_is_the_same_to_the_last_bit(
    panda: Verb, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a nudge before, and one after; the head's rate has no key, and follows."""
    nudges = {"at20": {"set": ["model.optimizer.lr=*0.7"]}, "at60": {"set": ["lr=*1.3"]}}
    settings = [*PARTIAL, ASKS, "trainer.max_epochs=3"]
    asking(monkeypatch, **nudges)
    panda("start", *settings, study="whole")
    asking(monkeypatch, **nudges, at45={"stop": True})
    panda("start", *settings, code=143)
    assert rates(runs, 0, "whole")[1] == pytest.approx([0.007 * 0.7, 0.07 * 0.7], rel=0.4)
    panda("start")
    assert logged(runs / "p") == logged(runs / "whole")
    assert initial(runs, "last.ckpt") == initial(runs, "last.ckpt", "whole") == [0.0091, 0.091]


def test_the_keeper_lowers_all_rates(panda: Verb, runs: Path) -> None:
    """Every day, since none is a hundred times better than the one before."""
    rules = ["panda.keeper=true", "panda.rules.plateau.days=1", "panda.rules.plateau.better=0.99"]
    panda("start", "~model", "+model={_target_:own_optimizers.Gan}", *rules, "trainer.max_epochs=4")
    lowered = events(runs, SET)
    assert [(e.by, e.changes) for e in lowered] == [("keeper", {})] * 3
    moves = [[(m["old"], m["new"]) for m in e.facts[MOVES]] for e in lowered]
    assert moves[:2] == [[(4e-4, 2e-4), (1e-4, 5e-5)], [(2e-4, 1e-4), (5e-5, 2.5e-5)]]
    assert rates(runs, 0)[4] == [4e-4 / 2**2 / 2**4, 1e-4 / 2**2]
    text = (runs / "p/journal.md").read_text()
    assert "optimizer 1: lr 0.0004 → 0.0002; optimizer 2: lr 0.0001 → 5e-05 (keeper)" in text
    assert "after optimizer 1: lr 0.0004 → 0.0002; optimizer 2" in text
    watched = panda("watch")
    assert "lr of the schedule: 6.25e-06, 2.5e-05" in watched
    panda("picture")


def test_a_run_of_steps_with_loaders_of_its_own(panda: Verb, runs: Path) -> None:
    """No data module, no epochs to count to, and it goes on with more steps."""
    own = ["~data", "+data={}", "~model", "+model={_target_:own_optimizers.Loads,lr:0.01}"]
    steps = ["trainer.max_epochs=-1", "+trainer.max_steps=30"]
    panda("start", *own, *steps, 'panda.day="2 epochs"')
    assert [(e.day, e.step) for e in events(runs, DAY)] == [(1, 20)]
    assert "larger trainer.max_steps" in panda("start", code=2)
    refused = panda("start", "trainer.max_steps=20", code=2)
    assert "trainer.max_steps=20 leaves nothing to train after" in refused
    panda("start", "trainer.max_steps=50", "model.lr=0.02")
    assert [(e.day, e.step) for e in events(runs, DAY)] == [(1, 20), (2, 40)]
    assert initial(runs, "last.ckpt") == [0.02]
    assert events(runs)[-1].kind == FINISH


@pytest.mark.nightly
def test_a_run_that_goes_back_is_there_all_the_time(start: Start, panda: Verb, runs: Path) -> None:
    """Whatever is asked meanwhile waits for the process that takes its place; none of it is lost.

    The model is of the other Lightning.
    """
    model = "+model={_target_:lightning_gan.Gan,lr_g:0.0004,lr_d:0.0004,sleep:0.01}"
    run = start("caviar", "panda", "start", "search.study=p", "~model", model)
    awaited(lambda: days(runs) >= 1)
    assert "began with the same value" in panda("set", "model.lr_d=*0.5", code=2)
    printed = panda("set", "optimizer.lr=*0.5", "--why", "flat")
    assert "model.lr_g 0.0004 → 0.0002, in force within one step of step" in printed
    assert "optimizer 1: lr 0.0004 → 0.0002; optimizer 2: lr 0.0004 → 0.0002" in printed
    back = panda("back", "--to", "day1", "model.lr_g=1e-4", "model.lr_d=1e-4")
    assert "goes on from there as a new branch" in back
    assert is_running(runs / "p")
    assert "runs already" in panda("start", code=2)
    panda("set", "lr=*2")
    said = panda("stop")
    done(run, 143)
    # The run itself knows where it left off, and both say that.
    assert f"stopped at step {events(runs)[-1].step};" in said
    assert [e.kind for e in events(runs) if e.branch == 1][:1] == [BACK]
    assert events(runs)[-1].kind == STOP
    last = events(runs, SET)[-1]
    assert (last.branch, [move["new"] for move in last.facts[MOVES]]) == (1, [2e-4, 2e-4])
