"""What may be set while a model trains, what the keeper decides, and the curve in characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from caviar.base.errors import UserError, failure
from caviar.base.result import Result
from caviar.panda.actions import Rollback
from caviar.panda.journal import BACK, DAY, SET, START, Event, event
from caviar.panda.keeper import Action, Day, Rules, decide
from caviar.panda.levers import settable
from caviar.panda.nudge import read_changes
from caviar.panda.run import _tell
from caviar.panda.screen import plot
from caviar.space import Axis, Choice, Log, OneMinusLog, Space

CONFIG: dict[str, Any] = {
    "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.01, "momentum": 0.9, "nesterov": False},
    "scheduler": {"_target_": "caviar.training.optim.inverse_time", "rate": 0.05, "frequency": 2},
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
    (change,) = read_changes([text], CONFIG, {}, SPACE, force=False).changes
    assert change.key == key
    assert change.new == pytest.approx(new)
    assert isinstance(change.new, type(new))


def test_a_relative_change_is_one_of_the_value_in_force() -> None:
    (change,) = read_changes(
        ["optimizer.lr=*2"], CONFIG, {"optimizer.lr": 0.1}, SPACE, force=False
    ).changes
    assert (change.old, change.new) == (0.1, 0.2)
    (change,) = read_changes(
        ["trainer.gradient_clip_val=null"], CONFIG, {}, SPACE, force=False
    ).changes
    assert change.new is None


def test_the_learning_rate_goes_by_a_name_of_its_own() -> None:
    """That of a cycle which goes up to another than the optimizer's is the schedule's."""
    assert read_changes(["lr=*2"], CONFIG, {}, SPACE, force=False).new == {"optimizer.lr": 0.02}
    cycle = CONFIG | {"scheduler": {"max_lr": 0.1}}
    assert read_changes(["lr=*2"], cycle, {}, SPACE, force=False).new == {"scheduler.max_lr": 0.2}


@pytest.mark.parametrize(
    ("typed", "message"),
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
def test_a_change_that_cannot_be_says_why(typed: Sequence[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_changes(typed, CONFIG, {}, SPACE, force=False)


def test_force_leaves_the_declared_space_but_not_sense() -> None:
    (change,) = read_changes(["optimizer.lr=30"], CONFIG, {}, SPACE, force=True).changes
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


# -- the keeper


def day(number: int, value: float, branch: int = 0) -> Event:
    return event(DAY, branch, number, 10 * number, facts={"metric": "val/loss", "value": value})


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


def test_the_keeper_goes_no_further_back_than_a_fork_was_made_from() -> None:
    forked = event(START, 0, 3, 30, facts={"checkpoint": "checkpoints/origin.ckpt"})
    action = decide(Rules(), [forked], [], "min", diverged=True)
    assert action is not None
    assert action.back_to == 3


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


@pytest.mark.parametrize(
    ("error", "status"),
    [(Rollback(), "running"), (KeyboardInterrupt(), "stopped"), (ValueError("x"), "exception")],
)
def test_a_tracker_is_told_of_no_fault_where_there_is_none(
    error: BaseException, status: str
) -> None:
    """A run that goes back goes on; `train` tells of it as of any run that an interrupt ended."""
    told: list[Result] = []
    try:
        raise error
    except BaseException as raised:
        _tell(lambda result, curve: told.append(result), failure(raised, 0), {})
    assert [result.status for result in told] == [status]
    assert told[0].failed == (status == "exception")
