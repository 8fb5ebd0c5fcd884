"""What `python train.py` makes of a run that a W&B agent started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from caviar import rooms
from caviar.base.errors import UserError
from caviar.config.overrides import point_overrides
from caviar.space import Axis, Choice, Space
from caviar.space.sweep_file import SweepFile
from caviar.wandb.child import (
    POINT_FILE,
    complete_overrides,
    read_point,
    refuse_undeclared,
    run_number,
    started_by_agent,
)
from caviar.wandb.child import RUN as RUN_ID
from caviar.wandb.child import SWEEP as SWEEP_ID
from caviar.wandb.record import write_registered
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
        ("optimizer.lr", float("nan")),
        ("optimizer.lr", 10**400),
        ("model.width", 64.5),
        ("model.act", "tanh"),
        ("model.act", ["relu"]),
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
    assert f"hydra.run.dir={runs}/s/01_coarse/1x2y" in completed
    seeds = [o for o in completed if o.startswith("seed=")]
    monkeypatch.setenv(RUN_ID, "1x2z")
    assert seeds != [o for o in complete_overrides(point) if o.startswith("seed=")]
    assert "logger=none" in complete_overrides(["logger=none", *point])
    assert "logger=wandb" not in complete_overrides(["logger=none", *point])
    monkeypatch.setenv("LOCAL_RANK", "1")  # the other ranks are given all that
    assert not started_by_agent()
    with pytest.raises(UserError, match="the test set is locked"):
        rooms.refuse_test(
            OmegaConf.create({"caviar": {}, "test": True, "fit": True, "ckpt_path": None})
        )


@pytest.mark.parametrize(
    ("run_id", "number"),
    [("1x2y", 89530), ("zz", 1295), ("ABC", 13368), ("a_b", 371), ("007", 7)],
)
def test_ids_of_letters_and_digits_keep_their_number(run_id: str, number: int) -> None:
    """The number decides the seed; a study that goes on must not train its runs otherwise."""
    assert run_number(run_id) == number


@pytest.mark.usefixtures("hydra_state")
def test_a_run_may_be_called_anything(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W&B allows it, and people set WANDB_RUN_ID."""
    write_registered(runs / "s", record_of())
    point = agent_run(monkeypatch, tmp_path, **POINT)
    seeds = set()
    ids = ["1x2y", "my-run", "my-ruN", "a.b", "_", "-", "2026-01-01 10h", "läuft", "it=1", "\udcff"]
    for run_id in ids:
        monkeypatch.setenv(RUN_ID, run_id)
        completed = complete_overrides(point)
        seeds |= {override for override in completed if override.startswith("seed=")}
        parsed = OverridesParser.create().parse_overrides(completed)
        (folder,) = [o.value() for o in parsed if o.key_or_group == "hydra.run.dir"]
        assert folder == f"{runs}/s/01_coarse/{run_id}"
    assert "seed=62562283" in seeds  # of 1x2y, as ever
    assert len(seeds) == len(ids)


@pytest.mark.parametrize("run_id", ["..", ".", "../../a", "a/b"])
def test_a_runs_folder_stays_in_its_stage(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_id: str
) -> None:
    write_registered(runs / "s", record_of())
    point = agent_run(monkeypatch, tmp_path, **POINT)
    monkeypatch.setenv(RUN_ID, run_id)
    with pytest.raises(UserError, match=r"WANDB_RUN_ID='.*' cannot be a folder's name"):
        complete_overrides(point)


@pytest.mark.parametrize("content", [b"\xff", b"- 1", b"{", b"7", b"a: [b", b"text"])
def test_an_unreadable_point_is_a_clear_message(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "point.yaml").write_bytes(content)
    with pytest.raises(UserError, match="the agent's file of this run's point cannot be read"):
        read_point(tmp_path / "point.yaml")


@pytest.mark.usefixtures("hydra_state")
def test_without_a_record_the_space_of_the_command_decides(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = agent_run(monkeypatch, tmp_path, **{"optimizer.lr": 0.1, "model.dropout": 0.2})
    own = ["~space.data", "+space.model.dropout=${linear:0,0.5}"]
    assert f"hydra.run.dir={runs}/wandb/abc/1x2y" in complete_overrides([*own, *point])
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


@pytest.mark.slow
def test_every_run_of_an_agent_begins_without_heavy_imports() -> None:
    heavy = "{'torch', 'optuna', 'sqlalchemy', 'wandb', 'rich', 'lightning', 'hydra'}"
    code = f"import sys, caviar.wandb.child; sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (0, "")
