"""The ledger's default file: Optuna's journal, made safe against kills and full disks.

Two differences to Optuna's own backend. The lock is `flock`, which the kernel releases when its
holder dies (Optuna's lock files make others wait 30 s). And a line that was torn, by a kill or a
full disk, is cut off before the next one is written, so the file stays readable.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from caviar.files import append_synced


class Journal(JournalFileBackend):
    """One JSON object a line, appended under a lock and synced to disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        append_synced(self._path, lines.encode())
