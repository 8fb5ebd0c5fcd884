"""The exceptions that end a command with one message and no traceback."""

# MERGED faults """Which kind of fault ended a run, and its words in one line."""
#

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import Any

from caviar.base.result import EXCEPTION, KILLED, OUT_OF_MEMORY, Result


class UserError(Exception):
    """Something the user can mend: a key, a range, a file. Never a bug of ours.

    The message says what was wrong, where, and what to write instead. The entry points print it
    after `error:` and leave with exit code 2.
    """


class SearchFailed(Exception):
    """A search that cannot go on, such as one whose every trial failed. Exit code 1."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which is to end a command as Ctrl-C does: tidily. Exit code 143."""


class TryAgain(Exception):
    """A trial that waits again after a transient fault, such as memory that ran out."""


class RankDied(Exception):
    """A process of a distributed trial was killed by a signal."""


class ProcessDied(Exception):
    """A process of the pool brought no result."""


def check_rules(node: str, rules: Iterable[tuple[str, Any, bool, str]]) -> None:
    """Refuse the first setting that breaks its rule.

    Arguments:
        node: where the settings are in the config, with its dot, such as `search.`; empty for
            the root.
        rules: of each setting its name, its value, whether the rule holds, and the rule in words
            that go on behind "should be".

    Raises:
        UserError: names the key, the value and the rule.
    """
    for name, value, holds, rule in rules:
        if not holds:
            raise UserError(f"{node}{name}={value} should be {rule}")


def is_interrupt(error: BaseException) -> bool:
    """Whether an exit is not the model's own: Lightning's on SIGTERM, where main is not ours; or
    that of a cluster's handlers, when a job is preempted or its worker is ended."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    origin = trace.tb_frame.f_globals.get("__name__", "") if trace else ""
    by_cluster = isinstance(error, SystemExit) and origin.partition(".")[0] in ("submitit", "ray")
    return by_cluster or type(error).__name__ == "SIGTERMException"


def failure(error: BaseException, seed: int | None) -> Result:
    """The result of a run that an exception or a signal ended."""
    if isinstance(error, KeyboardInterrupt):
        number = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
        return Result(KILLED, seed=seed, error=f"killed by {number.name}")
    return Result(fault_of(error), seed=seed, error=one_line(error))


def fault_of(error: BaseException) -> str:
    """Which kind of fault an exception is."""
    cause = _innermost(error)
    if isinstance(cause, RankDied):
        return KILLED
    # torch says for the CPU: DefaultCPUAllocator: can't allocate memory
    lacks = isinstance(cause, RuntimeError) and "allocate memory" in str(cause)
    if isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError" or lacks:
        return OUT_OF_MEMORY
    return EXCEPTION


def one_line(error: BaseException) -> str:
    """`ValueError: what it says`, of the innermost cause, since Hydra wraps what it calls."""
    cause = _innermost(error)
    words = " ".join(str(cause).split())
    named = "" if isinstance(cause, RankDied) else f"{type(cause).__name__}: "
    return f"{named}{words}"[:300]


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
