"""Some rows of benchmarks/faults.py, on a small stage: those that no other test covers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The benchmark's table, whose undisturbed stage all rows share."""
    before = list(sys.path)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from faults import QUICK, Table

    folder: Path = tmp_path_factory.mktemp("faults")
    yield Table(folder, QUICK)
    sys.path[:] = before


@pytest.mark.parametrize("name", ["full-disk", "locked-ledger"])
def test_a_fault_is_survived(table: Any, name: str) -> None:
    survived, row = table.row(name)
    if survived is None:
        pytest.skip(row)
    assert survived, row
