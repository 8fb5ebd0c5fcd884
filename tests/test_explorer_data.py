"""What the page's own pictures and table are given to draw."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from caviar.base.result import COMPLETE, DIVERGED, Result
from caviar.ledger import Planned
from caviar.pages import recorded
from caviar.pages.explorer import explorer_data
from caviar.pages.recorded import read_metrics
from caviar.pages.snapshot import Snapshot
from caviar.search.settings import CONFIRM, TEST
from caviar.space import Axis, Choice, Log, Space
from conftest import ROOT, Main
from made_studies import BATCH, BETA, LR, made

SMALL = Space((LR, BETA, BATCH))


@pytest.fixture(autouse=True)
def project(runs: Path, monkeypatch: pytest.MonkeyPatch, hydra_state: None) -> None:
    monkeypatch.chdir(ROOT)


def test_a_test_is_no_value_and_the_default_has_the_configs_values(runs: Path) -> None:
    study = made(runs / "s", SMALL, {"01_coarse": 4})
    for stage, result in (
        (CONFIRM, Result(best=0.4, metrics={"val/loss": 0.5, "val/acc": 0.8})),
        (TEST, Result(best=0.01, metrics={"test/loss": 0.01})),
    ):
        study.ledger.begin(stage, {"overrides": []}, "min")
        study.ledger.extend(stage, [Planned({}, 7, "default")], Space(()))
        study.ledger.claim(stage, 0)
        study.ledger.finish(stage, 0, result)
    data = explorer_data([Snapshot.of(study)])
    trials = data["trials"]
    assert [stage["kind"] for stage in data["stages"]] == ["search", CONFIRM, TEST]
    assert trials["value"][4:] == [0.4, None]
    assert trials["test"] == [None] * 5 + [{"test/loss": 0.01}]
    assert trials["ended"][4] == {"val/acc": 0.8}
    config = study.compose([])
    own = [config.optimizer.lr, config.optimizer.momentum, str(config.data.batch_size)]
    for setting in trials["setting"][4:]:
        assert setting[:2] == own[:2]
        assert data["axes"][2]["choices"][setting[2]] == own[2]
    # A momentum is itself, not what is drawn of it.
    assert all(0.9 <= setting[1] <= 0.999 for setting in trials["setting"])
    json.dumps(data, allow_nan=False)


def test_studies_meet_on_the_first_ones_scales(runs: Path) -> None:
    act = Axis("model.act", Choice(("relu", None)))
    one = made(runs / "a", Space((LR, act)), {"01_coarse": 3})
    other = made(runs / "b", Space((Axis(LR.key, Log(1e-6, 1.0)), BATCH)), {"01_coarse": 2})
    data = explorer_data([Snapshot.of(one), Snapshot.of(other)])
    assert [(axis["key"], axis["low"]) for axis in data["axes"]] == [
        (LR.key, 1e-4),
        (act.key, None),
        (BATCH.key, None),
    ]
    assert data["axes"][1]["choices"] == ["relu", "null"]
    assert [setting[1] is None for setting in data["trials"]["setting"]] == [False] * 3 + [True] * 2
    assert data["trials"]["folder"][-1] == "b/01_coarse/1"
    assert [stage["study"] for stage in data["stages"]] == [0, 1]


def test_curves_are_short_and_finite(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "POINTS", 30)
    fate = {0: DIVERGED}
    study = made(runs / "s", SMALL, {"01_coarse": 6}, lambda n: fate.get(n, COMPLETE), epochs=10)
    (curves,) = explorer_data([Snapshot.of(study)])["curves"]["metrics"].values()
    assert curves["step"] == 2
    assert curves["x"] == [[0, 2, 4, 6, 8, 9]] * 6
    assert {len(values) for values in curves["y"]} == {6}


@pytest.mark.parametrize(
    ("text", "curves"),
    [
        ("epoch,step,a\n0,1,3\n0,2,2\n2,9,nan\n3,9,1\n", {"a": [(0, 2.0), (3, 1.0)]}),
        ("step,a\n1,2\n", {}),
        ("epoch,a\n0,x\nx,1\n1\n,\n", {}),
        ("epoch,a\n0,1,2,3\n", {"a": [(0, 1.0)]}),
        ("", {}),
        ("\0\0,\n\xff", {}),
    ],
)
def test_what_was_logged_is_read_and_what_is_damaged_is_not(
    tmp_path: Path, text: str, curves: object
) -> None:
    (tmp_path / "metrics.csv").write_text(text, encoding="latin-1")
    assert read_metrics(tmp_path / "metrics.csv", "epoch") == curves
    assert read_metrics(tmp_path / "none.csv", "epoch") == {}


@pytest.mark.parametrize("names", ["[a]", "[a,a]", "[]", "a,b", "[a"])
def test_a_list_of_studies_that_is_none(
    caviar: Main, names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert caviar("report", f"search.study={names}") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "write 'search.study=[a,b]'" in line


def test_several_studies_by_the_command(
    caviar: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        made(runs / name, SMALL, {"01_coarse": 3})
    assert caviar("report", "search.study=[a, b]") == 0
    assert "a+b.html" in capsys.readouterr().out.replace("\n", "")
    assert (runs / "a+b.html").stat().st_size > 10_000
