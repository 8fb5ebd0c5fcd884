"""Runs on ordinary loaders, stopped and gone on with, end with the same bits, or say why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from caviar.base.result import Result
from caviar.config import resolvers
from caviar.training import train
from caviar.training.checkpoints import read_checkpoint
from caviar.training.resume import going_on
from conftest import ROOT
from test_resume import assert_same_run

pytestmark = pytest.mark.slow  # each trains a model, or several

EPOCH, STEP = "exact from the end of an epoch", "exact to the step"

Trained = Callable[..., Result]


@pytest.fixture
def trained(runs: Path, hydra_state: None) -> Trained:
    """`trained("whole", {"data.name": "shuffled"})`: a run of `ordinary`, in a folder `whole`."""
    resolvers.register()
    targets = ["data._target_=ordinary.Data", "model._target_=ordinary.Model"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        composed = compose("train", [*targets, "trainer.max_epochs=3"])

    def call(name: str, changes: dict[str, Any], go_on_from: str | None = None) -> Result:
        config: DictConfig = composed.copy()
        folder = runs / name
        changes = {**changes, "paths.output": str(folder)}
        if go_on_from is not None:
            changes["ckpt_path"] = str(last(runs / go_on_from))
        OmegaConf.set_struct(config, False)
        for key, value in changes.items():
            OmegaConf.update(config, key, value)
        folder.mkdir(parents=True)
        return train(config, folder)

    return call


def last(folder: Path) -> Path:
    return folder / "checkpoints/last.ckpt"


def steps(folder: Path) -> int:
    return int(torch.load(last(folder), weights_only=True)["global_step"])


BY_STEPS = {"trainer.max_epochs": -1, "trainer.max_steps": 20}
OFTEN = {"trainer.val_check_interval": 5, "trainer.check_val_every_n_epoch": None}
OURS = {
    "data._target_": "caviar.training.data.SklearnData",
    "data.num_features": 4,
    "data.num_classes": 3,
    "data.batch_size": 16,
}
SLOW = pytest.mark.slow

# Each kind of loader, how exact it is, and under which circumstances.
KINDS = [
    ("shuffled", STEP, {"model.schedule": "plateau"}),
    pytest.param("own_generator", STEP, {"model.schedule": "cycle"}, marks=SLOW),
    pytest.param("weighted", STEP, {"trainer.val_check_interval": 0.5}, marks=SLOW),
    pytest.param("bucketed", EPOCH, {"trainer.reload_dataloaders_every_n_epochs": 1}, marks=SLOW),
    pytest.param("shuffled", STEP, {"trainer.reload_dataloaders_every_n_epochs": 2}, marks=SLOW),
    pytest.param("augmented", EPOCH, {"trainer.accumulate_grad_batches": 2}, marks=SLOW),
    pytest.param("several", EPOCH, BY_STEPS, marks=SLOW),
    pytest.param("stream", EPOCH, {"trainer.limit_train_batches": 6}, marks=SLOW),
    pytest.param("tape", STEP, {**BY_STEPS, **OFTEN}, marks=SLOW),
    pytest.param("shuffled_workers", STEP, {"trainer.accumulate_grad_batches": 4}, marks=SLOW),
    pytest.param("augmented_workers", EPOCH, {}, marks=SLOW),
    pytest.param("stream_workers", STEP, BY_STEPS, marks=SLOW),
    pytest.param("iris", STEP, {**OURS, **BY_STEPS, "model.schedule": "cycle"}, marks=SLOW),
]


@pytest.mark.parametrize(("kind", "exact", "circumstances"), KINDS)
def test_a_run_on_an_ordinary_loader_goes_on_to_the_same_bits(
    trained: Trained, runs: Path, kind: str, exact: str, circumstances: dict[str, Any]
) -> None:
    run = {"data.name": kind, **circumstances}
    assert trained("whole", run).resume == exact
    epoch = steps(runs / "whole") // 3

    with pytest.raises(RuntimeError, match="killed"):
        trained("killed", {**run, "model.killed": epoch + 3})
    assert 0 < steps(runs / "killed") < epoch + 3
    step = epoch + 3 if exact == STEP else 2 * epoch + 3  # behind an epoch's end, if that counts
    with pytest.raises(KeyboardInterrupt):
        trained("stopped", {**run, "model.stopped": step}, go_on_from="killed")
    assert (steps(runs / "stopped") == step) == (exact == STEP)
    assert trained("resumed", run, go_on_from="stopped").resume == exact
    assert_same_run(runs / "whole", runs / "resumed")


@pytest.mark.parametrize(
    ("kind", "circumstances", "why"),
    [
        ("counting_stream", {}, "the loader's dataset.epoch changes from epoch to epoch"),
        ("batches", {}, "filter is no DataLoader of torch's, and has no state_dict"),
        (
            "own_generator",
            {"trainer.reload_dataloaders_every_n_epochs": 1},
            "a generator of the loader's own is made anew with it",
        ),
        pytest.param("persistent_workers", {}, "persistent_workers=True: random", marks=SLOW),
        pytest.param("out_of_order", {}, "in_order=False: batches come as", marks=SLOW),
    ],
)
def test_what_makes_a_resume_inexact_is_said(
    trained: Trained, runs: Path, kind: str, circumstances: dict[str, Any], why: str
) -> None:
    found = trained("whole", {"data.name": kind, **circumstances})
    assert (found.resume or "").startswith(f"not exact: {why}")
    kept = read_checkpoint(last(runs / "whole"))
    assert going_on(kept) == found.resume


def test_what_a_module_collects_by_itself_is_not_cut_in_two(trained: Trained, runs: Path) -> None:
    run = {"data.name": "shuffled", "model._target_": "ordinary.Collecting"}
    trained("whole", run)
    with pytest.raises(KeyboardInterrupt):
        trained("stopped", {**run, "model.stopped": 10})
    kept = read_checkpoint(last(runs / "stopped"))
    assert kept["global_step"] == 7
    assert going_on(kept) == "exactly from the end of epoch 0"
    trained("resumed", run, go_on_from="stopped")
    assert_same_run(runs / "whole", runs / "resumed")


def test_what_falls_over_behind_a_signal_is_the_signal(trained: Trained, runs: Path) -> None:
    """Such as the loading of data, whose worker processes a Ctrl-C has ended."""
    with pytest.raises(KeyboardInterrupt):
        trained("stopped", {"data.name": "shuffled", "model.stopped": 10, "model.killed": 10})
    assert going_on(read_checkpoint(last(runs / "stopped"))) == "exactly from the end of epoch 0"


def test_it_is_said_from_where_a_run_goes_on(trained: Trained, runs: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained("stopped", {"data.name": "shuffled", "model.stopped": 10})
    kept = read_checkpoint(last(runs / "stopped"))
    assert going_on(kept) == "exactly from step 10"
    assert going_on({**kept, "resume": EPOCH}) == f"from step 10; {EPOCH} alone"
    assert going_on({name: part for name, part in kept.items() if name != "resume"}) == ""
