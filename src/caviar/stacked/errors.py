"""Why a training cannot share a stack."""

from __future__ import annotations


class NotStackable(Exception):
    """A training must be run by itself; the reason, as the end of a sentence."""


class OutOfMemory(Exception):
    """A stack is too large for the memory that there is."""


class Differs(Exception):
    """Members differ in something that a step reads, and must be told apart by it.

    Arguments:
        where: the path of an attribute, such as `net.0.negative_slope` or `hparams.alpha`.
    """

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where
