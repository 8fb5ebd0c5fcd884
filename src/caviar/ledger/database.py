"""The ledger in PostgreSQL, which workers on several machines share.

A database may be restarted, or out of reach for a while. A trial that took hours must not be lost
to that, so every operation of the ledger is tried again for some minutes; each may be repeated
without harm.
"""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, ParamSpec, TypeVar

import optuna
from optuna.storages import RDBStorage

from caviar.errors import UserError
from caviar.ledger.claims import MISSED_BEATS

PATIENCE = 300.0  # seconds for which an unreachable database is asked again
SCHEME = "postgresql://"

P = ParamSpec("P")
R = TypeVar("R")


def is_server(storage: str) -> bool:
    """Whether a ledger's name is that of a database server, not of a file."""
    return storage.startswith("postgresql")


def connect(storage: str, heartbeat: int) -> RDBStorage:
    """An Optuna storage in a PostgreSQL database, its tables made if missing."""
    if find_spec("psycopg") is None:
        raise UserError("PostgreSQL needs a driver: pip install 'caviar[postgres]'")
    from sqlalchemy import NullPool, create_engine, text

    url = storage.replace(SCHEME, "postgresql+psycopg://", 1)
    # Two processes that make the tables at once would fail.
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection, warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        connection.execute(text("SELECT pg_advisory_xact_lock(0)"))
        return RDBStorage(
            url,
            # Hundreds of workers, each with some connections kept open, are more than a server
            # takes; and a kept one is dead after a restart.
            engine_kwargs={"poolclass": NullPool},
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
