"""Whose values the groups of a module's own optimizers are, and how schedules follow a nudge."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from pytorch_lightning.utilities.types import LRSchedulerConfig
from torch import nn
from torch.optim import lr_scheduler as schedules

from caviar.base.errors import UserError
from caviar.panda.groups import OPTIMIZERS, Groups, labels
from caviar.panda.journal import MOVES, NOTE, SET, event, moved_words
from caviar.panda.levers import plain_nodes, settable
from caviar.panda.nudge import Nudge, read_changes
from caviar.panda.optimizers import groups_of, keep_initial, rate_of, remembered, set_value
from caviar.space import Axis, Log, Space
from caviar.training.modules import set_live
from own_optimizers import Gan

GAN = {(0, 0): {"lr": 4e-4, "beta1": 0.5}, (1, 0): {"lr": 1e-4, "beta1": 0.5}}
DECAY = {
    (0, 0): {"lr": 0.1, "weight_decay": 0.01, "momentum": 0.9},
    (0, 1): {"lr": 0.1, "weight_decay": 0.0, "momentum": 0.9},
}
DECLARED = {"lr": 0.01, "weight_decay": 0.0, "nesterov": True}
NOTHING = Space(())


def config(**model: Any) -> dict[str, Any]:
    return {"optimizer": DECLARED, "model": {"width": 64, **model}, "trainer": {}, "data": {}}


def groups(values: dict[Any, Any], **model: Any) -> Groups:
    plain = config(**model)
    unread = [f"optimizer.{name}" for name in DECLARED]
    return Groups.begin({at: dict(v) for at, v in values.items()}, plain, plain, unread)


def nudged(made: Groups, *typed: str, space: Space = NOTHING, **model: Any) -> Nudge:
    return read_changes(typed, config(**model), {}, space, False, made)


def moved(nudge: Nudge) -> list[tuple[str, str, float, float]]:
    return [(m.where, m.name, m.old, m.new) for m in nudge.moves]


# -- whose they are


@pytest.mark.parametrize(
    ("theirs", "keys"),
    [
        ({"lr": 0.1}, ["lr"]),
        ({"optim": {"sgd": {"lr": 0.1, "wd": 0.01}}}, ["optim.sgd.lr", "optim.sgd.wd"]),
        ({"hp": {"rate": 0.1, "momentum": 0.9}}, ["hp.momentum"]),
        ({"hp": {"lr": 0.1}, "module": {"lr": "${hp.lr}"}}, ["hp.lr"]),
        ({"callbacks": {"lr": 0.1}, "paths": {"lr": 0.1}, "scheduler": {"lr": 0.1}}, []),
        ({"broken": {"lr": "${nowhere}"}, "data": {"lr": 0.1}, "scheduler": "cosine"}, []),
    ],
)
def test_keys_of_a_project_of_another_shape(theirs: dict[str, Any], keys: list[str]) -> None:
    """Its optimizer may stand anywhere; what only its script can resolve is left out."""
    written = OmegaConf.create({"caviar": {"metric": {"name": "val/loss"}}, **theirs})
    literal, plain = plain_nodes(written, resolve=False), plain_nodes(written)
    values = {(0, 0): {"lr": 0.1, "weight_decay": 0.01, "momentum": 0.9}}
    assert settable(plain, Groups.begin(values, plain, literal)) == keys


def test_all_rates_are_nudged_once_they_are_known() -> None:
    with pytest.raises(UserError, match="not known before the run's first step"):
        read_changes(["lr=*0.5"], {"model": {"lr": 0.1}}, {}, NOTHING, False, unbuilt=True)


@pytest.mark.parametrize(
    ("values", "model", "keys"),
    [
        (GAN, {"lr_g": 4e-4, "lr_d": 1e-4, "b1": 0.5}, ["lr_g", "lr_d", "b1"]),
        (GAN, {"lr": 4e-4, "eps": 1e-8, "min_lr": 0.0}, ["lr"]),
        (GAN, {"optimizer": {"lr": 4e-4}, "rate": 1e-4}, ["optimizer.lr"]),
        (DECAY, {"net": {"learning_rate": 0.1}, "wd": 0.01}, ["net.learning_rate", "wd"]),
        (DECAY, {"dropout_rate": 0.1, "bn_momentum": 0.1, "alpha": 0.9}, []),
    ],
)
def test_a_group_is_the_key_s_whose_value_it_has(
    values: dict[Any, Any], model: dict[str, Any], keys: list[str]
) -> None:
    """And which is named after it; what the config's optimizer says, nothing reads here."""
    assert list(groups(values, **model).keys) == [f"model.{key}" for key in keys]


def test_a_key_that_refers_to_another_is_only_a_name_of_it() -> None:
    plain = config(lr=0.1, first={"lr": 0.1}, second={"lr": 0.1})
    written = config(lr="${optimizer.lr}", first={"lr": "${model.lr}"}, second="${optimizer}")
    plain["optimizer"] = written["optimizer"] = {"lr": 0.1}
    made = Groups.begin(DECAY, plain, written)
    assert list(made.keys) == ["optimizer.lr"]
    with pytest.raises(UserError, match=r"model\.first\.lr alone changes nothing; nudge optimizer"):
        read_changes(["model.first.lr=0.2"], plain, {}, NOTHING, False, made)
    # Where no other has the groups, it counts.
    made = Groups.begin(DECAY, plain, config(lr="${oc.env:LR}"), ["optimizer.lr"])
    assert list(made.keys) == ["model.lr"]


def test_what_groups_are_called() -> None:
    assert list(labels(GAN).values()) == ["optimizer 1", "optimizer 2"]
    assert list(labels(DECAY).values()) == ["group 1", "group 2"]
    assert labels([(0, 0), (1, 0), (1, 1)])[1, 1] == "optimizer 2 group 2"


# -- what a nudge makes of them


def test_the_key_s_group_takes_the_value_and_other_rates_follow() -> None:
    model = {"lr_g": 4e-4}
    nudge = nudged(groups(GAN, **model), "model.lr_g=*0.3", **model)
    assert nudge.written == {"model.lr_g": [4e-4, 1.2e-4]}
    assert moved(nudge) == [("optimizer 1", "lr", 4e-4, 1.2e-4), ("optimizer 2", "lr", 1e-4, 3e-5)]
    words = moved_words(nudge.facts[MOVES])
    assert words == "optimizer 1: lr 0.0004 → 0.00012; optimizer 2: lr 0.0001 → 3e-05"


def test_a_rate_that_is_another_key_s_stays() -> None:
    model = {"lr_g": 4e-4, "lr_d": 1e-4}
    nudge = nudged(groups(GAN, **model), "model.lr_d=2e-4", **model)
    assert [(old, new) for *_, old, new in moved(nudge)] == [(4e-4, 4e-4), (1e-4, 2e-4)]
    assert "optimizer 1: lr 0.0004 stays" in moved_words(nudge.facts[MOVES])
    # Later they may have the same value: whose they are was said at the beginning.
    made = groups(GAN, **model)
    made.take(nudged(made, "model.lr_g=1e-4", **model).moves)
    nudge = nudged(made, "model.lr_d=5e-5", lr_g=1e-4, lr_d=1e-4)
    assert [new for *_, new in moved(nudge)] == [1e-4, 5e-5]


def test_weight_decay_stays_where_it_is_another() -> None:
    model = {"weight_decay": 0.01}
    nudge = nudged(groups(DECAY, **model), "model.weight_decay=*10", **model)
    assert [(old, new) for *_, old, new in moved(nudge)] == [(0.01, 0.1), (0.0, 0.0)]


@pytest.mark.parametrize("key", ["lr", "optimizer.lr"])
def test_all_rates_in_proportion(key: str) -> None:
    """Also by the config's own key, though nothing reads it: it is written down nowhere then."""
    nudge = nudged(groups(GAN), f"{key}=*0.5")
    assert nudge.written == {}
    assert [new for *_, new in moved(nudge)] == [2e-4, 5e-5]
    model = {"lr_d": 1e-4}
    nudge = nudged(groups(GAN, **model), f"{key}=*0.5", **model)
    assert nudge.written == {"model.lr_d": [1e-4, 5e-5]}
    assert [new for *_, new in moved(nudge)] == [2e-4, 5e-5]


def test_there_and_back_is_the_same() -> None:
    made = groups(GAN)
    for change in ("lr=*3", "lr=/7", "lr=*7", "lr=/3"):
        made.take(nudged(made, change).moves)
    assert [v["lr"] for v in made.values.values()] == [4e-4, 1e-4]


def test_a_declared_space_has_its_bounds_here_too() -> None:
    space = Space((Axis("model.lr", Log(1e-4, 1e-2)),))
    made = groups(GAN, lr=4e-4)
    with pytest.raises(UserError, match=r"model\.lr=0\.04 is outside of the declared space"):
        nudged(made, "lr=*100", space=space, lr=4e-4)


@pytest.mark.parametrize(
    ("model", "typed", "message"),
    [
        (
            {},
            "optimizer.lr=0.1",
            r"optimizer\.lr's value 0\.01; their rates are 0\.0004, 0\.0001; ",
        ),
        ({}, "optimizer.lr=0.1", r"nudged in lr=\*0\.5"),
        ({"lr": 0.3}, "model.lr=*2", r"nothing in the optimizers has model\.lr's value 0\.3"),
        ({"momentum": 0.9}, "model.momentum=0.8", "the optimizers have no momentum of their own"),
        ({}, "lr=0.1", r"so write how they change, such as lr=\*0\.5; optimizer 1: lr 0\.0004"),
        ({"lr": 4e-4}, "model.lr=0", "above 0"),
        ({}, "model.width=3", "it shapes the weights"),
        (
            {"lr_g": 4e-4, "lr": 4e-4},
            "model.lr=*2",
            r"model\.lr_g and model\.lr began with the same",
        ),
        ({"lr_g": 4e-4}, "model.lr_g=*2 lr=*2", "set twice"),
    ],
)
def test_a_nudge_that_nothing_reads_is_refused(
    model: dict[str, Any], typed: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        nudged(groups(GAN, **model), *typed.split(), **model)


def test_before_it_is_built_the_run_decides() -> None:
    typed, plain = ["model.lr=*2"], config(lr=0.1)
    with pytest.raises(UserError, match="it shapes the weights"):
        read_changes(typed, plain, {}, NOTHING, False)
    (change,) = read_changes(typed, plain, {}, NOTHING, False, unbuilt=True).changes
    assert change.new == 0.2


def test_the_journal_has_it_all() -> None:
    made = groups(GAN, lr=4e-4)
    nudge = nudged(made, "model.lr=*0.5", lr=4e-4)
    begins = event(NOTE, 0, 0, 0, facts={OPTIMIZERS: made.to_facts()})
    events = [begins, event(SET, 0, 1, 9, changes=nudge.written, facts=nudge.facts)]
    kept = [type(e)(**json.loads(json.dumps(vars(e)))) for e in events]
    read = Groups.of(kept)
    made.take(nudge.moves)
    assert read == made
    assert read.nudged == {((0, 0), "lr"): 2e-4, ((1, 0), "lr"): 5e-5}
    assert Groups.of([event(NOTE, 0, 0, 0, facts={OPTIMIZERS: read.to_facts()})]) == read
    assert Groups.of([]) is None


def test_what_can_be_set_of_such_a_module() -> None:
    plain = config(lr=4e-4, net={"dropout": 0.1}) | {"scheduler": {"gamma": 0.5}}
    assert settable(plain, groups(GAN, lr=4e-4)) == ["model.lr", "model.net.dropout"]


# -- schedules, and what else a training has


def trained(build: Callable[[Any], Any], lr: float) -> tuple[pl.Trainer, Any]:
    """A trainer whose optimizer has two groups, of `lr` and a tenth of it, and its schedule."""
    nets = (nn.Linear(2, 2), nn.Linear(2, 2))
    parts = [{"params": net.parameters(), "lr": lr / 10**i} for i, net in enumerate(nets)]
    optimizer = torch.optim.SGD(parts, momentum=0.9)
    trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    schedule = build(optimizer)
    trainer.optimizers = [optimizer]
    trainer.strategy.lr_scheduler_configs = [LRSchedulerConfig(schedule)]
    keep_initial(trainer)
    return trainer, schedule


def lrs(trainer: pl.Trainer) -> list[float]:
    return [float(group["lr"]) for group in groups_of(trainer).values()]


def walk(trainer: pl.Trainer, schedule: Any, steps: int) -> list[list[float]]:
    walked = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no optimizer steps here
        for _ in range(steps):
            plateau = isinstance(schedule, schedules.ReduceLROnPlateau)
            schedule.step(*([1.0] if plateau else []))
            walked.append(lrs(trainer))
    return walked


def sequence(optimizer: Any) -> Any:
    first = schedules.LinearLR(optimizer, start_factor=0.1, total_iters=4)
    second = schedules.CosineAnnealingLR(optimizer, T_max=10)
    return schedules.SequentialLR(optimizer, [first, second], milestones=[4])


def by_lr(build: Callable[..., Any], **settings: Any) -> Callable[[Any], Any]:
    """A schedule with ends of its own, for each group."""

    def made(optimizer: Any) -> Any:
        tops = [group["lr"] for group in optimizer.param_groups]
        ends = {k: [v * top for top in tops] for k, v in settings.items()}
        return build(optimizer, **ends)

    return made


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize(
    "build",
    [
        lambda o: schedules.StepLR(o, 3, 0.5),
        lambda o: schedules.LambdaLR(o, lambda step: 1 / (1 + step)),
        lambda o: schedules.ExponentialLR(o, 0.9),
        lambda o: schedules.CosineAnnealingLR(o, 12),
        lambda o: schedules.ReduceLROnPlateau(o, patience=1, factor=0.5),
        lambda o: schedules.ChainedScheduler(
            [schedules.ExponentialLR(o, 0.9), schedules.ConstantLR(o, total_iters=8)]
        ),
        sequence,
        by_lr(lambda o, max_lr: schedules.OneCycleLR(o, max_lr, total_steps=20), max_lr=1),
        by_lr(
            lambda o, base_lr, max_lr: schedules.CyclicLR(
                o, base_lr, max_lr, 4, cycle_momentum=False
            ),
            base_lr=1,
            max_lr=3,
        ),
    ],
)
def test_every_schedule_goes_on_from_the_new_rate(build: Callable[[Any], Any]) -> None:
    """As if the group had begun with it, and the other group's goes on as it is."""
    trainer, schedule = trained(build, 0.1)
    twin, expected = trained(build, 0.03)
    walk(trainer, schedule, 6), walk(twin, expected, 6)
    before, undo = lrs(trainer), remembered(trainer)
    first, other = groups_of(trainer).values()
    assert rate_of(first) == pytest.approx(0.1)
    set_value(trainer, first, "lr", 0.03)
    assert lrs(trainer)[0] == pytest.approx(lrs(twin)[0])
    undo()
    assert lrs(trainer) == before
    set_value(trainer, first, "lr", 0.03)
    set_value(trainer, other, "lr", 0.003)
    assert rate_of(first) == 0.03
    for ours, theirs in zip(walk(trainer, schedule, 8), walk(twin, expected, 8), strict=True):
        assert ours == pytest.approx(theirs)


def test_a_rate_may_be_a_tensor() -> None:
    optimizer = torch.optim.Adam(nn.Linear(2, 2).parameters(), lr=torch.tensor(0.001))
    trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    trainer.optimizers = [optimizer]
    keep_initial(trainer)
    (group,) = groups_of(trainer).values()
    lr = group["lr"]
    set_value(trainer, group, "lr", 0.002)
    assert group["lr"] is lr  # which a compiled step reads
    assert float(lr) == pytest.approx(0.002)


def test_dropout_of_any_module() -> None:
    module = Gan()
    assert set_live(module, "dropout", 0.3)
    assert module.generator[1].p == 0.3
    assert not set_live(module, "width", 3)
    module.set_live = lambda name, value: name == "width"  # type: ignore[attr-defined]
    assert set_live(module, "width", 3)
