"""The ledger's default file: Optuna's journal, made safe against kills and full disks.

Two differences to Optuna's own backend. The lock is `flock`, which the kernel releases when its
holder dies (Optuna's lock files make others wait 30 s). And a line that was torn, by a kill or a
full disk, is cut off before the next one is written, so the file stays readable.
"""

from __future__ import annotations

import json
import os
from io import FileIO
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from caviar.ledger.locks import locked


class Journal(JournalFileBackend):
    """One JSON object a line, appended under a lock and synced to disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with locked(self._path) as file:
            end = _cut_torn_line(file)
            left = memoryview(lines.encode())
            try:
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except OSError:  # the disk is full, perhaps after half a line
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
