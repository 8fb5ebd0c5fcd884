"""The few calls to W&B's own client, quiet, and its troubles as one clear message.

Also `caviar sync`, which uploads what was trained offline. Importing this module does not import
wandb, which takes a second.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from caviar.base.errors import SearchFailed, UserError
from caviar.screen.view import console, plural, shown_path
from caviar.wandb.runs import WandbRun

PAGE = 500  # runs in one request: 5,000 runs take ten
TIMEOUT = 30  # seconds for one request; a page of 500 runs takes the service some
SYNCED = ".synced"  # what the client appends to the name of a file that it has uploaded
# Whole numbers, since a message names the server, and its port may be 40135.
NO_ENTRY = re.compile(r"api_key|API key|wandb login|\b40[13]\b|permission")
AT_ONCE = 50  # offline runs for one call of the client: a command line has a limit


@dataclass(frozen=True)
class ServerSweep:
    """A sweep as the service has it now."""

    document: Mapping[str, Any]
    """Its configuration, what a sweep file holds."""
    state: str
    """`pending`, `running`, `paused`, `finished`, `canceled` or `crashed`."""

    @property
    def over(self) -> bool:
        """Whether it starts no more runs."""
        return self.state not in ("pending", "running", "paused")


def fetch_sweep(path: str) -> ServerSweep:
    """A sweep by `entity/project/id`; one request.

    Raises:
        UserError: there is none, or nobody is logged in.
        SearchFailed: the service cannot be reached.
    """
    with clear_errors(path), _scratch_folder():
        sweep = _api().sweep(path)
        return ServerSweep(sweep.config, str(sweep.state).lower())


def fetch_runs(path: str) -> list[WandbRun]:
    """All runs of a sweep; one request for each 500.

    Raises:
        UserError, SearchFailed: as `fetch_sweep`.
    """
    entity, project, sweep_id = path.split("/")
    with clear_errors(path), _scratch_folder():
        # By the project and a filter, in full: a sweep's own list asks once more for each run.
        api = _api()
        # Clients before 0.22.3 know no other way than in full.
        full = {"lazy": False} if "lazy" in signature(api.runs).parameters else {}
        filters = {"sweep": sweep_id}
        runs = api.runs(f"{entity}/{project}", filters=filters, per_page=PAGE, **full)
        return [
            WandbRun(
                name=run.id,
                label=run.name or run.id,
                state=run.state,
                created=run.created_at,
                config=run.config,
                summary=run.summaryMetrics,
            )
            for run in runs
        ]


def register_sweep(document: Mapping[str, Any], entity: str | None, project: str) -> str:
    """Make a sweep; its `entity/project/id`. The entity is the account's own by default.

    Raises:
        UserError, SearchFailed: as `fetch_sweep`.
    """
    # wandb.sweep tells in these variables where the sweep came to lie. They must not stay, or they
    # would seem to be the user's own.
    names = ("WANDB_ENTITY", "WANDB_PROJECT")
    before = {name: os.environ.get(name) for name in names}
    try:
        with clear_errors(f"project {project}"), contextlib.redirect_stdout(io.StringIO()):
            wandb = _quiet_wandb()
            sweep_id = wandb.sweep(dict(document), entity=entity, project=project)
            entity = os.environ.get("WANDB_ENTITY") or entity or wandb.Api().default_entity
            return f"{entity}/{os.environ.get('WANDB_PROJECT') or project}/{sweep_id}"
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _api() -> Any:
    return _quiet_wandb().Api(timeout=TIMEOUT)


def _quiet_wandb() -> Any:
    import wandb

    wandb.setup(settings=wandb.Settings(silent=True))
    return wandb


@contextlib.contextmanager
def _scratch_folder() -> Iterator[None]:
    """wandb.Api makes a folder for every run that it reads, in WANDB_DIR; let that pass away."""
    before = os.environ.get("WANDB_DIR")
    with tempfile.TemporaryDirectory(prefix="caviar-wandb-") as folder:
        os.environ["WANDB_DIR"] = folder
        try:
            yield
        finally:
            os.environ.pop("WANDB_DIR")
            if before is not None:
                os.environ["WANDB_DIR"] = before


@contextlib.contextmanager
def clear_errors(what: str) -> Iterator[None]:
    """Raise the client's troubles with `what`, a sweep or a project, as our own two kinds.

    Raises:
        UserError: there is no such thing, or nobody is logged in.
        SearchFailed: anything else that the client raises, such as that nobody answers.
    """
    try:
        yield
    except (UserError, SearchFailed):
        raise
    except ValueError as error:
        if "Could not find" not in str(error):
            raise
        raise UserError(
            f"W&B has no sweep {what}, or shows it to another account only; write its path as in "
            "the address of its page: ENTITY/PROJECT/ID"
        ) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "wandb":
            raise
        words = " ".join(str(error).split())
        if NO_ENTRY.search(words):
            raise UserError(
                f"W&B does not let us in: {words[:300]}; log in with wandb login, or set "
                "WANDB_API_KEY in the environment"
            ) from None
        raise SearchFailed(f"W&B ({what}): {words[:300]}") from None


def offline_runs(folder: Path) -> list[Path]:
    """The folders of runs below `folder` that were logged offline and not uploaded yet."""
    runs = []
    for log in sorted(folder.rglob("wandb/offline-run-*/*.wandb")):
        marker = log.with_name(log.name + SYNCED)
        # A run that went on after its upload was not uploaded whole.
        if not marker.exists() or marker.stat().st_mtime < log.stat().st_mtime:
            runs.append(log.parent)
    return runs


def sync(folder: Path, dry_run: bool) -> None:
    """Upload the offline runs below `folder` with the client's own `wandb sync`.

    Raises:
        SearchFailed: some could not be uploaded; they are as they were.
    """
    runs = offline_runs(folder)
    if not runs:
        console.print(f"nothing to upload below {shown_path(folder)}")
        return
    if dry_run:
        for run in runs:
            console.print(f"would upload {shown_path(run)}")
        return
    for first in range(0, len(runs), AT_ONCE):
        command = [sys.executable, "-m", "wandb", "sync", "--include-synced"]
        subprocess.run([*command, *map(str, runs[first : first + AT_ONCE])], check=False)
    # The command's exit code does not say which were uploaded; the markers do.
    left = sorted(set(runs) & set(offline_runs(folder)))
    if left:
        raise SearchFailed(
            f"{len(left)} of {plural(len(runs), 'run')} could not be uploaded, the first "
            f"{shown_path(left[0])}; they are kept, and caviar sync tries again"
        )
    console.print(f"uploaded {plural(len(runs), 'run')}")
