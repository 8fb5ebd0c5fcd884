"""Ctrl-C and SIGTERM: both end a command tidily, and neither in the middle of a ledger entry."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from caviar.base.errors import Terminated


@contextmanager
def tidy_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does.

    Lightning keeps a handler that it finds, and would put its own in the place of the default one:
    it turns the signal into an exit that looks like an ordinary one.
    """

    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Leave SIGINT and SIGTERM with the handlers that they had.

    Lightning takes its own away only where a training ends in order, and ignores Ctrl-C for ever
    once it has seen one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: somebody's who is not Python
                signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold a signal back until the block is done: for some milliseconds, not for training.

    A trial that was claimed and not yet noted as this process's own, or trained and not yet
    written, would be lost to a signal between the two.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals come to the main thread only
        return
    held: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: held.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:  # by the handlers that are there again; more than one signal counts as one
            signal.raise_signal(held[0])
