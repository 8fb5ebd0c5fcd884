"""Every verb in a terminal of 80 columns: no line is broken inside of a word, and nothing is cut.

What is longer than the screen is a command or a path, which has to stay one line to be copied.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from select import select

import pyte
import pytest
from rich.cells import cell_len

from caviar.base.result import COMPLETE, DIVERGED, EXCEPTION, PRUNED
from conftest import ROOT
from made_studies import made

pytestmark = pytest.mark.slow

COLUMNS = 80
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
TO_COPY = re.compile(r"\s*(?:(?:python|caviar|wandb|source|cd) \S.*|\S+)")
THEIRS = """
method: random
metric: {name: val/loss, goal: minimize}
parameters:
  optimizer.lr: {min: 0.0001, max: 0.1}
  model.width: {values: [16, 32, 64]}
"""
ERROR = "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB, of which nothing is left; "
ERROR += "see what else runs there, and how much of it has been reserved by PyTorch"

# A command, its exit code, and words that it must show.
VERBS = [
    ("caviar status", 0, "01_coarse: 24 trials"),
    ("caviar status search.study=made", 0, "reserved by PyTorch"),
    ("caviar retry search.study=made --dry-run", 0, "begins anew"),
    ("caviar sweep search.study=other --dry-run", 0, "distribution: log_uniform_values"),
    ("caviar sweep --from theirs.yaml --dry-run", 0, "search it: caviar search"),
    ("caviar agent search.study=made", 2, "register it with caviar sweep search.study=made"),
    ("caviar agent --help", 0, "Agents. Default: one per GPU, else per core."),
    ("caviar worker search.study=made search.idle=0", 0, "no trial of study made is left"),
    ("caviar search search.study=made optimzer.lr=3", 2, "optimizer.lr"),
    ("caviar new mine", 0, "make search"),
    ("caviar new mine", 2, "is not empty"),
    ("python train.py trainer.max_epochs=2", 0, "8,970 parameters"),
    ("caviar panda start search.study=p trainer.max_epochs=2", 0, "day 2 ends: val/loss"),
    ("caviar panda set optimizer.lr=*2 search.study=p", 2, "caviar panda start search.study=p"),
    ("caviar panda back --to day1 optimizer.lr=*0.5 search.study=p", 0, "back to day 1"),
    ("caviar panda log search.study=p", 0, "optimizer.lr 0.01 → 0.005"),
    ("caviar panda picture search.study=p", 0, "panda.png"),
    ("caviar panda --help", 0, "fork"),
]
COMPUTING = [  # forests, pictures, drawn points
    ("caviar importance search.study=made", 0, "optimizer.momentum"),
    ("caviar report search.study=made", 0, "open it in a browser; it needs no network"),
    ("caviar refine search.study=made", 0, "next:"),
    ("caviar confirm search.study=made search.dry_run=true", 0, "python train.py seed="),
    ("python train.py -m search.study=x search.dry_run=true search.num_trials=1", 0, "depth=1"),
]


Typed = Callable[[str], tuple[int, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In the place of `runs/`."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def typed(folder: Path) -> Iterator[Typed]:
    """Types a command into a terminal of its own; its exit code, and what it wrote there."""
    own = {"CAVIAR_RUNS": str(folder), "CAVIAR_ROOT": str(ROOT), "PYTHONPATH": str(ROOT / "tests")}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/typist.py"), str(COLUMNS)],
        cwd=ROOT,
        env=os.environ | own,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def type_(command: str) -> tuple[int, str]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(command.split()) + "\n")
        process.stdin.flush()
        assert select([process.stdout], [], [], 200)[0], f"{command} takes too long"
        code, wrote, _ = json.loads(process.stdout.readline())
        return code, wrote

    yield type_
    process.kill()
    process.communicate()


def seen(wrote: str) -> list[str]:
    """What is on the screen in the end, and has left it at its top."""
    screen = pyte.HistoryScreen(COLUMNS, 30, history=10_000)
    pyte.Stream(screen).feed(wrote)
    above = ["".join(line[at].data for at in range(COLUMNS)) for line in screen.history.top]
    return [line.rstrip() for line in (*above, *screen.display) if line.strip()]


def too_long(wrote: str) -> list[str]:
    """Lines that the terminal has to fold, but for what is there to be copied."""
    lines = re.split(r"[\r\n]+", CONTROL.sub("", wrote))
    return [s for s in lines if cell_len(s) > COLUMNS and not TO_COPY.fullmatch(s)]


@pytest.fixture(scope="module")
def study(folder: Path) -> Path:
    """With trials of every fate, one of them with an error of several lines."""
    fate = {3: EXCEPTION, 5: DIVERGED, 7: PRUNED}.get
    made(
        folder / "made",
        stages={"01_coarse": 24},
        fate=lambda number: fate(number, COMPLETE),
        error=ERROR,
    )
    return folder / "made"


@pytest.mark.nightly
@pytest.mark.parametrize("verbs", [VERBS, COMPUTING], ids=["look", "compute"])
def test_every_verb_at_80_columns(
    typed: Typed, study: Path, tmp_path: Path, verbs: list[tuple[str, int, str]]
) -> None:
    (tmp_path / "theirs.yaml").write_text(THEIRS)
    for command, code, words in verbs:
        where = command.replace("new mine", f"new {tmp_path / 'mine'}")
        where = where.replace("theirs.yaml", str(tmp_path / "theirs.yaml"))
        exit_code, wrote = typed(where)
        assert exit_code == code, f"{command}: {wrote}"
        long = too_long(wrote)
        # The file that a space is written into has comments of its own width.
        assert not [s for s in long if "theirs" not in command or "#" not in s], command
        shown = " ".join(" ".join(seen(wrote)).split())
        assert words in shown, f"{command}: {wrote}"


def test_a_panda_leaves_no_bar_behind(typed: Typed) -> None:
    """The bar is drawn while it trains, above it the journal, and it is gone in the end."""
    code, wrote = typed(
        "caviar panda start search.study=bars trainer.max_epochs=4 model._target_=slow_models.Slow"
    )
    assert code == 0
    bars = re.findall(r"epoch \d/3  [━─]+  \d+/34[^\r\n\x1b]*", CONTROL.sub("", wrote))
    assert any("val/loss" in bar and "val/acc" in bar and " left" in bar for bar in bars)
    assert all(len(bar) < COLUMNS for bar in bars)
    lines = seen(wrote)
    assert not [line for line in lines if "━" in line or "/34" in line]
    days = [line for line in lines if " ends: val/loss " in line]
    assert len(days) == 4
    assert all(line.startswith("branch 0, day ") for line in days)
    assert " ".join(lines[-2:]).split()[-4:] == ["the", "checkpoints", "and", "the", "logs"][-4:]


@pytest.mark.nightly
def test_a_whole_search_at_80_columns(typed: Typed) -> None:
    few = [f"search.stages.{name}.num_trials=5" for name in ("coarse", "fine", "finest")]
    ends = ["search.confirm.budget=4", "search.confirm.top=1", "trainer.max_epochs=2"]
    code, wrote = typed(" ".join(["caviar search search.study=s space=all", *few, *ends]))
    try:
        assert code == 0, wrote
        assert too_long(wrote) == []
        assert not [line for line in seen(wrote) if "waiting" in line]  # of the live view
    finally:
        (ROOT / "conf/experiment/s_winner.yaml").unlink(missing_ok=True)
