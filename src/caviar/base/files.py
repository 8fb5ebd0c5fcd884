"""Files that are whole, also while other processes read or write them, or die while they do."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from zipfile import is_zipfile

WORTH_TELLING = 2.0  # seconds of waiting for a lock


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` when the block ends without an error.

    Whoever reads `path`, also after a power loss, finds the old content or the new one, whole.
    Syncing takes some 5 to 20 ms on a disk of a virtual machine.

    Raises:
        OSError: the disk is full; `path` is as it was.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")  # of the same kind
    try:
        yield partial
        # A rename may reach the disk before the content does: an empty file would then stand for
        # the whole one. The folder last, or the old file may come back after it was reported.
        _sync(partial)
        os.replace(partial, path)
        with suppress(OSError):  # some network file systems sync no folder
            _sync(path.parent)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def last_line(path: Path) -> str:
    """The last line of a text that another process writes; empty where there is none yet."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ""
    return lines[-1] if lines else ""


def last_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that a training left last in a folder, of any name and depth; None if there is
    none that is whole.

    Those whose name begins with `last` come first, as Lightning's and most people's do.
    """
    found = [p for kind in ("*.ckpt", "*.pt", "*.pth") for p in folder.rglob(kind)]
    found = [p for p in found if not p.name.startswith(".")]
    last = [p for p in found if p.name.startswith("last")] or found
    # Torch writes an archive, whose directory comes at its end: one that was cut off has none.
    whole = (p for p in sorted(last, key=lambda p: p.stat().st_mtime) if is_zipfile(p))
    return max(whole, key=lambda p: p.stat().st_mtime, default=None)


@contextmanager
def locked(path: Path, told: Callable[[FileIO], None] | None = None) -> Iterator[FileIO]:
    """Hold an exclusive `flock` on `path`, made if missing; waits for other holders.

    The file is not buffered: what a full disk refused must not be tried again on closing.

    Arguments:
        path: whose folder is there.
        told: called with the file if others hold it for more than two seconds.
    """
    with open(path, "ab+", buffering=0) as file:
        if told is not None and not _lock_within(file, WORTH_TELLING):
            told(file)
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file  # closing the file releases the lock


def _lock_within(file: FileIO, seconds: float) -> bool:
    """Whether the lock could be had in that time; it is held then."""
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)  # the kernel tells nobody who does not wait
        else:
            return True


def append_synced(path: Path, lines: bytes) -> None:
    """Append whole lines under a lock, synced to disk; first cuts off a line that was torn.

    A process that is killed while it writes leaves half a line at the end. The next line would be
    glued to it, and neither could be read.

    Raises:
        OSError: the disk is full; the file is as it was.
    """
    with locked(path) as file:
        end = _cut_torn_line(file)
        left = memoryview(lines)
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:  # perhaps after half a line
            os.ftruncate(file.fileno(), end)
            raise


def _cut_torn_line(file: FileIO) -> int:
    """Truncate `file` behind its last line break; the new size."""
    size = file.seek(0, os.SEEK_END)
    end = size
    while end > 0:
        start = max(0, end - 4096)
        file.seek(start)
        at = file.read(end - start).rfind(b"\n")
        if at >= 0:
            end = start + at + 1
            break
        end = start
    if end < size:
        os.ftruncate(file.fileno(), end)
    return end
