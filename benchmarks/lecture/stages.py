"""One stage of random search on each kind of task, by the project's own `train.py -m`.

python benchmarks/lecture/main.py --only importance
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from caviar.config.compose import project_composer
from caviar.ledger import Ledger, Trial
from caviar.space import Space
from lecture.lab import EVERY, Lab

ROOT = Path(__file__).resolve().parents[2]
STAGE = "01_coarse"
# Experiment → trials, and overrides that save time.
TASKS: dict[str, tuple[int, Sequence[str]]] = {
    "digits": (128, ()),
    "digits_conv": (128, ()),
    "breast_cancer": (128, ()),
    "text": (72, ("trainer.max_epochs=2",)),
}
QUICK = {"digits": 6, "breast_cancer": 6}  # trials
CODE = ("conf", "src/caviar/training")  # what the trials' losses come from


@dataclass(frozen=True)
class Stage:
    """What importance is measured from."""

    space: Space
    points: Sequence[dict[str, Any]]
    losses: Sequence[float]


def run_stage(lab: Lab, task: str) -> Stage:
    """Train what has not been trained yet, and read the ledger.

    Raises:
        RuntimeError: the stage failed, with the end of what it printed.
    """
    count, words = TASKS[task]
    if lab.quick:
        count, words = QUICK[task], ("trainer.max_epochs=2",)
    runs = Path(os.environ.get("CAVIAR_RUNS", ROOT / "runs"))
    study = f"lecture_{task}_{stamp([*words, str(lab.seed)])}"
    overrides = [f"experiment={task}", *words]
    command = [
        *(sys.executable, str(ROOT / "train.py"), "-m", *overrides),
        *(f"search.study={study}", f"search.num_trials={count}", f"search.seed={lab.seed}"),
        *("callbacks=none", "trainer=cpu", f"hydra.launcher.num_workers={lab.workers}"),
    ]
    environment = os.environ | {"CAVIAR_RUNS": str(runs), "CAVIAR_ROOT": str(ROOT)}
    runs.mkdir(parents=True, exist_ok=True)
    output = runs / f"{study}.log"
    told, kept = time.perf_counter(), min(count, _finished(runs / study))
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            while process.poll() is None:
                time.sleep(0.1)
                if time.perf_counter() - told > 2 * EVERY:
                    told = time.perf_counter()
                    lab.say(f"stage of {task}: {_finished(runs / study)} of {count} trials")
        finally:
            if process.poll() is None:  # a slip or Ctrl-C here: it stops its own workers
                process.terminate()
                process.wait()
    ledger = runs / study / "study.journal"
    if not ledger.exists():
        tail = output.read_text(encoding="utf-8", errors="replace")[-600:]
        raise RuntimeError(f"{task} ended with {process.returncode}: {tail}")
    trials = [t for t in Ledger.open(str(ledger), study).trials(STAGE)[:count] if usable(t)]
    if len(trials) < count:
        lab.say(f"{task}: {count - len(trials)} of {count} trials failed and are left out")
    lab.trainings += len(trials)
    lab.kept += kept
    config = project_composer()(overrides)
    space = Space.parse(OmegaConf.to_container(config.space, resolve=True))  # type: ignore[arg-type]
    losses = [t.result.loss(config.metric.mode) for t in trials if t.result]
    return Stage(space, [dict(t.point) for t in trials], losses)


def usable(trial: Trial) -> bool:
    """Complete or diverged; a trial that failed says nothing of its setting."""
    return trial.status in ("complete", "diverged")


def _finished(folder: Path) -> int:
    return len(list((folder / STAGE).glob("*/result.json")))


def stamp(words: Sequence[str]) -> str:
    """Eight letters for the options and the code that the losses come from."""
    parts = [word.encode() for word in words]
    for place in CODE:
        for path in sorted((ROOT / place).rglob("*")):
            if path.suffix in (".py", ".yaml"):
                parts.append(path.read_bytes())
    return f"{zlib.crc32(b''.join(parts)):08x}"
