"""`caviar new DIR`: a project of one's own, whose printed commands work."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from caviar.skeleton import files_of, package_of
from conftest import ROOT, Main
from outside import CAVIAR, KEPT

# A search that says something of nothing, as fast as one can be.
SMALLEST = (
    "trainer.max_epochs=1 search.rehearse=false search.stages.coarse.num_trials=3 "
    "'~search.stages.fine' '~search.stages.finest' search.confirm.budget=4 search.confirm.top=1"
)


def typed(*lines: str, folder: Path, path: Path | None = None, seconds: float = 600) -> str:
    """What a shell prints to these lines, in an environment that knows of no project.

    Arguments:
        lines: that are typed, each of which must do.
        folder: where.
        path: of programs, in front of the others.
        seconds: that it may take.
    """
    index = ("PIP_", "http_proxy", "https_proxy", "SSL_")  # how pip finds it
    kept = {name for name in os.environ if name in KEPT or name.startswith(index)}
    environment = {name: os.environ[name] for name in kept}
    if path is not None:
        environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", "\n".join(lines)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def advised(printed: str) -> list[str]:
    """The commands that `caviar new` says come next."""
    return [line.strip() for line in printed.partition("next:\n")[2].splitlines()]


def test_what_is_written_is_what_a_user_edits(
    caviar: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole of conf/ with one line changed, train.py, and files of the project's own."""
    folder = tmp_path / "My-Own"
    (folder / ".git").mkdir(parents=True)  # a repository without any file yet
    assert caviar("new", str(folder)) == 0
    assert "src/my_own/" in capsys.readouterr().out
    found = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    for path in (ROOT / "train.py", *(ROOT / "conf").rglob("*.yaml")):
        text = found.pop(str(path.relative_to(ROOT))).read_text()
        if path.name == "train.yaml":
            text = text.replace("  - experiment: my_own #", "  - experiment: digits #")
        assert text == path.read_text()
    groups = ("model", "data", "space", "experiment")
    assert {*found} == {
        *(f"conf/{group}/my_own.yaml" for group in groups),
        *(f"src/my_own/{name}.py" for name in ("__init__", "model", "data")),
        *("tests/test_my_own.py", "sweeps/README.md"),
        *("pyproject.toml", "Makefile", ".gitignore", "README.md"),
    }
    assert not [path for path in found.values() if "package_name" in path.read_text()]
    assert tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"] == "my_own"
    for group in groups:
        assert found[f"conf/{group}/my_own.yaml"].read_text().startswith("# ")
        assert yaml.safe_load(found[f"conf/{group}/my_own.yaml"].read_text())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("2fast", "'2fast' is no name for a Python package"),
        ("größe", "'größe' is no name for a Python package"),
        ("class", "'class' is no name for a Python package"),
        ("torch", "torch is the name of a package that is installed here"),
        ("json", "json is the name of a package that is installed here"),
        ("train", "train is the name of train.py, which comes along"),
        ("Digits", "digits is the name of conf/data/digits.yaml, which comes along"),
    ],
)
def test_a_name_that_cannot_be_a_packages(
    caviar: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    assert caviar("new", str(tmp_path / name)) == 2
    printed = capsys.readouterr().err
    assert f"error: {words}" in printed
    assert "choose another one with --name" in printed
    assert not (tmp_path / name).exists()
    assert caviar("new", str(tmp_path / name), "--name", "mine") == 0
    assert (tmp_path / name / "src/mine/model.py").exists()


@pytest.mark.parametrize(
    ("folder", "name"), [("My-Own", "my_own"), ("a.b c", "a_b_c"), ("net3", "net3")]
)
def test_a_folders_name_becomes_a_packages(folder: str, name: str) -> None:
    assert package_of(Path(folder)) == name


def test_a_folder_that_is_in_use_stays_as_it_is(
    caviar: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/notes.txt").write_text("mine")
    for place, words in (("own", "is not empty: notes.txt"), ("own/notes.txt", "is a file")):
        assert caviar("new", str(tmp_path / place)) == 2
        printed = capsys.readouterr().err
        assert f"error: {tmp_path / place} {words}; name a folder that is empty" in printed
        assert [p.name for p in tmp_path.rglob("*")] == ["own", "notes.txt"]


def test_caches_do_not_come_along() -> None:
    assert not [path for path in files_of("own") if "cache" in path or path.endswith(".pyc")]


def test_the_version(caviar: Main, capsys: pytest.CaptureFixture[str]) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert caviar("--version") == 0
    assert capsys.readouterr().out == f"caviar {declared}\n"
    assert f"\n## {declared} " in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.slow
def test_it_takes_no_torch_and_no_project(tmp_path: Path) -> None:
    watch = (
        "import sys\nsys.argv = ['caviar', 'new', 'own']\nfrom caviar.cli import main\n"
        "try:\n    main()\nexcept SystemExit as left:\n    assert not left.code, left.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", watch], cwd=tmp_path, check=True)
    assert (tmp_path / "own/train.py").exists()


@pytest.mark.slow
@pytest.mark.nightly
def test_its_printed_commands_work(tmp_path: Path) -> None:
    """Its search, its own tests; and a linter has nothing to say of it."""
    programs = Path(CAVIAR).parent
    printed = typed("caviar new 'My Own'", folder=tmp_path, path=programs)
    enter, search = advised(printed)
    assert (enter, search) == ("cd 'My Own'", "make search")
    lint = ("ruff check --no-cache .", "ruff format --no-cache --check .")
    do = (enter, *lint, f'{search} ARGS="{SMALLEST}"', "make test")
    done = typed(*do, folder=tmp_path, path=programs)
    assert "All checks passed!" in done
    assert "2 passed" in done
    assert (tmp_path / "My Own/runs/my_own/verdict.json").exists()


@pytest.mark.slow
def test_make_says_where_there_is_no_caviar(tmp_path: Path) -> None:
    typed(f"{CAVIAR} new own", folder=tmp_path)
    without = {"PATH": "/usr/bin:/bin"}
    command = ["make", "-C", str(tmp_path / "own"), "search"]
    done = subprocess.run(command, env=without, capture_output=True, text=True)
    assert done.returncode == 2
    assert "error: no caviar here; activate the environment" in done.stdout
