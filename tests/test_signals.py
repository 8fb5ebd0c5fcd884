"""Signals are held back for as long as a ledger entry takes, and no longer."""

import os
import signal

import pytest

from caviar.base.errors import Terminated
from caviar.base.signals import tidy_sigterm, uninterrupted


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_waits_for_the_end_of_the_block(number, expected):
    done = []

    def block():
        with uninterrupted():
            os.kill(os.getpid(), number)
            done.append("the whole block")

    with tidy_sigterm(), pytest.raises(expected):
        block()
    assert done


def test_handlers_are_as_before():
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with uninterrupted():
        pass
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_exception_passes():
    with pytest.raises(ValueError, match="mine"), uninterrupted():
        raise ValueError("mine")
