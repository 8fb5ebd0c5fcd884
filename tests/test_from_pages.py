"""The pages for people who have a project, come from W&B's sweeps or from Hydra's Optuna sweeper:
every file and every command in them, typed into the projects that they are about."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from caviar.config import resolvers
from caviar.space import Choice, Integer, Linear, Log, LogInteger, Space
from conftest import ROOT, Main
from outside import CAVIAR, PROJECTS, Outside

SMALL = [
    "search.budget=14",
    "search.confirm.budget=6",
    "search.confirm.top=1",
    "search.stages.coarse.num_trials=5",
]
SWEEP = "method: random\nmetric: {name: val/acc, goal: maximize}\nparameters: "


def blocks(page: str) -> list[tuple[str, str]]:
    """Kind and text of each block of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def files(page: str) -> list[tuple[str, str]]:
    """The files of a page, in its order, by the names that their first lines have."""
    named = [re.match(r"# (\S+)\n(.*)", text, re.DOTALL) for k, text in blocks(page) if k != "sh"]
    return [(match[1], match[2]) for match in named if match]


def theirs(folder: Path) -> Path:
    """The project of the page on W&B's sweeps, before it knows of Caviar."""
    given = dict(reversed(files("from-wandb-sweeps.md")))  # the root config's first version
    del given["configs/space/sweep.yaml"]
    for name, text in given.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "requirements.txt").touch()
    return folder


@pytest.fixture
def here(tmp_path: Path, caviar: Main, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's project, as the present folder."""
    monkeypatch.chdir(theirs(tmp_path / "project"))
    for name in ("CAVIAR_ROOT", "CAVIAR_RUNS", "CAVIAR_SCRIPT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return Path.cwd()


@pytest.fixture
def typed(caviar: Main) -> Callable[..., None]:
    """A `caviar …` in this process."""

    def run(command: str, code: int = 0) -> None:
        assert caviar(*shlex.split(command)[1:]) == code

    return run


def test_what_the_page_prints(
    here: Path, typed: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    (printed,) = (text for kind, text in blocks("from-wandb-sweeps.md") if kind == "text")
    written = dict(files("from-wandb-sweeps.md"))["configs/space/sweep.yaml"]
    first = next(text for kind, text in blocks("from-wandb-sweeps.md") if kind == "sh").strip()
    typed(f"{first} --dry-run")
    out, err = capsys.readouterr()
    assert out == written
    assert not (here / "configs/space").exists()
    typed(first)
    assert capsys.readouterr().out == printed == f"space file: configs/space/sweep.yaml\n{err}"
    assert (here / "configs/space/sweep.yaml").read_text(encoding="utf-8") == written
    # Again it is the same file; another one is not written over.
    typed(first)
    (here / "configs/space/sweep.yaml").write_text("edited: 1\n")
    typed(first, code=2)
    assert "write --force" in capsys.readouterr().err
    typed(f"{first} --force")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("parameters: [", "sweep.yaml is no valid YAML"),
        ("", "sweep.yaml has no parameters"),
        ("parameters: {}", "parameters is empty"),
        ("method: tpe\nparameters: {lr: {value: 1}}", "method is 'tpe'; W&B has grid, random"),
        (f"{SWEEP}{{lr: 0.1}}", "parameters.lr: it says 0.1; write value, values"),
        (f"{SWEEP}{{lr: {{distribution: unifrom, min: 0, max: 1}}}}", "did you mean uniform?"),
        (f"{SWEEP}{{lr: {{min: 1, max: 0.1}}}}", "parameters.lr: low 1 is not below high 0.1"),
        (f"{SWEEP}{{heads: {{values: [1, 2]}}}}", "parameters.heads: the config has no such key"),
        (
            f"{SWEEP}{{lr: {{min: 0, max: 0.1}}, optimizer.lr: {{value: 1}}}}",
            "it would be optimizer.lr, as lr is already",
        ),
        (f"{SWEEP}{{lr: {{value: 1}}}}", "no parameter is left that a space could search"),
        (
            "method: random\nmetric: {name: a, goal: max}\nparameters: {lr: {value: 1}}",
            "metric.goal is 'max'; write one of minimize, maximize",
        ),
    ],
)
def test_a_bad_file_is_one_sentence(
    text: str,
    words: str,
    here: Path,
    typed: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (here / "sweep.yaml").write_text(text, encoding="utf-8")
    typed("caviar sweep --from sweep.yaml", code=2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert not (here / "configs/space").exists()


def test_options(
    here: Path, typed: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    more = "{heads: {min: 8, max: 64}, seed: {value: 3}, model: {values: [a, b]}}"
    (here / "sweep.yaml").write_text(SWEEP + more + "\nproject: p\ncommand: [a=1, '--gpu', -x]\n")
    (here / "configs/model").mkdir()
    typed("caviar sweep --from none.yaml", code=2)
    typed("caviar sweep --from sweep.yaml --key heads=model.heads", code=2)
    typed("caviar sweep --from sweep.yaml --key heads", code=2)
    typed("caviar sweep --from sweep.yaml --output there.yaml", code=2)
    typed("caviar sweep --from sweep.yaml --name a/b", code=2)
    rest = "--key heads=model.width --name wide epochs=2"
    (here / "sweep.yaml").write_text((here / "sweep.yaml").read_text().replace("a=1", "epochs=1"))
    typed(f"caviar sweep --from sweep.yaml {rest}")
    out, err = capsys.readouterr()
    assert err.count("error: ") == 5
    assert (here / "configs/space/wide.yaml").is_file()
    assert "model: the choices of a config group are no axis" in out
    assert "command: --gpu -x is no override of Hydra" in out
    assert "on W&B: caviar sweep search.study=wide space=wide" in out
    assert out.splitlines()[-1] == (
        "search it: caviar search search.study=wide space=wide search.seed=3 epochs=2"
    )


@pytest.mark.slow
@pytest.mark.nightly
def test_every_command_of_the_page_on_wandb(tmp_path: Path) -> None:
    project = Outside(tmp_path)
    folder = theirs(project.elsewhere)  # where its calls are made
    lines = [text.splitlines() for kind, text in blocks("from-wandb-sweeps.md") if kind == "sh"]
    assert [len(block) for block in lines] == [1, 2]
    project.call(CAVIAR, *shlex.split(lines[0][0])[1:])
    after = files("from-wandb-sweeps.md")[-1]
    assert after[0] == "configs/train.yaml"
    (folder / after[0]).write_text(after[1])
    printed = project.call(CAVIAR, *shlex.split(lines[1][0])[1:])
    assert "lacks" not in printed
    assert printed.splitlines()[-1] == f"search it: {lines[1][1]}"
    searched = project.call(CAVIAR, *shlex.split(lines[1][1])[1:], *SMALL)
    assert "report.html" in searched
    registered = lines[1][1].replace("caviar search", "caviar sweep")
    page = (ROOT / "docs/from-wandb-sweeps.md").read_text(encoding="utf-8")
    assert f"`{registered}`" in page
    file = project.call(CAVIAR, *shlex.split(registered)[1:], "search.study=w", "--dry-run")
    assert "one_minus.optimizer.momentum" in file


@pytest.mark.slow
@pytest.mark.nightly
def test_every_command_of_the_page_on_projects(tmp_path: Path) -> None:
    project = Outside(tmp_path)
    space = dict(files("existing-project.md"))["configs/space/mine.yaml"]
    project.tune(space, "val/acc_best", "max")
    (commands,) = (t.splitlines() for k, t in blocks("existing-project.md") if k == "sh")
    whole, one = (shlex.split(command, comments=True) for command in commands)
    assert "report.html" in project.caviar(*whole[1:], "trainer.max_epochs=1", *SMALL)
    assert one[:2] == ["python", "src/train.py"]
    assert len(project.run(*one[2:]).splitlines()) == 30


@pytest.mark.slow
@pytest.mark.nightly
def test_every_command_of_the_page_on_optuna(tmp_path: Path) -> None:
    project = Outside(tmp_path)
    space = dict(files("from-optuna-sweeper.md"))["configs/space/mine.yaml"]
    project.tune(space, "val/acc_best", "max")
    (commands,) = (t.splitlines() for k, t in blocks("from-optuna-sweeper.md") if k == "sh")
    whole, one = map(shlex.split, commands)
    more = ["trainer.max_epochs=1", *SMALL, "search.stages.coarse.rungs=[]"]
    assert "report.html" in project.caviar(*whole[1:], *more)
    assert one[:2] == ["python", "src/train.py"]
    assert len(project.run(*one[2:], "search.dry_run=true").splitlines()) == 40


def test_the_page_on_optuna_says_what_each_range_means() -> None:
    """What the grammar makes of the left column lies on the scale of the right one."""
    resolvers.register()
    text = (ROOT / "docs/from-optuna-sweeper.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \|[^|]*\| `(\$\{[^`]+\})`", text, re.MULTILINE)
    assert len(rows) == 10
    parser = OverridesParser.create()
    for theirs, ours in rows:
        tree: Any = OmegaConf.to_container(OmegaConf.create({"a": ours}), resolve=True)
        (axis,) = Space.parse(tree)
        (override,) = parser.parse_overrides([f"a={theirs}"])
        value: Any = override.value()
        assert override.is_sweep_override()
        if isinstance(axis.scale, Choice):
            listed = [*override.sweep_string_iterator()]
            if "range(" in theirs and not value.shuffle:
                listed.append(str(value.stop))  # Optuna's ends are included
            assert sorted(listed) == sorted(str(v) for v in axis.scale.values)
            continue
        end = value.end if override.is_interval_sweep() else value.stop
        assert (value.start, end) == axis.scale.declared()
        logarithmic = "log" in value.tags
        whole = isinstance(value.start, int)
        kinds = {(0, 0): Linear, (1, 0): Log, (0, 1): Integer, (1, 1): LogInteger}
        assert type(axis.scale) is kinds[logarithmic, whole]


def test_the_page_on_optuna_is_about_the_project_outside() -> None:
    """Its file of before names keys of that project, those of its file of after."""
    given = dict(files("from-optuna-sweeper.md"))
    before: Any = OmegaConf.to_container(
        OmegaConf.create(given["configs/hparams_search/mine.yaml"])
    )
    resolvers.register()
    after: Any = OmegaConf.to_container(
        OmegaConf.create(given["configs/space/mine.yaml"]), resolve=True
    )
    assert [*before["hydra"]["sweeper"]["params"]] == [axis.key for axis in Space.parse(after)]
    assert (PROJECTS / "outside/configs/model/digits.yaml").is_file()
