"""Printed commands: quoted for Hydra and a shell, from any folder, options in front."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from caviar.config.commands import (
    caviar_command,
    for_shell,
    options_first,
    set_to,
    sources_of,
    split_sources,
    stage_command,
    train_command,
)
from caviar.config.compose import project_composer
from conftest import ROOT


def test_commands_are_quoted_for_a_shell_and_for_hydra() -> None:
    assert train_command(["a=b c"]) == "python train.py 'a=b c'"
    assert set_to("ckpt_path", Path("/a b/c=1.ckpt")) == "ckpt_path='/a b/c=1.ckpt'"
    words = ["a", "key='b c'", "key='$x'", "key='it\\'s'", 'key="x"', "'~a'", "über=1"]
    assert shlex.split(for_shell(words)) == words
    assert for_shell(words[:2]) == "a \"key='b c'\""
    assert caviar_command("panda start", "null") == "caviar panda start \"search.study='null'\""


def test_a_command_runs_from_the_folder_where_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAVIAR_ROOT", str(ROOT))
    assert caviar_command("status", "s") == "caviar status search.study=s"
    assert stage_command("s", ROOT / "runs/s/a.yaml").endswith("search.sweep=runs/s/a.yaml")
    monkeypatch.chdir(tmp_path)
    assert caviar_command("status", "s") == f"CAVIAR_ROOT={ROOT} caviar status search.study=s"
    assert train_command(["a=1"]) == f"python {ROOT}/train.py a=1"
    assert train_command(["a=1"], at=ROOT) == "python train.py a=1"


def test_options_come_first() -> None:
    assert options_first(["a=1", "-m", "b=2"]) == ["-m", "a=1", "b=2"]
    words = ["a=1", "--config-dir", "x y", "b=2", "--info", "all", "--info", "c=3", "-cn=z"]
    first = ["--config-dir", "x y", "--info", "all", "--info", "-cn=z"]
    assert options_first(words) == [*first, "a=1", "b=2", "c=3"]
    assert split_sources(["--config-dir", "x", "a=1", "-cd", "y", "hydra.searchpath=[z]"]) == (
        ["--config-dir=x", "--config-dir=y", "hydra.searchpath=[z]"],
        ["a=1"],
    )


def test_what_finds_config_files_is_found_in_a_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hydra_state: None
) -> None:
    monkeypatch.setenv("CAVIAR_ROOT", str(ROOT))
    monkeypatch.chdir(tmp_path)
    for name in ("a b", "c"):
        (tmp_path / name / "experiment").mkdir(parents=True)
        text = "# @package _global_\ndefaults: [digits]\n"
        (tmp_path / name / "experiment" / f"of_{name[0]}.yaml").write_text(text)
    assert sources_of(project_composer()([])) == ()
    words = (f"--config-dir={tmp_path}/a b", f"hydra.searchpath=['file://{tmp_path}/c']")
    compose = project_composer([words[0]])
    typed = "hydra.searchpath=[file://c]"
    assert sources_of(compose([typed, "experiment=of_c"])) == words
    assert compose.reach(words) == words
    for experiment in ("of_a", "of_c"):
        assert sources_of(compose([f"experiment={experiment}"])) == words
    assert compose.is_group("experiment")
    root = (ROOT / "conf/train.yaml").read_text() + "another: 1\n"
    (tmp_path / "c/mine.yaml").write_text(root)
    mine = ("--config-name=mine", f"--config-path={tmp_path}/c", f"--config-dir={ROOT}/conf")
    compose = project_composer()
    assert compose.reach(mine) == mine
    config = compose(["experiment=of_c"])
    assert (config.another, sources_of(config)) == (1, mine)
    assert not compose.is_group("experiment_of")
