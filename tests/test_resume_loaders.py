"""Runs on ordinary loaders: stopped and gone on with, they end with the same bits, or say why not."""

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
from conftest import ROOT
from test_resume import assert_same_run

EPOCH, STEP = "exact from the end of an epoch", "exact to the step"

Trained = Callable[..., Result]


@pytest.fixture
def trained(runs: Path, hydra_state: None) -> Trained:
    """`trained("whole", {"data.name": "shuffled"})`: a run of `ordinary` in a folder of that name."""
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


KINDS = {
    "shuffled": STEP,
    "own_generator": STEP,
    "weighted": STEP,
    "bucketed": EPOCH,
    "augmented": EPOCH,
    "several": EPOCH,
    "stream": EPOCH,
    "tape": STEP,
}
IN_WORKERS = {"shuffled_workers": STEP, "augmented_workers": EPOCH, "stream_workers": STEP}


@pytest.mark.parametrize(
    ("kind", "exact"),
    [*KINDS.items(), *(pytest.param(*k, marks=pytest.mark.slow) for k in IN_WORKERS.items())],
)
def test_a_run_on_an_ordinary_loader_goes_on_to_the_same_bits(
    trained: Trained, runs: Path, kind: str, exact: str
) -> None:
    run = {"data.name": kind}
    assert trained("whole", run).resume == exact

    trained("one_epoch", {**run, "trainer.max_epochs": 1})
    trained("two_more", run, go_on_from="one_epoch")
    assert_same_run(runs / "whole", runs / "two_more")

    first = steps(runs / "one_epoch")
    with pytest.raises(KeyboardInterrupt):
        trained("stopped", {**run, "model.stop": first + 3})
    assert steps(runs / "stopped") == first + (3 if exact == STEP else 0)
    trained("the_rest", run, go_on_from="stopped")
    assert_same_run(runs / "whole", runs / "the_rest")
