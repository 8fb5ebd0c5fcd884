"""The wheel: what is in it, and that it works where this repository cannot be imported."""

from __future__ import annotations

import site
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import pytest

from caviar.base.result import COMPLETE
from conftest import ROOT
from outside import Outside
from test_new import SMALLEST, advised, typed

STAGE = ["search.num_trials=2", "trainer.max_epochs=1", "hydra.launcher.num_workers=2"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by what is installed here, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], check=True)
    (built,) = folder.glob("caviar-*-py3-none-any.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, and with all else that is installed here.

    A folder that a `.pth` names is searched for modules, but for no `.pth` of its own: so those
    that make this repository's `src/` importable say nothing there.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin/python"
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.check_output([python, "-c", purelib], text=True).strip()
    Path(packages, "others.pth").write_text("\n".join(site.getsitepackages()))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--ignore-installed", str(wheel)], check=True)
    where = "import caviar, hydra_plugins.caviar as h; print(caviar.__file__, h.__file__)"
    found = subprocess.check_output([python, "-c", where], cwd=folder, text=True).split()
    assert all(Path(file).is_relative_to(packages) for file in found)
    path = subprocess.check_output([python, "-c", "import sys; print(*sys.path)"], text=True)
    assert str(ROOT / "src") not in path.split()
    return python.parent


@pytest.mark.slow
def test_what_is_in_it(wheel: Path) -> None:
    """All files of the package, and what `caviar new` copies; no tests, no benchmarks."""
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if ".dist-info/" not in n}
        (metadata,) = (n for n in archive.namelist() if n.endswith("/entry_points.txt"))
        points = archive.read(metadata).decode()
    expected = {"caviar/skeleton/files/train.py"}
    for top, place in (("src", ""), ("conf", "caviar/skeleton/files/conf/")):
        for path in (ROOT / top).rglob("*"):
            parts = path.relative_to(ROOT / top).parts
            if path.is_file() and not any("cache" in p or p.endswith(".egg-info") for p in parts):
                expected.add(place + "/".join(parts))
    assert names == expected
    assert {
        "caviar/conf/caviar/default.yaml",
        "caviar/conf/hydra/launcher/slurm.yaml",
        "caviar/pages/page.html",
        "caviar/skeleton/files/conf/train.yaml",
        "caviar/skeleton/files/.gitignore",
        "hydra_plugins/caviar/search_path.py",
    } <= names
    assert "hydra_plugins/__init__.py" not in names
    assert "caviar = caviar.cli:main" in points
    assert "[pytorch_lightning.callbacks_factory]" in points
    assert "[lightning.pytorch.callbacks_factory]" in points


@pytest.mark.slow
@pytest.mark.nightly
def test_a_new_project_without_the_repository(installed: Path, tmp_path: Path) -> None:
    """The very lines that are printed, typed where no environment is active; in the pool."""
    printed = typed(f"{installed / 'caviar'} new own", folder=tmp_path)
    activate, enter, search = advised(printed)
    assert activate == f"source {installed / 'activate'}"
    words = f"{SMALLEST} hydra/launcher=pool"
    typed(activate, enter, f'{search} ARGS="{words}"', folder=tmp_path)
    assert (tmp_path / "own/runs/own/verdict.json").exists()


@pytest.mark.slow
@pytest.mark.nightly
def test_somebodys_project_without_the_repository(installed: Path, tmp_path: Path) -> None:
    project = Outside(tmp_path)
    project.tune("model: {net: {width: '${integer:16,64}'}}", "val/acc_best", "max")
    script = str(project.folder / "src/train.py")
    project.call(str(installed / "python"), script, "-m", "search.study=s", *STAGE)
    assert [project.result(f"s/01_coarse/{n}")["status"] for n in (0, 1)] == [COMPLETE] * 2
    status = project.call(str(installed / "caviar"), "status", folder=project.folder)
    assert "2 complete" in status


@pytest.mark.nightly
def test_from_a_wheel_to_a_confirmed_result_in_ten_minutes(wheel: Path, tmp_path: Path) -> None:
    """An empty environment, the packages' index, a new project, and its whole search."""
    constraints = ROOT / "constraints.txt"
    active = "source environment/bin/activate"
    steps = {
        "an empty environment": [f"{sys.executable} -m venv environment"],
        "the wheel and what it needs": [active, f"pip install -q {wheel} -c {constraints}"],
        "caviar new": [active, "caviar new own"],
        "make search": [active, "cd own", "make search"],
        "make report": [active, "cd own", "make report"],
        "make setup": [active, "cd own", "make setup"],
        "make test": [active, "cd own", "make test"],
        "the winner": [active, "cd own", "make train ARGS=experiment=own_winner"],
        "caviar.load": [active, "cd own", "python -c 'import caviar; caviar.load(\"runs/own\")'"],
    }
    seconds = {}
    for name, lines in steps.items():
        begun = time.monotonic()
        printed = typed(*lines, folder=tmp_path, seconds=900)
        seconds[name] = time.monotonic() - begun
        print(f"{seconds[name]:6.1f} s  {name}")
        if name == "make search":
            assert "own: default against winner" in printed
            print(f"{sum(seconds.values()):6.1f} s  from a wheel to a confirmed result")
            assert sum(seconds.values()) < 600
    assert (tmp_path / "own/runs/own/report.html").exists()
