"""Files that others read while a process writes them, or dies: replaced, or not written yet."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from caviar.base.errors import rank_error
from caviar.base.files import last_line, replaced


def test_a_file_is_on_the_disk_before_it_takes_anothers_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power loss an empty file would else stand for a whole one."""
    path, calls = tmp_path / "verdict.json", []
    path.write_text("old")
    sync, replace = os.fsync, os.replace

    def recorded_sync(handle: int) -> None:
        place = Path(os.readlink(f"/proc/self/fd/{handle}"))
        calls.append(("sync", place, place.read_text() if place.is_file() else None))
        sync(handle)

    def recorded_replace(source: Path, target: Path) -> None:
        calls.append(("replace", source, target))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_sync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    with replaced(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert calls == [
        ("sync", partial, "new"),
        ("replace", partial, path),
        ("sync", tmp_path, None),
    ]
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_half_way_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    path.write_text("old")

    def fail() -> None:
        with replaced(path) as partial:
            partial.write_text("ne")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "line"), [(None, ""), ("", ""), ("\n", ""), ("one", "one"), ("one\ntwo\n", "two")]
)
def test_a_text_may_not_be_written_yet(tmp_path: Path, content: str | None, line: str) -> None:
    if content is not None:
        (tmp_path / "error.txt").write_text(content)
    assert last_line(tmp_path / "error.txt") == line


LOST = "RuntimeError: Connection closed by peer [127.0.0.1]:16808. This is typically caused by …"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({}, ""),
        ({1: ""}, ""),  # opened, and not yet written
        ({1: "ValueError: mine\n"}, "rank 1: ValueError: mine"),
        ({1: "", 2: "Traceback\nValueError: mine\n"}, "rank 2: ValueError: mine"),
        ({2: "ValueError: first\n", 1: "ValueError: second\n"}, "rank 2: ValueError: first"),
        ({1: LOST, 2: "ValueError: mine\n", 3: LOST}, "rank 2: ValueError: mine"),
        ({11: LOST}, f"rank 11: {LOST}"),
    ],
)
def test_the_rank_that_failed_is_told_not_those_that_lost_it(
    tmp_path: Path, written: dict[int, str], told: str
) -> None:
    for seconds, (rank, text) in enumerate(written.items()):
        file = tmp_path / f"error_rank_{rank}.txt"
        file.write_text(text)
        os.utime(file, (seconds, seconds))
    assert rank_error(tmp_path) == told
