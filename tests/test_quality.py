"""benchmarks/quality: every kind of search keeps to its epochs, and comes to the same once more."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from conftest import ROOT

pytestmark = pytest.mark.nightly
MAIN = str(ROOT / "benchmarks/quality/main.py")
KINDS = ["random", "Sobol", "TPE", "TPE + Hyperband", "Caviar", "Caviar, drawn"]
KINDS += ["SMAC3"] if find_spec("smac") else []


def test_searches_are_repeatable_and_a_small_one_is_written_as_a_table(tmp_path: Path) -> None:
    few = ["--searches", "2", "--budgets", "20", "--tasks", "wine", "--only", *KINDS]
    found = []
    for name in ("one", "two"):
        results = tmp_path / f"{name}.json"
        command = [sys.executable, MAIN, *few, "--results", str(results)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert "| wine |" in done.stdout
        assert "mean rank among peers" in done.stdout
        found.append(json.loads(results.read_text()))
    assert found[0] == found[1]
    scores = found[0]["scores"]["wine"]["20"]
    assert [*scores] == KINDS
    assert all(0 < score < 3 for rows in scores.values() for score, _ in rows)
