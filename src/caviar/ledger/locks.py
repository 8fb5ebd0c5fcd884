"""A file lock that dies with its holder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[FileIO]:
    """Hold an exclusive `flock` on `path`, made if missing; waits for other holders.

    The file is not buffered: what a full disk refused must not be tried again on closing.
    """
    with open(path, "ab+", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file  # closing the file releases the lock
