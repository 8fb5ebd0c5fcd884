"""Where the project is, and that its modules can be imported, whoever began the process."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from caviar.base import project
from caviar.base.errors import UserError
from conftest import FAST, ROOT, Main

NET = """
from caviar.training.models import MLP

class Net(MLP):
    pass
"""


@pytest.fixture
def own(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of somebody's own, with a model in `src/models/`, and this process in a subfolder
    of it."""
    folder = tmp_path / "own"
    shutil.copytree(ROOT / "conf", folder / "conf")
    (folder / "src/models").mkdir(parents=True)
    (folder / "src/models/of_mine.py").write_text(NET)
    monkeypatch.delenv("CAVIAR_ROOT")
    monkeypatch.chdir(folder / "src")
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [n for n in sys.modules if n == "src" or n.startswith("src.")]:
        monkeypatch.delitem(sys.modules, name)
    return folder


def test_its_folder_is_above_and_first_on_the_path(own: Path) -> None:
    assert project.enter() == own.resolve()
    assert sys.path[0] == str(own.resolve())
    assert sys.path[-1] == str(own.resolve() / "src")  # as if it were installed
    assert os.environ["CAVIAR_ROOT"] == str(own.resolve())
    before = list(sys.path)
    project.enter()
    assert sys.path == before


def test_the_command_imports_what_train_py_does(own: Path, main: Main) -> None:
    """`main` is what `caviar search` and `confirm` call."""
    assert main(*FAST, "debug=fast", "model._target_=src.models.of_mine.Net") == 0


def test_where_there_is_no_project_no_command_runs(
    caviar: Main,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not even with Caviar's own, though it may be installed from a checkout."""
    monkeypatch.delenv("CAVIAR_ROOT")
    monkeypatch.chdir(tmp_path)
    for verb in (["search"], ["refine", "search.study=s"], ["sweep"]):
        assert caviar(*verb) == 2
        assert (
            "error: no project here: there is no conf/train.yaml, no pyproject.toml and no .git "
            f"in {tmp_path}" in capsys.readouterr().err
        )
    assert not list(tmp_path.iterdir())


def test_a_named_folder_that_is_no_project_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAVIAR_ROOT", str(tmp_path))
    with pytest.raises(UserError, match="is no project"):
        project.root()
