"""Where a ledger may be kept: a journal file, SQLite, or PostgreSQL."""

from __future__ import annotations

import warnings
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage

from caviar.errors import UserError
from caviar.ledger.claims import Claims, FileClaims, Heartbeats
from caviar.ledger.database import connect, is_server
from caviar.ledger.journal import Journal

JOURNAL = "study.journal"  # the ledger's default file, in the study's folder
HEARTBEAT = 10  # seconds between two signs of life of a trial, in a database


def open_storage(storage: str, study: str, heartbeat: int) -> tuple[BaseStorage, Claims]:
    """The storage, and who has which of its running trials.

    Raises:
        UserError: it cannot be opened.
    """
    try:
        if is_server(storage):
            server = connect(storage, heartbeat)
            return server, Heartbeats(server, study)
        if "://" not in storage:
            path = Path(storage)
            path.parent.mkdir(parents=True, exist_ok=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return JournalStorage(Journal(path)), _beside(storage)
        # Others may write for a while: SQLite's own patience is five seconds.
        wait = {"connect_args": {"timeout": 60}} if storage.startswith("sqlite") else None
        return RDBStorage(storage, wait), _beside(_file(storage))
    except Exception as error:
        cause: BaseException = error  # the innermost says what it was
        while cause.__cause__ is not None:
            cause = cause.__cause__
        words = str(cause).strip().partition("\n")[0]
        raise UserError(f"search.storage={_without_password(storage)}: {words}") from error


def exists(storage: str) -> bool:
    """False for a file that is not there, which opening would make."""
    return is_server(storage) or Path(_file(storage)).exists()


def _file(storage: str) -> str:
    return storage.partition(":///")[2] if storage.startswith("sqlite") else storage


def _beside(file: str) -> FileClaims:
    return FileClaims(Path(f"{file}.claims"))


def _without_password(storage: str) -> str:
    scheme, separator, rest = storage.partition("://")
    credentials, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{credentials.split(':')[0]}{at}{host}" if at else storage
