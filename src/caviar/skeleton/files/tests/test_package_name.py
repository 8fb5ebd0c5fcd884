"""One batch of everything, through train.py: pytest"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def train(folder: Path, *words: str) -> str:
    """`python train.py WORDS`, whose runs go into a folder; what it prints."""
    done = subprocess.run(
        [sys.executable, "train.py", *words],
        cwd=ROOT,
        env={**os.environ, "CAVIAR_ROOT": str(ROOT), "CAVIAR_RUNS": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_one_batch_of_everything(tmp_path: Path) -> None:
    assert "val/loss" in train(tmp_path, "debug=fast")


def test_the_space_fits_the_config(tmp_path: Path) -> None:
    assert "optimizer.lr=" in train(tmp_path, "-m", "search.dry_run=true", "search.num_trials=2")
