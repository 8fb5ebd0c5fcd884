"""The house: what each room may import, and a core that works without its satellites."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

SATELLITES = ("wandb", "panda", "pages")
SMALL = ["logger=none", "trainer.max_epochs=1", "space=tier_1"]
FEW_SEEDS = ["search.confirm.budget=4", "search.confirm.top=1"]


def test_imports_point_downwards(capsys: pytest.CaptureFixture[str]) -> None:
    """The contracts in pyproject.toml, which `make lint` holds as well."""
    linter = pytest.importorskip("importlinter.cli", reason="the linter is in the extra dev alone")
    status = linter.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == linter.EXIT_STATUS_SUCCESS, capsys.readouterr().out


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project whose satellites are deleted."""
    copy = tmp_path_factory.mktemp("core") / "project"
    for part in ("src", "conf"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / part, copy / part, ignore=ignored)
    shutil.copy(ROOT / "train.py", copy)
    for room in SATELLITES:
        shutil.rmtree(copy / "src" / "caviar" / room)
    return copy


def typed(core: Path, *arguments: str, code: int = 0) -> str:
    """What a command prints in the copy: `train.py …`, or a verb of `caviar`."""
    program = [sys.executable, "train.py", *arguments[1:]]
    if arguments[0] != "train.py":
        program = [sys.executable, "-c", "from caviar.cli import main; main()", *arguments]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CAVIAR_")}
    done = subprocess.run(
        program,
        cwd=core,
        env={**kept, "PYTHONPATH": str(core / "src")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.nightly
@pytest.mark.slow
def test_without_its_satellites_the_core_trains_searches_refines_and_confirms(core: Path) -> None:
    typed(core, "train.py", "trainer.max_epochs=1", "logger=none")
    stage = ["train.py", "-m", *SMALL, "search.study=s", "search.num_trials=5"]
    assert "5 trials: 5 complete" in typed(core, *stage)
    assert "02_fine: ranges" in typed(core, "refine", "search.study=s")
    printed = typed(core, "confirm", "search.study=s", *FEW_SEEDS)
    assert "s: default against" in printed
    assert "report.html" not in printed
    assert (core / "runs/s/verdict.json").exists()
    assert "7 trials" not in typed(core, "status")


@pytest.mark.nightly
def test_without_its_satellites_a_whole_search_runs(core: Path) -> None:
    stages = ["search.stages.coarse.num_trials=5", "search.stages.fine.num_trials=1"]
    whole = ["search", *SMALL, "search.study=t", *stages, "~search.stages.finest", *FEW_SEEDS]
    assert "t: default against" in typed(core, *whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "room"),
    [
        (["panda", "start"], "panda"),
        (["report", "search.study=s"], "pages"),
        (["sweep", "search.study=new"], "wandb"),
    ],
)
def test_a_verb_whose_room_was_deleted_says_so(core: Path, command: list[str], room: str) -> None:
    said = typed(core, *command, code=2)
    assert f"src/caviar/{room}/ is not there" in said
    assert "Traceback" not in said
