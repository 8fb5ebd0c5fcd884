"""The one exception that stands for a user's slip."""


class UserError(Exception):
    """Something the user can mend: a key, a range, a file. Never a bug of ours.

    The message says what was wrong, where, and what to write instead. The entry points print it
    after `error:` with no traceback and leave with exit code 2.
    """
