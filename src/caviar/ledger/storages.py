"""Where a ledger may be kept: a journal file, SQLite, PostgreSQL, or what registers itself.

The default is a journal in Optuna's format, which enqueues a thousand times faster than SQLite, and
which Optuna is not imported for.

PostgreSQL is for workers on several machines. A database may be restarted, or be out of reach for a
while, and a trial that took hours must not be lost to that: every operation of the ledger is tried
again for some minutes (`patient`), and so each of them may be repeated without harm.
"""

from __future__ import annotations

import functools
import re
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from caviar.base.errors import UserError
from caviar.ledger.claims import MISSED_BEATS, Claims, FileClaims, Heartbeats
from caviar.ledger.journal import Journal

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

    from caviar.ledger.database import Database
    from caviar.ledger.ledger import Ledger

JOURNAL = "study.journal"  # the ledger's default file, in the study's folder
POINTER = "storage"  # a file in the study's folder that names the ledger, where it is elsewhere
HEARTBEAT = 10  # seconds between two signs of life of a trial, in a database
PATIENCE = 300.0  # seconds for which an unreachable database is asked again
SCHEME = "postgresql://"

P = ParamSpec("P")
R = TypeVar("R")

# Ledgers that are no Optuna storage, by their file's name in a study's folder: how one is opened.
KINDS: dict[str, Callable[[Path, str], Ledger]] = {}


def register(name: str, kind: Callable[[Path, str], Ledger]) -> None:
    """Make a kind of ledger known, so that nobody here need know of it.

    Arguments:
        name: of a file in the study's folder; its presence says that the study is of this kind.
        kind: called with that folder and the study's name.
    """
    KINDS[name] = kind


def known_storage(folder: Path) -> str | None:
    """Where the ledger of the study in `folder` is; None if there is none."""
    if (folder / POINTER).is_file():
        return (folder / POINTER).read_text(encoding="utf-8").strip()
    # A registered kind first: such a study may keep its confirmation in a journal beside it.
    return next((str(folder / n) for n in (*KINDS, JOURNAL) if (folder / n).exists()), None)


def open_storage(storage: str, study: str, heartbeat: int) -> tuple[Journal | Database, Claims]:
    """The storage, and who has which of its running trials.

    Raises:
        UserError: it is none of the kinds that can be shared safely, or cannot be opened.
    """
    check_kind(storage)
    try:
        if "://" not in storage:
            path = Path(storage)
            path.parent.mkdir(parents=True, exist_ok=True)
            return Journal(path), _beside(storage)
        return _open_database(storage, study, heartbeat)
    except Exception as error:
        cause: BaseException = error  # the innermost says what it was
        while cause.__cause__ is not None:
            cause = cause.__cause__
        words = str(cause).strip().partition("\n")[0]
        raise UserError(f"search.storage={_without_password(storage)}: {words}") from error


def _open_database(storage: str, study: str, heartbeat: int) -> tuple[Database, Claims]:
    import optuna
    from sqlalchemy import NullPool

    from caviar.ledger.database import Database

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if is_server(storage):
        server = connect(storage, heartbeat)
        return Database(server), Heartbeats(server, study)
    # One that waits in a pool for its next use is never closed, of which Python 3.13 warns.
    connections: dict[str, Any] = {"poolclass": NullPool}
    if storage.startswith("sqlite"):
        # Others may write for a while: SQLite's own patience is five seconds.
        connections["connect_args"] = {"timeout": 60}
    return Database(optuna.storages.RDBStorage(storage, connections)), _beside(_file(storage))


def exists(storage: str) -> bool:
    """False for a file that is not there, which opening would make."""
    is_file = "://" not in storage or storage.startswith("sqlite")
    return not is_file or Path(_file(storage)).exists()


def check_kind(storage: str) -> None:
    """Refuse a database that Optuna could open, but whose trials two machines would both claim.

    Claims are locks on files where the ledger is a file, and heartbeats in PostgreSQL, whose
    transactions and clock they rely on. Beside another server, every machine would hold its own
    locks and run all the trials.

    Raises:
        UserError: `storage` is neither a path, nor SQLite, nor PostgreSQL.
    """
    if "://" in storage and not re.match(r"(sqlite(\+\w+)?:///.|postgresql(\+\w+)?://)", storage):
        raise UserError(
            f"search.storage={_without_password(storage)}: a ledger is kept in a file, "
            "search.storage=PATH or sqlite:///PATH, or in PostgreSQL, postgresql://HOST/DATABASE"
        )


def _file(storage: str) -> str:
    return storage.partition(":///")[2] if storage.startswith("sqlite") else storage


def _beside(file: str) -> FileClaims:
    return FileClaims(Path(f"{file}.claims"))


def _without_password(storage: str) -> str:
    """A URL as it may be shown: its options may hold a password as well, its user has one."""
    without_options = re.sub(r"\?\w+=.*", "", storage)
    return re.sub(r"(://[^:/?@]*):.*@", r"\1@", without_options)


def is_server(storage: str) -> bool:
    """Whether a ledger's name is that of a database server, not of a file."""
    return storage.startswith("postgresql")


def connect(storage: str, heartbeat: int) -> RDBStorage:
    """An Optuna storage in a PostgreSQL database, its tables made if missing."""
    if find_spec("psycopg") is None:
        raise UserError("PostgreSQL needs a driver: pip install 'caviar[postgres]'")
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import RDBStorage
    from sqlalchemy import NullPool, create_engine, text

    from caviar.ledger.connections import ForAnOperation

    url = storage.replace(SCHEME, "postgresql+psycopg://", 1)
    # Two processes that make the tables at once would fail.
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection, warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        connection.execute(text("SELECT pg_advisory_xact_lock(0)"))
        return RDBStorage(
            url,
            engine_kwargs={"poolclass": ForAnOperation},
            heartbeat_interval=heartbeat,
            grace_period=MISSED_BEATS * heartbeat,
        )


def patient(operation: Callable[P, R]) -> Callable[P, R]:
    """Try again while a database cannot be reached; for operations that may be repeated."""

    @functools.wraps(operation)
    def tried(*args: P.args, **kwargs: P.kwargs) -> R:
        until = time.monotonic() + PATIENCE
        pause = 0.2
        while True:
            try:
                return operation(*args, **kwargs)
            except Exception as error:
                if not _unreachable(error) or time.monotonic() > until:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    return tried


def _unreachable(error: BaseException) -> bool:
    """Whether an error is a lost connection; without importing SQLAlchemy for a file."""
    cause: BaseException | None = error
    while cause is not None:
        kinds: list[Any] = [k.__name__ for k in type(cause).__mro__]
        if type(cause).__module__.startswith(("sqlalchemy", "psycopg")) and (
            "OperationalError" in kinds or "InterfaceError" in kinds
        ):
            return True
        cause = cause.__cause__
    return False
