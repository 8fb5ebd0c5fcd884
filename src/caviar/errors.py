"""The exceptions that end a command with one message and no traceback."""


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
