"""What a search makes sure of in front of its first stage, in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from caviar.base.result import Rehearsal
from conftest import Main

pytestmark = pytest.mark.slow  # each trains a model, or several

SEARCH = ["-m", "search.action=search", "search.study=s", "hydra/launcher=basic"]
OWN = ["~model", "+model={_target_:own_models.Linear,lr:0.1}"]
SPACE = ["space=tier_1", "~space.optimizer", "+space.model.lr='${log:1e-3,1}'"]

ENDLESS = [
    "scheduler=cosine",
    "scheduler.interval=epoch",
    "space=tier_1",
    "trainer.max_epochs=-1",
    "+trainer.max_steps=99",
]


@pytest.mark.parametrize(
    ("overrides", "code", "told"),
    [
        (["metric.name=val/los"], 2, "did you mean metric.name=val/loss?"),
        ([*OWN, "space=tier_1"], 2, "optimizer.lr: nothing reads it"),
        (["model._target_=own_models.UntestableByMistake"], 1, "ValueError: a slip in test_step"),
        (["model._target_=broken_models.Untestable"], 2, "has no test_step"),
        (["~model", "+model={_target_:own_models.Counted,lr:1}", *SPACE], 2, "no checkpoint"),
        (["trainer.max_epochs=-1", "+trainer.max_steps=20"], 2, "write trainer.max_steps="),
        (["+trainer.limit_val_batches=0"], 2, "nothing validates"),
        (ENDLESS, 2, "nothing says after how many epochs"),
    ],
)
def test_a_slip_costs_two_batches(
    main: Main,
    runs: Path,
    capsys: pytest.CaptureFixture[str],
    overrides: list[str],
    code: int,
    told: str,
) -> None:
    assert main(*SEARCH, *overrides) == code
    assert told in capsys.readouterr().err
    assert not (runs / "s/study.journal").exists()


def test_a_rehearsal_leaves_what_it_learned_and_no_result(main: Main, runs: Path) -> None:
    assert main("check=rehearsal", *OWN, *SPACE, "logger=csv") == 0
    folder = runs / "train/0"
    assert Rehearsal.read(folder) == Rehearsal(False, True)
    assert not list(folder.glob("*.csv"))
    assert not (folder / "result.json").exists()


def test_a_check_says_what_a_search_can_do(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("check=true", *OWN, "space=tier_1", "metric.name=val/f1", "metric.mode=max") == 0
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    found = {row[0]: [words.strip() for words in row[1:] if words.strip()] for row in rows}
    assert found["follow the metric"][0] == "yes"
    assert found["search the space"] == [
        "no",
        "its own optimizer; nothing reads optimizer.lr of the space",
    ]
    assert found["nudge it live"][1].startswith("model.lr, ")
    for what in ("keep checkpoints", "resume exactly", "prune a trial", "know a diverged trial"):
        assert found[what][0] == "yes"
    assert found["open the test set"] == ["yes", "test/loss"]
    assert found["train on several devices"][0] == "yes"
    assert not (runs / "train/0/result.json").exists()
