"""Which runs may share a stack, how they are dealt out, and many configs from one composition."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from caviar.config import resolvers
from caviar.config.overrides import rewrite_one_minus
from caviar.stacked.members import built, work_of
from caviar.stacked.plan import UNEVEN, Configs, Form, by_overrides, dealt, stored, why_not
from conftest import ROOT


@pytest.fixture(scope="module")
def composed() -> Iterator[Any]:
    resolvers.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield lambda words: compose("train", overrides=[*words, "paths.output=there"])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], None),
        (["trainer.gradient_clip_val=1", "+trainer.precision=64-true", "logger=none"], None),
        (["+trainer.max_steps=10"], "trainer.max_steps=10 is not stacked"),
        (["+trainer.accumulate_grad_batches=2"], "trainer.accumulate_grad_batches=2"),
        (["trainer=ddp_cpu"], "trainer."),
        (["trainer.devices=2"], "trainer.devices=2"),
        (["trainer.max_epochs=-1"], "trainer.max_epochs is open"),
        (["logger=wandb"], "has a run of its own for each model"),
        (["fit=false"], "they test, or go on from a checkpoint"),
        (["caviar.train=mine.train"], "a function"),
    ],
)
def test_what_a_config_allows(composed: Any, words: list[str], why: str | None) -> None:
    found = why_not(composed(words))
    assert found is None if why is None else why in (found or "")


def form(build: str | None, size: int = 1) -> Form | None:
    return None if build is None else Form(build, size)


FORMS = st.builds(form, st.sampled_from([None, "a", "b", "c"]), st.sampled_from([1, 1, 2, 3]))


@given(st.lists(FORMS, min_size=1, max_size=80), st.integers(1, 5), st.integers(2, 5))
def test_every_job_is_dealt_out_once(forms: list[Form | None], workers: int, least: int) -> None:
    parts = dealt(forms, workers, least)
    assert sorted(number for part in parts for number in part) == [*range(len(forms))]
    builds = [one and one.build for one in forms]
    for part in parts:
        if len(part) > 1:
            assert len(part) <= 64
            assert len({builds[number] for number in part}) == 1
            assert len(part) >= least
    for build in "abc":
        crowd = [[forms[n] for n in p] for p in parts if builds[p[0]] == build]
        count = builds.count(build)
        if count < least:
            continue
        sizes = [sorted(one.size for one in part if one) for part in crowd]
        if len({size for part in sizes for size in part}) == 1:
            assert len(crowd) == max(min(workers, count // least), -(-count // 64))
        else:  # those of about one size together
            assert len(crowd) >= max(min(workers, count // least), count // UNEVEN)
            sizes.sort()
            assert all(one[-1] <= other[0] for one, other in itertools.pairwise(sizes))


def test_what_a_kill_has_left_stays_together(tmp_path: Path) -> None:
    for name, inside in (("3", [3, 4, 7]), ("5", [5, 99]), ("6", [6])):
        (tmp_path / f"{name}.json").write_text(json.dumps(inside))
        if name != "6":  # a kill came between the two files
            (tmp_path / f"{name}.ckpt").touch()
    numbers = [2, 3, 4, 5, 6, 7]
    begun = stored(tmp_path, numbers)
    assert begun == {tmp_path / "3.ckpt": [1, 2, 5]}
    assert dealt([form("a")] * 6, 1, 2, [*begun.values()]) == [[1, 2, 5], [0, 3, 4]]


def test_overrides_that_only_change_numbers() -> None:
    common = ["model.width=8", "trainer.max_epochs=3"]
    ours = [[*common, f"optimizer.lr={lr}", f"seed={lr}", f"trial.number={lr}"] for lr in (1, 2)]
    other = [*ours[1], "data.batch_size=64"]
    assert by_overrides(ours) == [[0, 1]]
    assert by_overrides([ours[0], other, ours[1]]) == [[0, 2], [1]]


@pytest.mark.parametrize(
    ("words", "work"),
    [
        (["model.width=8", "model.depth=1", "data.batch_size=10"], 10 * (64 * 8 + 8 + 80 + 10)),
        (["experiment=digits_conv"], None),
        (["experiment=text"], None),
    ],
)
def test_the_work_of_a_step_is_known_of_what_takes_each_number_once(
    composed: Any, words: list[str], work: float | None, tmp_path: Path
) -> None:
    assert work_of(built(composed(words), tmp_path)) == work


def test_many_configs_are_those_that_hydra_composes(composed: Any) -> None:
    words = [
        [f"optimizer.lr={lr}", f"one_minus.optimizer.momentum={lr}", f"data.batch_size={size}"]
        for lr, size in ((0.01, 16), (0.1, 32), (0.02, 16))
    ]
    jobs = [
        [*rewrite_one_minus(job), f"seed={n}", f"trial.number={n}", "model.width=8"]
        for n, job in enumerate(words)
    ]
    configs = Configs(composed, jobs)
    for number in (0, 2, 1, 0):
        whole = composed(jobs[number])
        assert configs.of(number) == whole
        assert OmegaConf.create(configs.text(number)) == whole
        resolved = OmegaConf.to_container(configs.of(number).optimizer, resolve=True)
        assert resolved == OmegaConf.to_container(whole.optimizer, resolve=True)


def test_a_job_that_chooses_other_files_is_composed_by_itself(composed: Any) -> None:
    jobs = [["optimizer=sgd", "seed=1"], ["optimizer=adam", "seed=2"]]
    configs = Configs(composed, jobs)
    for number in (1, 0):
        assert configs.of(number) == composed(jobs[number])
        assert OmegaConf.create(configs.text(number)) == composed(jobs[number])
