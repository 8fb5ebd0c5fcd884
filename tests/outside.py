"""Projects as they are outside of this repository: a folder of their own, with `configs/`, an entry
in `src/train.py` and environment variables of their own; Caviar is ten lines of YAML in them.

    project = Outside(tmp_path, "gan")
    project.tune("model: {lr: '${log:1e-4,1e-1}'}")   # the ten lines
    project.run("-m", "search.num_trials=2")          # python src/train.py -m …, from elsewhere
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from conftest import ROOT

PROJECTS = ROOT / "tests/projects"
CAVIAR = str(Path(sys.executable).with_name("caviar"))
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "OMP_NUM_THREADS")  # of our environment


class Outside:
    """A project that was made without Caviar.

    Arguments:
        folder: to be made.
        shape: what is trained: a folder of tests/projects, or nothing for its own digits.
        package: whose classes it uses.
    """

    def __init__(self, folder: Path, shape: str = "", package: str = "lightning.pytorch") -> None:
        self.folder, self.runs = folder / "their", folder / "their/runs"
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        shutil.copytree(PROJECTS / "outside", self.folder)
        self.environment = {k: v for k, v in os.environ.items() if k in KEPT or "WANDB" in k}
        self.words: list[str] = []
        if shape:
            self._take(PROJECTS / shape)
            metric = "metric: { name: val/loss, mode: min }"  # where its experiment says no other
            self.edit("configs/train.yaml", "metric: { name: val/acc, mode: max }", metric)
            self.words = [f"experiment={next((PROJECTS / shape).glob('conf/experiment/*')).stem}"]
        self.edit("configs/train.yaml", "package: lightning.pytorch", f"package: {package}")

    def _take(self, shape: Path) -> None:
        """Train what another project trains."""
        shutil.copytree(shape / "conf", self.folder / "configs", dirs_exist_ok=True)
        for file in shape.glob("*.py"):
            shutil.copy(file, self.folder / "src")
        if (shape / "src").exists():
            shutil.copytree(shape / "src", self.folder / "src", dirs_exist_ok=True)

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text, (file, old)
        path.write_text(text.replace(old, new), encoding="utf-8")

    def tune(self, space: str = "", name: str = "", mode: str = "") -> None:
        """Write the lines that make it one that is tuned."""
        chosen = "mine" if space else "null"
        lines = f"  - hydra: default\n  - caviar: default\n  - space: {chosen}\n"
        self.edit("configs/train.yaml", "  - hydra: default\n", lines)
        metric = f"{{ name: {name}, mode: {mode} }}" if name else "${metric}"
        with (self.folder / "configs/train.yaml").open("a") as file:
            file.write(f"caviar:\n  metric: {metric}\n")
        (self.folder / "configs/space").mkdir(exist_ok=True)
        if space:
            (self.folder / "configs/space/mine.yaml").write_text(f"{space}\n")

    def run(self, *words: str, code: int = 0) -> str:
        """`python src/train.py …` from another folder; what it prints."""
        script = str(self.folder / "src/train.py")
        return self.call(sys.executable, script, *words, *self.words, code=code)

    def caviar(self, verb: str, *words: str, code: int = 0, at: str = "") -> str:
        """`caviar VERB …` in a folder of the project; what it prints."""
        folder = self.folder / at
        return self.call(CAVIAR, verb, *self.words, *words, code=code, folder=folder)

    def call(self, *command: str, code: int = 0, folder: Path | None = None) -> str:
        """A command; what it prints on both streams."""
        ended = subprocess.run(
            command,
            cwd=folder or self.elsewhere,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert ended.returncode == code, f"{ended.returncode}: {ended.stdout[-3000:]}"
        return ended.stdout

    def result(self, place: str) -> dict[str, Any]:
        """Of a trial, below runs/."""
        return json.loads((self.runs / place / "result.json").read_text())
