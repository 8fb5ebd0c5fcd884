"""Every command of the README and of the pages of docs/ runs, in a copy that holds their files.

The first command of each kind is typed into a shell, the others are run by `typist.py`, in
processes that have their imports already. Blocks that name the same study are one test; no other
depends on what was typed before.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select
from typing import Any

import pytest

from conftest import ROOT, without_make
from wandb_standin import Service
from wandb_study import skip_without_agents

pytestmark = pytest.mark.slow

# These are about projects of another shape; their commands run in tests/test_from_pages.py, and
# those of the page on the lecture in tests/test_lecture.py.
OTHERS = {"existing-project.md", "from-optuna-sweeper.md", "from-wandb-sweeps.md", "lecture.md"}
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [p.read_text("utf-8") for p in sorted((ROOT / "docs").glob("*.md")) if p.name not in OTHERS]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", "\n".join([README, *PAGES]), re.DOTALL | re.MULTILINE)
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if line]
FILES = {
    path: text
    for kind, text in BLOCKS
    if kind in ("python", "yaml")
    for path in re.findall(r"\A(?:# @package \w+\n)?# ((?:src|conf)/[\w/.]+)\n", text)
}
# What a search costs, not what it does.
SMALLER = (
    "trainer.max_epochs=1 logger=none search.stages.coarse.num_trials=5 "
    "search.stages.fine.num_trials=1 '~search.stages.finest' search.confirm.budget=4 "
    "search.confirm.top=1"
)
# The fewest runs that a sweep can be refined from.
FEW_RUNS = "search.num_trials=5 trainer.max_epochs=1"
# Run by others: the suite itself, what `make lint` covers, and what made this environment.
ELSEWHERE = {"make test", "make test-fast", "make lint", "make format", "make setup"}
PANDA = ("make panda", "caviar panda start")


def sessions() -> list[list[str]]:
    """The commands of each block, with those of earlier blocks that are about the same study."""
    found: list[tuple[set[str], list[str]]] = []
    for kind, text in BLOCKS:
        lines = [line for line in text.splitlines() if line and line not in ELSEWHERE]
        if kind != "sh" or not lines:
            continue
        studies = set(re.findall(r"(?:STUDY|search\.study)=(\w+)", text))
        studies |= set(re.findall(r"experiment=(\w+)_winner", text))
        earlier = next((session for session in found if session[0] & studies), None)
        if not studies and lines[0].startswith("caviar panda"):  # of the run in the block before
            earlier = found[-1]
        if earlier is None:
            found.append((studies, lines))
        else:
            earlier[0].update(studies)
            earlier[1].extend(lines)
    return [commands for _, commands in found]


def kind_of(command: str) -> tuple[str, bool]:
    """What a shell, make or Hydra may do differently with it."""
    words = command.split()
    return words[0], "-m" in words


SESSIONS = sessions()
TYPED = list({kind_of(c): c for s in reversed(SESSIONS) for c in reversed(s)}.values())


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
        ".git", ".venv", "runs", "build", "*cache*", "__pycache__", "*.egg-info"
    )
    shutil.copytree(ROOT, copy, ignore=ignored)
    for path, text in FILES.items():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(text, encoding="utf-8")
    return copy


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
    return {
        **without_make(),
        "PATH": path,
        "PYTHONPATH": f"{project / 'src'}{os.pathsep}{ROOT / 'tests/fast_agent'}",
    }


def smaller(command: str) -> str:
    """The same command on a small budget, where it searches."""
    if command.startswith("make search"):
        given = re.search(r'ARGS="(.*)"', command)
        words = command.partition(" ARGS=")[0]
        return f"{words} ARGS={shlex.quote(f'{given[1] if given else str()} {SMALLER}')}"
    if command.startswith("make sweep"):
        return f"{command} ARGS={shlex.quote(FEW_RUNS)}"
    if "search.study=mine " in command:  # the first search, in small
        command = command.replace("=40", "=8").replace("=20", "=4")
    if command.startswith("make confirm"):
        return f"{command} ARGS='search.confirm.budget=4 search.confirm.top=1'"
    trains = command.startswith("python train.py") and "--cfg" not in command
    if trains and "check=" not in command and "max_epochs" not in command:
        return f"{command} trainer.max_epochs=1"
    if command.startswith("caviar search"):
        return f"{command} {SMALLER}"
    if command.startswith("caviar confirm"):
        return f"{command} search.confirm.budget=4 search.confirm.top=1"
    return command


def test_commands_and_files_are_found() -> None:
    assert {"make search", "make test", "python train.py"} <= set(COMMANDS)
    assert {"src/mine/model.py", "conf/experiment/conv.yaml"} <= set(FILES)


# Commands that need what a test of pages has not: who shows the same, each in its own way.
SHOWN_ELSEWHERE = {
    "source .venv/bin/activate": "tests/test_wheel.py",
    "python train.py optimizer.lr=": "tests/test_search.py",  # printed by the line before
    "caviar search search.study=mine search.storage=postgresql:": "tests/test_postgres.py",
    "caviar worker search.study=mine search.storage=postgresql:": "tests/test_postgres.py",
    "wandb login": "tests/wandb_standin/__init__.py",
    "caviar sweep search.study=mine": "tests/test_wandb_sweeps.py",
    "caviar agent search.study=mine": "tests/test_wandb_agents.py",
    "caviar refine search.study=mine": "tests/test_wandb_sweeps.py",
    "caviar confirm search.study=mine": "tests/test_wandb_sweeps.py",
    "WANDB_MODE=offline caviar search": "tests/test_wandb_sweeps.py",
    "caviar sync": "tests/test_wandb_sweeps.py",
    "pip install optuna-dashboard": "tests/test_journal.py",
    "optuna-dashboard runs/mine/study.journal": "tests/test_journal.py",
}


def test_no_command_hides_in_a_block_that_is_not_run() -> None:
    texts = [text for kind, text in BLOCKS if kind == "text"]
    commands = [
        line
        for line in "\n".join(texts).splitlines()
        if re.match(r"(python|pip|caviar|make|wandb|WANDB_\w+=\S+|optuna-\w+|source) ", line)
    ]
    for command in commands:
        assert any(command.startswith(known) for known in SHOWN_ELSEWHERE), command
    for known, file in SHOWN_ELSEWHERE.items():
        assert any(command.startswith(known) for command in commands), known
        assert (ROOT / file).is_file(), file


Done = subprocess.CompletedProcess[str]


def typed(project: Path, command: str, timeout: float = 200) -> Done:
    """What a shell makes of it."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=project,
        env=environment(project),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


class Typist:
    """`typist.py`, which runs commands in the copy of the project."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/typist.py")],
            cwd=project,
            env=environment(project),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str) -> Done:
        """A `python train.py …` or `caviar …`, or what make would run; else a shell does it."""
        words = shlex.split(command)
        if words[0] == "make":
            recipe = typed(self.project, f"make --dry-run {shlex.join(words[1:])}").stdout
            words = shlex.split(recipe)
        program = Path(words[0]).name
        if program != "caviar" and [program, *words[1:2]] != ["python", "train.py"]:
            return typed(self.project, command)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([program, *words[1:]]) + "\n")
        self.process.stdin.flush()
        assert select([self.process.stdout], [], [], 200)[0], f"{command} takes too long"
        return subprocess.CompletedProcess(words, *json.loads(self.process.stdout.readline()))


@pytest.fixture(scope="module")
def typist(project: Path) -> Iterator[Typist]:
    started = Typist(project)
    yield started
    started.process.kill()
    started.process.communicate()


def test_every_kind_of_command_is_typed_into_a_shell() -> None:
    kinds = {kind_of(command) for command in TYPED}
    assert kinds == {("make", False), ("python", False), ("python", True), ("caviar", False)}


# By day, what no other block shows.
AT_NIGHT = {
    *("make help", "STUDY=doors", "search.study=parallel", "search.study=many"),
    *("hydra/sweeper=grid",),
    *("experiment=conv", "search.study=cub", "caviar.train=mine.plain.train"),
    *("search.num_trials=40 search.dry_run=true", "make sweep STUDY=vision"),
}


def by_day_or_night(commands: list[str]) -> Any:
    night = any(words in commands[0] for words in AT_NIGHT)
    marks = [pytest.mark.nightly] if night else []
    return pytest.param(commands, marks=marks, id=commands[0].replace("/", "_"))


@contextmanager
def looked_after(project: Path, command: str) -> Iterator[subprocess.Popen[str]]:
    """The panda that a command begins, from the end of its first day on; it ends with the block."""
    run = subprocess.Popen(
        ["bash", "-c", command],
        cwd=project,
        env=environment(project),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert run.stdout is not None
        assert any("day 1 ends" in line for line in run.stdout), "it ended within its first day"
        yield run
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.communicate()


@pytest.mark.parametrize("commands", [*map(by_day_or_night, SESSIONS)])
def test_commands(project: Path, typist: Typist, commands: list[str]) -> None:
    if any(command.startswith(("make agent", "caviar agent")) for command in commands):
        skip_without_agents()
    if commands[0].startswith(PANDA):
        with looked_after(project, commands[0]) as run:
            all_run(project, typist, commands[1:])
            # There was time to type all of it.
            assert run.poll() is None or "caviar panda stop" in commands
    else:
        all_run(project, typist, commands)
    if any(command.startswith("make report") for command in commands):
        the_report_has_the_runs_of_sweeps(project)


def all_run(project: Path, typist: Typist, commands: list[str]) -> None:
    """Each command ends well, and warns of nothing."""
    for command in commands:
        ran = smaller(command)
        done = typed(project, ran) if command in TYPED else typist.run(ran)
        assert done.returncode == 0, f"{ran}\n{done.stdout}{done.stderr}"
        if "dry_run" not in command and "--cfg" not in command:
            assert "Warning" not in done.stderr, f"{ran}\n{done.stderr}"
        if "search.dry_run=true" in command:
            lines = done.stdout.splitlines()
            assert lines
            assert all(line.startswith("python train.py ") for line in lines)


def the_report_has_the_runs_of_sweeps(project: Path) -> None:
    """After `make sweep`, `agent`, `refine`, `confirm` and `report`, as the README has them."""
    page = (project / "runs/vision/report.html").read_text(encoding="utf-8")
    found = re.search(r'<script id="study-data"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data = json.loads(found[1])["explorer"]
    trials = data["trials"]  # in columns
    rows = [dict(zip(trials, row, strict=True)) for row in zip(*trials.values(), strict=True)]
    coarse = [row for row in rows if data["stages"][row["stage"]]["name"] == "01_coarse"]
    assert len(coarse) == 5
    for row in coarse:
        assert row["status"] == "complete"
        assert row["there"]
        assert (project / "runs/vision" / row["folder"] / "result.json").is_file()


def test_a_model_of_ones_own_goes_stage_by_stage(typist: Typist) -> None:
    """Every step knows the model and its space from the files that the step before left."""
    first = "python train.py -m experiment=conv trainer.max_epochs=1 search.study=steps"
    commands = [f"{first} search.num_trials=5", "caviar refine search.study=steps"]
    for command in commands:
        done = typist.run(command)
        assert done.returncode == 0, done.stdout + done.stderr
    printed = [line.partition(": ")[2] for line in done.stdout.splitlines() if "next: " in line]
    for command in (printed[0], "caviar confirm search.study=steps"):
        done = typist.run(f"{command} search.dry_run=true")
        assert done.returncode == 0, done.stdout + done.stderr
        assert all("experiment=conv" in line for line in done.stdout.splitlines())


@pytest.mark.nightly
def test_the_first_search_ends_in_a_gain(project: Path) -> None:
    """As it stands, to the verdict that its page shows."""
    text = (ROOT / "docs/first-search.md").read_text(encoding="utf-8")
    commands = re.findall(r"^(?:python|caviar) .*search\.study=mine.*$", text, re.MULTILINE)
    for command in commands:
        done = typed(project, command.replace("mine", "whole"), timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        if command.startswith("caviar confirm"):
            break
    verdict = json.loads((project / "runs/whole/verdict.json").read_text(encoding="utf-8"))
    assert verdict["clear"]
    assert sum(verdict["winner"]["values"]) < 0.8 * sum(verdict["default"]["values"])


def test_output_may_be_cut_short(project: Path) -> None:
    done = typed(project, "python train.py -m search.dry_run=true | head -1")
    assert done.stdout.startswith("python train.py ")
    assert done.stderr == "trials: reading the config …\n"


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


def test_the_documented_version_of_wandb_is_the_pinned_one() -> None:
    pinned = re.search(r"^wandb==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    for text in (README, (ROOT / "docs/wandb.md").read_text(encoding="utf-8")):
        assert re.findall(r"W&B (0\.[\d.]+\d)", text) == [pinned[1]]
