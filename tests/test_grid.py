"""A plain grid, `hydra/sweeper=basic`, and what a search says to one who names values by hand."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from conftest import FAST, Main

pytestmark = pytest.mark.slow  # each trains a model, or several

TINY = [*FAST, "trainer.max_epochs=1"]
GRID = ["-m", "hydra/sweeper=basic", "search.study=grid", *TINY]
HERE = "hydra/launcher=basic"  # inside this process


def lines(printed: str) -> list[list[str]]:
    return [line.split() for line in printed.splitlines()]


def test_a_grid_has_a_folder_for_each_job_and_a_table(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = "hydra.launcher.num_workers=2"
    assert main(*GRID, two, "seed=1,2", "optimizer.lr=0.01,0.1", "++threads_of=1,2") == 0
    printed = capsys.readouterr().out
    folders = sorted((runs / "grid/jobs").iterdir())
    assert [folder.name for folder in folders] == [str(n) for n in range(8)]
    results = [json.loads((folder / "result.json").read_text()) for folder in folders]
    assert [result["seed"] for result in results] == [1] * 4 + [2] * 4
    rows = [row for row in lines(printed) if row and row[0].isdigit()]
    assert [row[:4] for row in rows[:8:3]] == [
        ["0", "1", "0.01", "1"],
        ["3", "1", "0.1", "2"],
        ["6", "2", "0.1", "1"],
    ]
    assert [row[4] for row in rows[:8]] == [f"{result['best']:.4g}" for result in results]
    assert all(row[6] == "complete" for row in rows[:8])
    assert "val/loss, mean ± s.e." in printed
    assert sum("±" in row and row[-1] == "2" for row in lines(printed)) == 4


@pytest.mark.nightly
def test_a_second_grid_numbers_on_and_a_failure_is_one_line(
    main: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*GRID, HERE, "threads=1,0") == 2
    printed = capsys.readouterr()
    said = "error: 1 of 2 jobs failed:\n  job 1: threads=0 should be a whole number from 1 on\n"
    assert printed.err.partition("\n")[2] == said
    first = (runs / "grid/jobs/0/result.json").read_bytes()
    assert main(*GRID, HERE, "seed=3", "one_minus.optimizer.momentum=0.1,0.02") == 0
    assert sorted(p.parent.name for p in runs.rglob("result.json")) == ["0", "2", "3"]
    assert (runs / "grid/jobs/0/result.json").read_bytes() == first
    assert ["3", "0.98"] in [row[:2] for row in lines(capsys.readouterr().out)]

    # A slip is told before anything is trained, and what is compared is not tested.
    for slip, words in (
        (["optimizer.lr=0.1,0.2", "test=true"], "test=true: a grid compares settings"),
        (["optimizer=sgd,nosuch"], "optimizer=nosuch: no such choice"),
        (["optimizer.lr=interval(0.1,1)"], "a grid needs values, such as optimizer.lr=1,2"),
    ):
        assert main(*GRID, HERE, *slip) == 2
        assert words in capsys.readouterr().err
    assert len(list(runs.rglob("result.json"))) == 3
    assert main(*GRID, HERE, "seed=1", "test=true") == 0
    assert "test/loss" in json.loads((runs / "grid/jobs/4/result.json").read_text())["metrics"]


AT_NIGHT = pytest.mark.nightly


@pytest.mark.parametrize(
    ("typed", "why", "searched"),
    [
        (["seed=1,2"], "every trial has a training seed of its own", False),
        (["optimizer=sgd,adam"], "optimizer is a group of files", False),
        pytest.param(
            ["scheduler=glob(exp*)"], "scheduler is a group of files", False, marks=AT_NIGHT
        ),
        (["optimizer.lr=0.01,0.1"], "it makes no grid", True),
        pytest.param(
            ["optimizer.weight_decay=0.1,0.2", "model.depth=range(1,3)"],
            "makes no grid",
            True,
            marks=AT_NIGHT,
        ),
        pytest.param(
            ["one_minus.optimizer.momentum=0.1,0.02", "seed=1,2"],
            "makes no grid",
            False,
            marks=AT_NIGHT,
        ),
        pytest.param(
            ["one_minus.optimizer.momentum=0.1,0.02"], "makes no grid", True, marks=AT_NIGHT
        ),
        (["name='a b',\"it's\",c", "search.study=s"], "it makes no grid", True),
        pytest.param(["++label=a,b"], "it makes no grid", False, marks=AT_NIGHT),
        pytest.param(
            ["data.fractions=[0.5,0.2,0.3],[0.6,0.2,0.2]"],
            "it makes no grid",
            False,
            marks=AT_NIGHT,
        ),
    ],
)
def test_the_commands_that_a_search_suggests_run(
    main: Main,
    runs: Path,
    capsys: pytest.CaptureFixture[str],
    typed: list[str],
    why: str,
    searched: bool,
) -> None:
    (runs / "digits").mkdir(parents=True)
    (runs / "digits/study.journal").touch()  # it was begun with another space
    assert main("-m", *typed, *TINY) == 2
    printed = capsys.readouterr().err
    assert why in printed
    commands = dict(re.findall(r"^  to (search|train) .*?: (python .*)$", printed, re.MULTILINE))
    assert list(commands) == (["search", "train"] if searched else ["train"])
    for command in commands.values():
        python, script, *words = shlex.split(command)
        assert (python, script) == ("python", "train.py")
        assert main(*words, HERE, "search.dry_run=true") == 0
    assert list(runs.glob("*/jobs/*/result.json"))


def test_a_key_that_there_is_not_is_the_slip_to_be_told(
    main: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("-m", "model.widht=1,2") == 2
    assert "no key model.widht; did you mean model.width?" in capsys.readouterr().err
    assert main("-m", "search.action=confirm", "optimizer.weight_decay=0.1,0.2") == 2
    assert "write one value for a key" in capsys.readouterr().err
    assert main("-m", "seed=interval(0,9)") == 2
    assert "name the values: seed=1,2" in capsys.readouterr().err
