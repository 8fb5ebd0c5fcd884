"""Connections to a database server: one for all of an operation, and none between two.

To keep some open would be the usual way. But hundreds of workers, each with some of them, are more
than a server takes, and a kept one is dead after a restart. To make one for each query, of which an
operation of the ledger has a dozen, takes many times as long as the queries.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from sqlalchemy.pool import NullPool


class ForAnOperation(NullPool):
    """SQLAlchemy's pool that keeps nothing, but for one connection of each thread inside of
    `operation`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._own = threading.local()

    @contextmanager
    def operation(self) -> Iterator[None]:
        """Until its end, this thread's queries share a connection; may be nested."""
        self._own.depth = getattr(self._own, "depth", 0) + 1
        try:
            yield
        finally:
            self._own.depth -= 1
            kept, self._own.kept = getattr(self._own, "kept", None), None
            if kept is not None:
                if self._own.depth:
                    self._own.kept = kept
                else:
                    kept.close()

    def _do_get(self) -> Any:
        kept, self._own.kept = getattr(self._own, "kept", None), None
        return super()._do_get() if kept is None else kept

    def _do_return_conn(self, record: Any) -> None:
        if getattr(self._own, "depth", 0) and getattr(self._own, "kept", None) is None:
            self._own.kept = record
        else:
            super()._do_return_conn(record)


def operation(storage: Any) -> AbstractContextManager[None]:
    """One connection for what is asked of an Optuna storage inside of it, if it is on a server."""
    pool = storage.engine.pool
    return pool.operation() if isinstance(pool, ForAnOperation) else nullcontext()
