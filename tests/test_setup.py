"""`make setup` shows that it works, and fails as pip does."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT, without_make

pytestmark = pytest.mark.slow
PIP = """\
#!/bin/sh
case "$*" in *pip*) ;; *) exit 0 ;; esac
echo 'Collecting torch>=2.6'
echo '  Downloading torch-2.13.0-cp311-linux_x86_64.whl (190.1 MB)'
echo 'Installing collected packages: torch, numpy'
exit {code}
"""


@pytest.mark.parametrize("code", [0, 1])
def test_setup_says_what_it_does_and_how_long_it_takes(tmp_path: Path, code: int) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(PIP.format(code=code))
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "setup"],
        cwd=tmp_path,
        env=without_make(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (code == 0), done.stderr
    assert done.stdout.splitlines()[:4] == [
        "setting up .venv: torch, Lightning and the rest, one to three minutes the first time",
        "  packages looked up: 1",
        "  loading torch-2.13.0-cp311-linux_x86_64.whl (190.1MB)",
        "  installing what was found: up to a minute",
    ]
    assert (tmp_path / ".venv/.ready").exists() == (code == 0)
