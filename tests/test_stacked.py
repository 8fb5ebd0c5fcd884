"""Stacks: every member comes to what it comes to alone, or is refused with the reason."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict

from caviar.base.result import Result
from caviar.config import resolvers
from caviar.stacked.keep import Store
from caviar.stacked.members import Member, built
from caviar.stacked.run import Left, train_all
from caviar.training import train
from conftest import ROOT

pytestmark = [
    pytest.mark.slow,  # each trains several models
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]

IRIS = ["data=digits", "data.name=iris", "data.num_features=4", "data.num_classes=3"]
OURS = [*IRIS, "model.width=8", "model.depth=1", "data.batch_size=16", "trainer.max_epochs=4"]
THEIRS = [*OURS, "trainer.max_epochs=4"]
Settings = Sequence[Mapping[str, Any]]


class Runs:
    """Runs that differ in values, together and alone."""

    def __init__(self, folder: Path, overrides: Sequence[str], settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.numbers = [*range(len(settings))]
        resolvers.register()
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            self.base = compose("train", overrides=[*overrides, "paths.output=?"])

    def config(self, number: int, folder: str) -> DictConfig:
        config = copy.deepcopy(self.base)
        setting = self.settings[self.numbers.index(number)]
        with open_dict(config):
            for key, value in {"seed": number, **setting}.items():
                OmegaConf.update(config, key, value)
        config.paths.output = str(self.folder / folder / str(number))
        Path(config.paths.output).mkdir(parents=True, exist_ok=True)
        return config

    def together(
        self, found: dict[int, Result] | None = None, **more: Any
    ) -> tuple[dict[int, Result], list[Left]]:
        """Results by number, into `found` as they come; and what is left."""
        found = {} if found is None else found

        def member(place: int) -> Member:
            number = self.numbers[place]
            config = self.config(number, "stack")
            one = built(config, Path(config.paths.output))
            one.number = number
            return one

        def ended(members: Sequence[Member]) -> None:
            for one in members:
                assert one.result is not None
                found[one.number] = one.result

        first = self.config(self.numbers[0], "stack")
        left = train_all(self.numbers, member, first, ended, **more)
        return found, left

    def alone(self, number: int) -> Result:
        config = self.config(number, "alone")
        return train(config, Path(config.paths.output))


class Killed(BaseException):
    """In the place of a kill: nothing tidies up behind it."""


Make = Callable[[Sequence[str], Settings], Runs]


@pytest.fixture
def make(runs: Path, hydra_state: None, tmp_path: Path) -> Make:
    return lambda overrides, settings: Runs(tmp_path, overrides, settings)


def of(model: str, *more: str) -> list[str]:
    """Overrides that train one of `stack_models`."""
    keys = ["in_features", "num_classes", "width", "depth"]
    data = ["data._target_=stack_models.Irises", *(f"~data.{k}" for k in OF_OURS)]
    return [f"model._target_=stack_models.{model}", *(f"~model.{k}" for k in keys), *data, *more]


OF_OURS = ("name", "num_features", "num_classes", "split_seed", "fractions", "seed")


def same(together: Result, alone: Result, rel: float = 1e-4) -> None:
    """The same result, to the digits that float32 has."""
    for name in ("status", "best_epoch", "best_step", "epochs", "steps", "num_params", "unit"):
        assert getattr(together, name) == getattr(alone, name), name
    assert together.metrics.keys() == alone.metrics.keys()
    for name, value in alone.metrics.items():
        assert together.metrics[name] == pytest.approx(value, rel=rel, abs=1e-6), name
    assert together.best == pytest.approx(alone.best, rel=rel)
    assert together.last == pytest.approx(alone.last, rel=rel)


def drawn(seed: int, count: int, **ranges: tuple[float, float]) -> list[dict[str, float]]:
    """Random settings, log-uniform."""
    rng = np.random.default_rng(seed)
    return [
        {k.replace("__", "."): float(np.exp(rng.uniform(*np.log(r)))) for k, r in ranges.items()}
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer=sgd", "optimizer.nesterov=true"],
        ["optimizer=sgd", "scheduler=cosine", "trainer.gradient_clip_val=0.5"],
        ["optimizer=adam", "scheduler=exponential"],
        [
            "optimizer=adamw",
            "scheduler=one_cycle",
            "+trainer.gradient_clip_algorithm=value",
            "trainer.gradient_clip_val=0.01",
        ],
        ["optimizer=adamw", "scheduler=plateau", "model.dropout=0.3"],
    ],
    ids=" ".join,
)
def test_every_member_comes_to_what_it_comes_to_alone(make: Make, overrides: list[str]) -> None:
    settings = drawn(0, 5, optimizer__lr=(1e-3, 0.1), optimizer__weight_decay=(1e-5, 1e-1))
    for number, setting in enumerate(settings):
        if "optimizer=sgd" in overrides:
            setting["optimizer.momentum"] = [0.5, 0.9, 0.99, 0.8, 0.95][number]
        else:
            setting["optimizer.beta1"] = [0.5, 0.9, 0.99, 0.8, 0.95][number]
    runs = make([*OURS, *overrides], settings)
    found, left = runs.together()
    assert not left
    for number in range(5):
        same(found[number], runs.alone(number))


def test_in_double_precision_the_digits_are_the_same(make: Make) -> None:
    settings = drawn(1, 3, optimizer__lr=(1e-3, 0.1))
    runs = make([*OURS, "+trainer.precision=64-true"], settings)
    found, left = runs.together()
    assert not left
    for number in range(3):
        same(found[number], runs.alone(number), rel=1e-12)


def test_in_mixed_precision_they_agree_to_its_digits(make: Make) -> None:
    settings = drawn(1, 3, optimizer__lr=(1e-3, 0.1))
    runs = make([*OURS, "+trainer.precision=bf16-mixed"], settings)
    found, left = runs.together()
    assert not left
    for number in range(3):
        alone = runs.alone(number)
        assert found[number].last == pytest.approx(alone.last, rel=2e-2)
        assert found[number].metrics["train/loss"] != pytest.approx(1.0986, rel=1e-3)  # it learns


def test_each_stops_early_by_itself(make: Make) -> None:
    settings = [{"optimizer.lr": lr} for lr in (1e-5, 0.05, 0.4)]
    more = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1"]
    runs = make([*OURS, *more, "trainer.max_epochs=8"], settings)
    found, left = runs.together()
    assert not left
    alone = [runs.alone(number) for number in range(3)]
    assert len({result.epochs for result in alone}) > 1
    for number, result in enumerate(alone):
        same(found[number], result)


WORKS = [
    "Plain",
    "Normed",
    "Dropped",
    "Noisy",
    "Metered",
    "Listing",
    "Grouped",
    "Following",
    "Python",
]


@pytest.mark.parametrize("model", WORKS)
def test_modules_as_people_write_them(make: Make, model: str) -> None:
    """With data split by the run's seed, and shuffled by an ordinary loader."""
    settings = [
        {"model.lr": lr, "model.dropout": p} for lr, p in ((0.1, 0.0), (0.01, 0.2), (0.03, 0.5))
    ]
    runs = make(of(model, "+model.lr=0.1", "trainer.max_epochs=4", "data.batch_size=16"), settings)
    found, left = runs.together()
    assert not left
    for number in range(3):
        same(found[number], runs.alone(number))


@pytest.mark.parametrize(
    ("model", "read"), [("Smoothed", "hparams.alpha"), ("Leaky", "net.1.negative_slope")]
)
def test_members_are_told_apart_by_what_a_step_reads(make: Make, model: str, read: str) -> None:
    settings = [{"model.alpha": alpha} for alpha in (0.0, 0.1, 0.0, 0.1, 0.2)]
    more = ["+model.lr=0.1", "+model.alpha=0", "trainer.max_epochs=2", "data.batch_size=16"]
    runs = make(of(model, *more), settings)
    found, left = runs.together()
    assert [one.place for one in left] == [4]
    assert left[0].why == (f"a step reads {read}, of which no other trial has the same")
    for number in range(4):
        same(found[number], runs.alone(number))


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("Manual", "steps its optimizers itself"),
        ("Deciding", "training_step decides in Python by the value of a tensor"),
        ("OwnStep", "on_before_optimizer_step of its own"),
        ("Gambling", "training_step draws random numbers in a way that is not known here"),
        ("Rolling", "training_step"),
        ("Rprop", "Rprop is not among SGD, Adam and AdamW"),
        ("Two", "the model has 2 optimizers"),
        ("Loading", "the model has a train_dataloader of its own"),
        ("Recurrent", "a step reads lstm._flat_weight_refs, of which no other trial has the same"),
    ],
)
def test_what_cannot_be_stacked_is_refused_with_the_reason(
    make: Make, model: str, why: str
) -> None:
    more = ["+model.lr=0.1", "trainer.max_epochs=1", "data.batch_size=16"]
    found, left = make(of(model, *more), [{}, {}]).together()
    assert not found
    assert len(left) == 2
    assert why in left[0].why


def test_data_that_draw_while_they_are_read_are_refused(make: Make) -> None:
    more = ["+model.lr=0.1", "trainer.max_epochs=1", "data.batch_size=16", "+data.noise=true"]
    found, left = make(of("Plain", *more), [{}, {}]).together()
    assert not found
    assert "draw random numbers while they are read" in left[0].why


def test_a_stream_is_refused(make: Make) -> None:
    more = ["+model.lr=0.1", "trainer.max_epochs=1", "+data.stream=true"]
    found, left = make(of("Plain", *more), [{}, {}]).together()
    assert not found
    assert left[0].why == "its data have no length"


def test_a_callback_that_watches_one_model_is_refused(make: Make) -> None:
    timer = "+callbacks.timer={_target_: pytorch_lightning.callbacks.Timer}"
    found, left = make([*OURS, timer], [{}, {}]).together()
    assert not found
    assert left[0].why == "callbacks.timer is a callback that watches one model"


def test_a_member_that_diverges_disturbs_nobody(make: Make) -> None:
    """Its neighbours come to the same bits as beside one that does not."""
    good = [{"optimizer.lr": lr} for lr in (0.01, 0.02, 0.03)]
    calm, _ = make(OURS, [*good[:2], {"optimizer.lr": 0.05}, good[2]]).together()
    wild, _ = make(OURS, [*good[:2], {"optimizer.lr": 1e30}, good[2]]).together()
    assert wild[2].status == "diverged"
    assert wild[2].epochs == 1
    for number in (0, 1, 3):
        assert wild[number].metrics == calm[number].metrics


def test_members_that_are_given_up_leave_the_stack(make: Make) -> None:
    sizes = []

    def report(points: Any) -> list[Any]:
        sizes.append(len(points))
        return [member for member, point, _, _ in points if member.number > point]

    runs = make(OURS, [{"optimizer.lr": 0.02}] * 4)
    found, _ = runs.together(report=report)
    assert sizes == [4, 1, 1, 1]
    assert [found[n].status for n in range(4)] == ["complete", "pruned", "pruned", "pruned"]
    same(found[0], runs.alone(0))
    assert [found[n].epochs for n in range(4)] == [4, 1, 1, 1]


def test_checkpoints_are_those_of_a_run_alone(make: Make, tmp_path: Path) -> None:
    """A run goes on from one, and the winner is loaded from one."""
    settings = [{"optimizer.lr": lr} for lr in (0.02, 0.05)]
    runs = make([*OURS, "optimizer=adamw"], settings)
    found, _ = runs.together()
    for number in (0, 1):
        result = runs.alone(number)
        for name in ("best", "last"):
            ours, theirs = (
                torch.load(tmp_path / kind / str(number) / f"checkpoints/{name}.ckpt")
                for kind in ("stack", "alone")
            )
            assert ours.keys() == theirs.keys()
            for key, tensor in theirs["state_dict"].items():
                torch.testing.assert_close(ours["state_dict"][key], tensor, rtol=1e-4, atol=1e-6)
            assert ours["epoch"] == theirs["epoch"]
            assert ours["callbacks"].keys() == theirs["callbacks"].keys()
            (state,), (other,) = ours["optimizer_states"], theirs["optimizer_states"]
            assert state["param_groups"] == other["param_groups"]
            assert state["state"].keys() == other["state"].keys()
        assert Path(str(found[number].checkpoint)).name == Path(str(result.checkpoint)).name
    goes_on = [*OURS, "optimizer=adamw", "trainer.max_epochs=6"]
    ends = []
    for kind in ("stack", "alone"):
        longer = Runs(tmp_path / f"from_{kind}", goes_on, settings)
        config = longer.config(1, "run")
        config.ckpt_path = str(tmp_path / kind / "1/checkpoints/last.ckpt")
        ends.append(train(config, Path(config.paths.output)))
    assert ends[0].last == pytest.approx(ends[1].last, rel=1e-4)
    assert ends[0].epochs == ends[1].epochs == 6


@pytest.mark.parametrize(
    "overrides",
    [["optimizer=sgd", "scheduler=cosine"], ["optimizer=adamw", "scheduler=plateau"]],
    ids=" ".join,
)
def test_a_stack_that_is_killed_goes_on_from_the_epoch_that_it_wrote(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str]
) -> None:
    """To the same bits; who had ended before is not trained again."""
    monkeypatch.setattr(Store, "SHARE", 1e9)  # write every epoch
    settings = [{"optimizer.lr": lr} for lr in (0.01, 0.02, 1e30, 0.03)]
    runs = make([*OURS, *overrides, "model.dropout=0.2", "callbacks=default"], settings)
    whole, _ = runs.together()
    epochs: list[int] = []

    def report(points: Any) -> list[Any]:
        epochs.append(points[0][1])
        if epochs == [0, 1, 2]:
            raise Killed
        return []

    killed: dict[int, Result] = {}
    with pytest.raises(Killed):
        runs.together(killed, report=report, stores=tmp_path / "stores")
    assert list(killed) == [2]
    assert sorted(path.name for path in (tmp_path / "stores").iterdir()) == ["0.ckpt", "0.json"]
    runs.settings = [s for s in settings if s["optimizer.lr"] < 1e30]
    runs.numbers = [0, 1, 3]
    resumed, left = runs.together(report=report, stores=tmp_path / "stores")
    assert not left
    assert epochs == [0, 1, 2, 2, 3]
    for number in (0, 1, 3):
        assert resumed[number].metrics == whole[number].metrics
        assert resumed[number].best_epoch == whole[number].best_epoch
    assert not list((tmp_path / "stores").iterdir())
