"""Upload what was trained offline: `caviar sync`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from caviar.errors import SearchFailed
from caviar.view import console, plural, shown_path

SYNCED = ".synced"  # what the client appends to the name of a file that it has uploaded
AT_ONCE = 50  # runs for one call of the client


def offline_runs(folder: Path) -> list[Path]:
    """The folders of runs below `folder` that were logged offline and not uploaded yet."""
    found = folder.rglob("wandb/offline-run-*/*.wandb")
    return sorted(log.parent for log in found if not _is_synced(log))


def _is_synced(log: Path) -> bool:
    """Whether a run was uploaded whole: one that went on afterwards was not."""
    marker = log.with_name(log.name + SYNCED)
    return marker.exists() and marker.stat().st_mtime >= log.stat().st_mtime


def sync(folder: Path, dry_run: bool) -> None:
    """Upload them with the client's own `wandb sync`.

    Raises:
        SearchFailed: some could not be uploaded; they are as they were.
    """
    runs = offline_runs(folder)
    if not runs:
        console.print(f"nothing to upload below {shown_path(folder)}")
        return
    for run in runs if dry_run else ():
        console.print(f"would upload {shown_path(run)}")
    for first in range(0, 0 if dry_run else len(runs), AT_ONCE):
        command = [sys.executable, "-m", "wandb", "sync", "--include-synced"]
        subprocess.run([*command, *map(str, runs[first : first + AT_ONCE])], check=False)
    left = [] if dry_run else [run for run in offline_runs(folder) if run in set(runs)]
    if left:
        raise SearchFailed(
            f"{len(left)} of {plural(len(runs), 'run')} could not be uploaded, the first "
            f"{shown_path(left[0])}; they are kept, and caviar sync tries again"
        )
    if not dry_run:
        console.print(f"uploaded {plural(len(runs), 'run')}")
