"""What `python train.py` makes of a run that a W&B agent started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from caviar.base.errors import UserError
from caviar.config.overrides import point_overrides
from caviar.space import Axis, Choice, Space
from caviar.space.sweep_file import SweepFile
from caviar.wandb.child import POINT_FILE, complete_overrides, refuse_undeclared, started_by_agent
from caviar.wandb.child import RUN as RUN_ID
from caviar.wandb.child import SWEEP as SWEEP_ID
from caviar.wandb.ledger import write_registered
from wandb_study import POINT, SPACE, record_of


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model._target_", "os.system"),
        ("hydra.run.dir", "/tmp"),
        ("+callbacks.mine._target_", "os.system"),
        ("optimizer.momentum", 0.9),  # its coordinate is the complement
        ("optimizer.lr", "${oc.env:HOME}"),
        ("optimizer.lr", True),
        ("model.act", "tanh"),
    ],
)
def test_what_the_space_does_not_declare_is_refused(name: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"sweep abc sets {name.replace('+', '.')}"):
        refuse_undeclared({**POINT, name: value}, SPACE, "abc", None)


def test_what_the_space_declares_may_be_set() -> None:
    refuse_undeclared(POINT, SPACE, "abc", None)
    refuse_undeclared({**POINT, "optimizer.lr": 30.0}, SPACE, "abc", None)  # a range that has grown


def agent_run(monkeypatch: pytest.MonkeyPatch, folder: Path, **point: Any) -> list[str]:
    """Let it seem that a W&B agent started this process; the point as it is on the command line."""
    file = folder / "config-run.yaml"
    kept = {"wandb_version": 1, **{k: {"desc": None, "value": v} for k, v in point.items()}}
    file.write_text(yaml.safe_dump(kept))
    for name, value in ((SWEEP_ID, "abc"), (RUN_ID, "1x2y"), (POINT_FILE, str(file))):
        monkeypatch.setenv(name, value)
    assert started_by_agent()
    return [f"{name}={value}" for name, value in point.items()]


@pytest.mark.usefixtures("hydra_state")
def test_a_run_is_completed_with_what_a_trial_has(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_registered(runs / "s", record_of())
    point = agent_run(monkeypatch, tmp_path, **POINT)
    completed = complete_overrides(["trainer.max_epochs=2", *point])
    assert completed[0] == "trainer.max_epochs=2"
    assert sorted(completed[1:5]) == sorted(point_overrides(POINT))
    assert completed[5] == "logger=wandb"
    assert f"hydra.run.dir='{runs}/s/01_coarse/1x2y'" in completed
    seeds = [o for o in completed if o.startswith("seed=")]
    monkeypatch.setenv(RUN_ID, "1x2z")
    assert seeds != [o for o in complete_overrides(point) if o.startswith("seed=")]
    assert "logger=none" in complete_overrides(["logger=none", *point])
    assert "logger=wandb" not in complete_overrides(["logger=none", *point])
    monkeypatch.setenv("LOCAL_RANK", "1")  # the other ranks are given all that
    assert not started_by_agent()


@pytest.mark.usefixtures("hydra_state")
def test_without_a_record_the_space_of_the_command_decides(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = agent_run(monkeypatch, tmp_path, **{"optimizer.lr": 0.1, "model.dropout": 0.2})
    own = ["~space.data", "+space.model.dropout=${linear:0,0.5}"]
    assert f"hydra.run.dir='{runs}/wandb/abc/1x2y'" in complete_overrides([*own, *point])
    with pytest.raises(UserError, match=r"sets model\.dropout, which the space of its command"):
        complete_overrides(point)
    with pytest.raises(UserError, match="its command has -m"):
        complete_overrides(["-m", *own, *point])


@pytest.mark.usefixtures("hydra_state")
def test_the_point_is_written_as_hydra_reads_it(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = (Axis("model.a", Choice((None, 0.5))), Axis("model.b", Choice(("10", "true", "a,b"))))
    sweep = SweepFile("s", "01", Space(axes), 9, "val/loss", "min")
    write_registered(runs / "s", record_of(sweep=sweep.text()))
    given = agent_run(monkeypatch, tmp_path, **{"model.a": None, "model.b": "10"})
    assert given == ["model.a=None", "model.b=10"]  # as the agent writes them
    assert complete_overrides(given)[:2] == ["model.a=null", "model.b='10'"]
