"""The rows of benchmarks/faults.py, on small stages, each night.

By day each fault is found by a test of its own.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import fault_machine  # noqa: F401  its faults join the table
from fault_scenes import SCENES

sys.path.remove(str(ROOT / "benchmarks"))

pytestmark = pytest.mark.nightly

MOUNTS = {"full-disk", "read-only"}
CAP_SYS_ADMIN = 21  # the bit of the right to mount


def may_mount() -> bool:
    rights = re.search(r"^CapEff:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return rights is not None and bool(int(rights[1], 16) >> CAP_SYS_ADMIN & 1)


# A row that cannot be run here does not exist; one that says so by itself has failed.
NAMES = [name for name in SCENES if may_mount() or name not in MOUNTS]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The benchmark's table, whose undisturbed stage all rows share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        from faults import QUICK, Table

        yield Table(tmp_path_factory.mktemp("faults"), QUICK)


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_is_survived(table: Any, name: str) -> None:
    survived, row = table.row(name)
    assert survived, row
