"""The public interface: `caviar.space`, `caviar.report`, `caviar.Result`, `caviar.load`,
`caviar.Ledger`; docs/api.md has an example of each, and they run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import caviar
from caviar.base.errors import UserError
from conftest import FAST, ROOT, Main


def test_what_is_public_is_there() -> None:
    for name in caviar.__all__:
        assert getattr(caviar, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = caviar.nothing  # type: ignore[attr-defined]


def test_the_ledger_is_read(main: Main, runs: Path) -> None:
    stage = ["-m", "hydra/launcher=basic", "search.study=s", "search.num_trials=2", *FAST]
    assert main(*stage) == 0
    ledger = caviar.Ledger(runs / "s")
    assert ledger.stages() == ["01_coarse"]
    trials, rows = ledger.trials("01_coarse"), ledger.rows()
    assert [row["best"] for row in rows] == [t.result.best for t in trials if t.result]
    natural = 1 - trials[0].point["one_minus.optimizer.momentum"]
    assert rows[0]["optimizer.momentum"] == pytest.approx(natural)
    with pytest.raises(UserError, match="no stage 02_fine; there are 01_coarse"):
        ledger.trials("02_fine")
    with pytest.raises(UserError, match="the folder of no study"):
        caviar.Ledger(runs / "nowhere")
    assert not (runs / "nowhere").exists()


@pytest.mark.slow
def test_the_examples_of_the_documentation_run(tmp_path: Path) -> None:
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) >= 5
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "train.py", tmp_path)
    script = tmp_path / "examples.py"
    script.write_text("\n\n".join(blocks), encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CAVIAR")}
    ended = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
