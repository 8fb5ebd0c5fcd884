"""Files that others read while a process writes them, or dies: replaced, or not written yet."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from caviar.base import files
from caviar.base.files import last_line, locked, replaced


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


def test_who_waits_long_for_a_lock_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "WORTH_TELLING", 0.1)
    path, held, told = tmp_path / "lock", threading.Event(), threading.Event()

    def hold() -> None:
        with locked(path):
            held.set()
            told.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    with locked(path, told=lambda file: told.set()):
        assert told.is_set()
    holder.join()
    told.clear()
    with locked(path, told=lambda file: told.set()):
        assert not told.is_set()
