"""Tab completion of `caviar`, and its help: every verb, study and key, whole and fast."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from caviar.cli import app, completion
from caviar.cli.group import ORDER
from conftest import ROOT, Main


@pytest.mark.parametrize("words", [[], ["--help"], ["help"]])
def test_help_is_whole_and_in_the_order_of_work(
    caviar: Main,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert caviar(*words) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "..." not in printed.partition("\n")[2]  # behind the usage
    said = " ".join(printed.split())
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    assert set(ORDER) == set(verbs)
    for command in verbs.values():
        assert " ".join(command.help.partition("\n\n")[0].split()) in said
    lines = [
        line.split()[0] for line in printed.splitlines() if line[:3].strip() and line[:2] == "  "
    ]
    shown = [word for word in lines if word in verbs]
    assert shown == list(ORDER)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("caviar re", ["refine ", "report ", "retry "]),
        ("caviar panda st", ["start ", "stop "]),
        ("caviar refine --f", ["--force "]),
        ("caviar report search.study=", ["search.study=mine ", "search.study=other "]),
        ("caviar search experiment=digits", ["experiment=digits ", "experiment=digits_conv "]),
        (
            "caviar search optimizer=adam optimizer.b",
            [f"optimizer.{b}=" for b in ("beta1", "beta2", "betas")],
        ),
        ("caviar search optim", ["optimizer.", "optimizer="]),
        ("caviar search ~space.opt", ["~space.optimizer."]),
        ("caviar search +search.free", ["+search.freeze="]),
        ("caviar search search.freeze=", ["search.freeze=false ", "search.freeze=true "]),
        ("caviar search nothing.of=", [""]),
    ],
)
def test_a_tab_completes(
    caviar: Main,
    runs: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    found: list[str],
) -> None:
    for name in ("mine", "other"):
        (runs / name).mkdir(parents=True)
        (runs / name / "study.journal").touch()
    (runs / "train").mkdir()
    monkeypatch.setenv(completion.VARIABLE, line)
    assert caviar() == 0
    assert capsys.readouterr().out.split("\n")[:-1] == found


def test_each_shell_finds_it_where_it_looks(
    caviar: Main,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    for shell in completion.SHELLS:
        assert caviar("--install-completion", shell) == 0
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert caviar("--install-completion") == 0
    assert f"source {tmp_path}/.local/share/zsh" in capsys.readouterr().out
    assert (tmp_path / ".config/fish/completions/caviar.fish").exists()
    assert caviar("--install-completion", "tcsh") == 2
    assert "write one of bash, zsh, fish" in capsys.readouterr().err


def test_hydras_own_completion_of_train_py(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("-sc", "install=bash") == 0
    printed = capsys.readouterr()
    assert "hydra_bash_completion()" in printed.out
    assert not printed.err


@pytest.mark.slow
def test_bash_completes_behind_an_equals_sign_without_torch(runs: Path, tmp_path: Path) -> None:
    """bash takes `search.study=m` for three words."""
    (runs / "mine").mkdir(parents=True)
    (runs / "mine/study.journal").touch()
    program = tmp_path / "caviar"
    code = "from caviar.cli import main; main(); import sys; assert 'torch' not in sys.modules"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}"\n')
    program.chmod(0o755)
    (tmp_path / "script").write_text(completion.BASH)
    line = "caviar report search.study=m"
    typed = (
        f"source script; COMP_LINE='{line}'; COMP_POINT={len(line)}; _caviar; echo \"[$COMPREPLY]\""
    )
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "CAVIAR_ROOT": str(ROOT),
    }
    done = subprocess.run(
        ["bash", "--norc", "-c", typed],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[mine ]\n", done.stderr
