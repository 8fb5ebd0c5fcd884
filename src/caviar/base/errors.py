"""The exceptions that end a command with one message, and which kind of fault ended a run."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caviar.base.causes import first_cause
from caviar.base.files import last_line
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
    """Whether an exit is not the model's own, so that its trial waits again and has not failed.

    It is Lightning's on SIGTERM, where main is not ours; or that of a cluster's handlers, when a
    job is preempted or its worker is ended.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    origin = trace.tb_frame.f_globals.get("__name__", "") if trace else ""
    by_cluster = isinstance(error, SystemExit) and origin.partition(".")[0] in ("submitit", "ray")
    return by_cluster or type(error).__name__ == "SIGTERMException"


def interrupt_behind(error: BaseException) -> BaseException:
    """The signal that was being dealt with when an error came; any other error is itself.

    Lightning turns a signal into an exit that looks like an ordinary one. What its teardown meets
    before that, where the signal came in an unlucky moment, looks like the model's own fault.
    """
    passed: list[BaseException] = []
    behind: BaseException | None = error
    while behind is not None and behind not in passed:
        if isinstance(behind, KeyboardInterrupt):
            return behind
        passed.append(behind)
        behind = None if behind.__suppress_context__ else behind.__context__
    return error


@contextmanager
def interrupts_told() -> Iterator[None]:
    """Raise a signal as what it is, whatever Lightning makes of it."""
    try:
        yield
    except BaseException as error:
        if (cause := interrupt_behind(error)) is not error:
            raise cause from None
        raise


def failure(error: BaseException, seed: int | None) -> Result:
    """The result of a run that an exception or a signal ended.

    Arguments:
        error: what it raised; a KeyboardInterrupt stands for its signal.
        seed: that the run used.
    """
    if isinstance(error, KeyboardInterrupt):
        number = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
        return Result(KILLED, seed=seed, error=f"killed by {number.name}")
    return Result(fault_of(error), seed=seed, error=one_line(error))


# What torch says of a DataLoader's worker that the kernel ended for want of memory, for example.
_KILLED_LOADER = re.compile(r"DataLoader worker \(pid.*\) is killed by signal")


def fault_of(error: BaseException) -> str:
    """Which kind of fault an exception is."""
    cause = first_cause(error)
    if isinstance(cause, RankDied) or _KILLED_LOADER.match(str(cause)):
        return KILLED
    # CUDA has a class of its own. For the CPU torch raises a plain RuntimeError, whose text is
    # "DefaultCPUAllocator: can't allocate memory".
    lacks = isinstance(cause, RuntimeError) and "allocate memory" in str(cause)
    if isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError" or lacks:
        return OUT_OF_MEMORY
    return EXCEPTION


def one_line(error: BaseException) -> str:
    """`ValueError: what it says`, of the exception that began it, since Hydra wraps what it calls,
    and what was disturbed in the middle may fail to tidy up. What has been put into words for a
    user, with what to do, is told in these."""
    cause = first_cause(error, last=UserError)
    named = "" if isinstance(cause, RankDied | UserError) else f"{type(cause).__name__}: "
    said = _raised_in_loader(str(cause)) or f"{named}{cause}"
    return " ".join(said.split())[:300]


def _raised_in_loader(message: str) -> str:
    """`ValueError: what it says` of a DataLoader's worker, whose traceback is the message of the
    exception that reaches the trainer; empty for any other message."""
    _, of_worker, trace = message.partition("\nOriginal Traceback (most recent call last):\n")
    begun = trace.partition("\n\nThe above exception was the direct cause")[0]
    after_last_frame = begun.rpartition('  File "')[2].partition("\n")[2]
    said = re.search(r"^\S.*", after_last_frame, re.MULTILINE | re.DOTALL)  # code is indented
    return said[0] if of_worker and said else ""


# What gloo and NCCL say where another process of a distributed run is gone.
_LOST_PEER = re.compile(r"by peer|broken pipe|remote process|communicator was aborted", re.I)


def lost_peer(message: str) -> bool:
    """Whether a rank's error is only that it lost another one, which is to be asked then."""
    return _LOST_PEER.search(message) is not None


def rank_error(folder: Path) -> str:
    """`rank 1: ValueError: what it says`, of the rank that failed first; empty if none has told.

    The ranks that lost it write down theirs a moment later, and no less readily.

    Arguments:
        folder: of the run, in which each rank but the first leaves its `error_rank_1.txt`.
    """
    files = sorted(folder.glob("error_rank_*.txt"), key=lambda file: file.stat().st_mtime_ns)
    told = [f"rank {file.stem[11:]}: {line}" for file in files if (line := last_line(file))]
    return min(told, key=lost_peer, default="")  # the first that says more, else the first
