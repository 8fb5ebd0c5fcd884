"""File locks that die with their holder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from caviar.errors import UserError


@contextmanager
def locked(path: Path) -> Iterator[FileIO]:
    """Hold an exclusive `flock` on `path`, made if missing; waits for other holders.

    The file is not buffered: what a full disk refused must not be tried again on closing.
    """
    with open(path, "ab+", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file  # closing the file releases the lock


@contextmanager
def only_driver(folder: Path) -> Iterator[None]:
    """Hold a study's folder for one driver, for as long as it runs.

    Raises:
        UserError: another process of this machine drives the study.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".driver", "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"the study in {folder} is being searched by process {file.read().strip()}; "
                "wait for it, end it, or write search.study=ANOTHER_NAME"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
