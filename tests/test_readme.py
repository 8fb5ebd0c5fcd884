"""Every command of the README and docs/running.md runs, in a copy of the project that holds the
README's own files."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from conftest import ROOT
from wandb_standin import Service

pytestmark = pytest.mark.slow

README = (ROOT / "README.md").read_text(encoding="utf-8")
RUNNING = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README + RUNNING, re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if line]
FILES = {
    path: text
    for kind, text in BLOCKS
    if kind in ("python", "yaml")
    for path in re.findall(r"\A(?:# @package \w+\n)?# ((?:src|conf)/[\w/.]+)\n", text)
}
# What a search costs, not what it does.
SMALLER = (
    "trainer.max_epochs=2 logger=none search.stages.coarse.num_trials=6 "
    "search.stages.fine.num_trials=2 '~search.stages.finest' search.confirm.default_seeds=2 "
    "search.confirm.top=1"
)
# The fewest runs that a sweep can be refined from.
FEW_RUNS = "search.num_trials=5 trainer.max_epochs=1"
# Run by others: the suite itself, and what `make lint` covers.
ELSEWHERE = {"make test", "make test-fast", "make lint", "make format"}


@pytest.fixture(scope="module", autouse=True)
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A W&B account to be logged in to, of a stand-in."""
    with (
        Service(tmp_path_factory.mktemp("service")) as service,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in service.environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as a reader has it after following the README."""
    copy = tmp_path_factory.mktemp("reader") / "caviar"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "runs", "*cache*", "__pycache__", "*.egg-info"
    )
    shutil.copytree(ROOT, copy, ignore=ignored)
    for path, text in FILES.items():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(text, encoding="utf-8")
    return copy


def without_make() -> dict[str, str]:
    """The environment as it is outside of `make test`, and of other projects."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("CAVIAR_", "MAKE", "MFLAGS"))}


def environment(project: Path) -> Mapping[str, str]:
    """This Python as `python`, this package as `caviar`, the copy's code and configs."""
    commands = project.parent / "bin"
    if not commands.exists():
        commands.mkdir()
        caviar = f"#!{sys.executable}\nfrom caviar.cli import main\nmain()\n"
        python = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'  # a link would lose its packages
        for name, text in (("caviar", caviar), ("python", python)):
            (commands / name).write_text(text)
            (commands / name).chmod(0o755)
        # `make` finds its environment made already, and these programs in it.
        (project / ".venv").mkdir()
        (project / ".venv/bin").symlink_to(commands)
        (project / ".venv/.ready").touch()
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    return {**without_make(), "PATH": path, "PYTHONPATH": str(project / "src")}


def smaller(command: str) -> str:
    """The same command on a small budget, where it searches."""
    if command.startswith("make search"):
        given = re.search(r'ARGS="(.*)"', command)
        return f"make search ARGS={shlex.quote(f'{given[1] if given else str()} {SMALLER}')}"
    if command.startswith("make sweep"):
        return f"{command} ARGS={shlex.quote(FEW_RUNS)}"
    if command.startswith("make confirm"):
        return f"{command} ARGS='search.confirm.default_seeds=2 search.confirm.top=1'"
    if command.endswith("experiment=text"):
        return f"{command} trainer.max_epochs=1"
    if command.startswith("caviar search"):
        return f"{command} {SMALLER}"
    if command.startswith("caviar confirm"):
        return f"{command} search.confirm.default_seeds=2 search.confirm.top=1"
    return command


def test_commands_and_files_are_found() -> None:
    assert {"make search", "make test", "python train.py"} <= set(COMMANDS)
    assert {"src/mine/model.py", "conf/experiment/conv.yaml"} <= set(FILES)


def typed(project: Path, command: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of it."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=project,
        env=environment(project),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ELSEWHERE])
def test_command(project: Path, command: str) -> None:
    done = typed(project, smaller(command))
    assert done.returncode == 0, done.stdout + done.stderr
    if "dry_run" not in command and "--cfg" not in command:
        assert "Warning" not in done.stderr
    if "search.dry_run=true" in command:
        assert all(line.startswith("python train.py ") for line in done.stdout.splitlines())


def test_the_report_of_a_study_of_sweeps_has_its_runs(project: Path) -> None:
    """After `make sweep`, `agent`, `refine`, `confirm` and `report`, as the README has them."""
    page = (project / "runs/vision/report.html").read_text(encoding="utf-8")
    found = re.search(r'<script id="study-data"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert found is not None
    rows = [row for row in json.loads(found[1])["rows"] if row["stage"] == "01_coarse"]
    assert len(rows) == 5
    for row in rows:
        assert row["status"] == "complete"
        assert row["there"]
        assert (project / "runs/vision" / row["folder"] / "result.json").is_file()


def test_a_model_of_ones_own_goes_stage_by_stage(project: Path) -> None:
    """Every step knows the model and its space from the files that the step before left."""
    first = "python train.py -m experiment=conv trainer.max_epochs=1 search.study=steps"
    commands = [f"{first} search.num_trials=5", "caviar refine search.study=steps"]
    for command in commands:
        done = typed(project, command)
        assert done.returncode == 0, done.stdout + done.stderr
    printed = [line.partition(": ")[2] for line in done.stdout.splitlines() if "next: " in line]
    for command in (printed[0], "caviar confirm search.study=steps"):
        done = typed(project, f"{command} search.dry_run=true")
        assert done.returncode == 0, done.stdout + done.stderr
        assert all("experiment=conv" in line for line in done.stdout.splitlines())


def test_output_may_be_cut_short(project: Path) -> None:
    done = typed(project, "python train.py -m search.dry_run=true | head -1")
    assert done.stdout.startswith("python train.py ")
    assert not done.stderr


def test_the_test_command_is_what_ci_calls() -> None:
    calls = [line.strip() for line in (ROOT / ".ci/run").read_text().splitlines()]
    assert calls[-1] == "make test"
    make = subprocess.run(
        ["make", "--dry-run", "test"],
        cwd=ROOT,
        env=without_make(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "-m pytest" in make.stdout


def test_every_target_is_listed() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):(?!=)", makefile, re.MULTILINE))
    listed = subprocess.run(
        ["make", "help"],
        cwd=ROOT,
        env=without_make(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert {line.split()[1] for line in listed.splitlines()} == targets


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_the_documented_version_of_wandb_is_the_pinned_one() -> None:
    pinned = re.search(r"^wandb==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    for text in (README, (ROOT / "docs/wandb.md").read_text(encoding="utf-8")):
        assert re.findall(r"W&B (0\.[\d.]+\d)", text) == [pinned[1]]
