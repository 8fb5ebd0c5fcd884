"""One message and an exit code for what the user can mend; tracebacks only for our own bugs."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from caviar.base import project
from caviar.base.errors import SearchFailed, Terminated, UserError
from caviar.base.terminal import complain
from caviar.config.commands import for_shell, set_to
from caviar.config.in_files import in_yaml, no_resolver, open_brace
from caviar.config.meant import meant

USER_ERROR, FAILURE, INTERRUPTED, BROKEN_PIPE, TERMINATED = 2, 1, 130, 141, 143  # exit codes

# A disk that is full, over its quota, read-only or not ours.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)

# Whatever raises them.
SLIPS = (UserError, HydraException, OmegaConfBaseException, MarkedYAMLError)

# Settings of earlier versions, and what to write instead.
REMOVED = {
    f"search.confirm.{key}": f"search.confirm.{key} is no more: seeds are given out in rounds; "
    "write search.confirm.budget=11, the trainings of the confirmation in all"
    for key in ("default_seeds", "seeds")
} | {"train._target_": "train._target_ is no more: write caviar.train=…"}

# What trains, where another Python than that of the project's environment runs it.
NEEDED = ("torch", "pytorch_lightning", "lightning", "sklearn", "optuna", "scipy", "numpy")

GRAMMAR = re.compile("BRACE_CLOSE|no viable alternative")  # OmegaConf's, of an interpolation
NULL_GROUP = "Config group override must be"  # Hydra's ValueError for `scheduler=null`


@contextmanager
def clear_errors() -> Iterator[None]:
    """Print what went wrong and leave with the exit code that says whose turn it is.

    `HYDRA_FULL_ERROR=1` in the environment shows every traceback.
    """
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Else Hydra prints its own message and exits by itself, in the middle of our tidying up.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # `… | head` has seen enough; Python would complain on leaving
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
    except ModuleNotFoundError as error:
        if wants_traceback or error.name not in NEEDED:
            raise
        print(
            f"error: {sys.executable} has no {error.name}: activate the environment that Caviar is "
            "installed in, such as by: source .venv/bin/activate; make setup installs it",
            file=sys.stderr,
        )
        sys.exit(USER_ERROR)
    # Hydra says `group=null` by a bare ValueError; any other one is a bug of ours.
    except (*SLIPS, ValueError) as error:
        if wants_traceback or not (isinstance(error, SLIPS) or NULL_GROUP in str(error)):
            raise
        complain(f"error: {message(error)}")
        sys.exit(USER_ERROR)
    except OSError as error:
        if wants_traceback or error.errno not in DISK:
            raise
        complain(f"error: {error}; what had finished is kept")
        sys.exit(FAILURE)
    except SearchFailed as error:
        complain(f"error: {error}")
        sys.exit(FAILURE)
    except KeyboardInterrupt as interrupt:
        what_is_kept = "".join(f": {words}" for words in interrupt.args)
        complain(f"\ninterrupted{what_is_kept}")
        sys.exit(TERMINATED if isinstance(interrupt, Terminated) else INTERRUPTED)
    finally:
        if not wants_traceback:
            os.environ.pop("HYDRA_FULL_ERROR", None)


def message(error: BaseException) -> str:
    """What was wrong, where, and what to write instead."""
    if isinstance(error, UserError):
        return str(error)
    if NULL_GROUP in str(error):
        group = next((a.partition("=")[0] for a in sys.argv if a.endswith("=null")), "a group")
        return (
            f"{group}=null: a group needs a choice; write one of conf/{group}/, such as "
            f"{group}=none where there is one, or '~{group}' to leave it out"
        )
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={name}: no such choice; write one of {', '.join(error.options)}"
    if isinstance(error, OverrideParseException):
        key, _, value = error.override.partition("=")
        quoted = for_shell([set_to(key, value)])
        return f"{error.override}: Hydra cannot read it; if {value} is a text, write {quoted}"
    if isinstance(error, MarkedYAMLError):
        return in_yaml(error)
    text = "\n".join(_lines(error))
    if GRAMMAR.search(text) and (place := open_brace()):
        return f"{place}: a brace {{ is opened and not closed; write ${{…}}"
    if lacking := re.search(r"Unsupported interpolation type (\w+)", text):
        return text.replace(lacking[0], no_resolver(lacking[1]))
    if swept := re.match(r"Ambiguous value for argument '(.+)'", text):
        return several_values(swept[1])
    # OmegaConf's message gives three lines of book-keeping and the way to add the key, which is
    # mostly a slip of the pen: the nearest key that there is comes first.
    if unknown := re.search(r"Could not override '(.+?)'\.", text):
        key = unknown[1]
        if key in REMOVED:
            return REMOVED[key]
        added = re.search(r"To append to your config use (\+.*)", text)
        add = f"to add it, write {added[1]}" if added else ""
        found = meant(key)
        hint = f"did you mean {found}?" if found else ""
        if "." not in key and not project.current().theirs:  # where nothing would read it
            add = "" if found else add.replace("write +", "write ++")
        return "; ".join(words for words in (f"the config has no key {key}", hint, add) if words)
    return text


def several_values(word: str) -> str:
    """`seed=1,2,3` where one model is trained."""
    key, _, values = word.partition("=")
    grid, listed, text = (
        f"-m hydra/sweeper=grid {word}",
        f"'{key}=[{values}]'",
        f"\"{key}='{values}'\"",
    )
    return (
        f"{word}: several values for one key; to train each of them, write {grid}; for a list "
        f"{listed}, for a text {text}"
    )


def _lines(error: BaseException) -> list[str]:
    """The error and its causes, without repeating, without Hydra's and OmegaConf's book-keeping."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        for number, line in enumerate(str(cause).splitlines()):
            line = re.sub(r"^\w+ raised while resolving interpolation: ", "", line)
            if re.match(r"\s*(full_key:|object_type=|$)", line) or "HYDRA_FULL_ERROR" in line:
                continue
            key = getattr(cause, "full_key", None)
            if number == 0 and key and key not in line:
                line = f"{key}: {line}"
            if line not in lines:
                lines.append(line)
        cause = cause.__cause__
    return lines
