"""The `caviar` command. Every verb takes Hydra overrides, as `python train.py` does.

    caviar search search.study=mine search.seed=1
    caviar refine search.study=mine

`search` and `confirm` are `python train.py -m search.action=…`; the others need no training code
and answer at once.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from typer.main import get_command

from caviar.cli import completion, new, panda, report, search, wandb  # noqa: F401  verbs join
from caviar.cli.common import HandedOver, app, refuse_unknown_option
from caviar.config.messages import SLIPS, clear_errors
from caviar.rooms import naming_the_deleted

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the `caviar` command."""
    if (line := os.environ.get(completion.VARIABLE)) is not None:
        complete(line)
        return
    words = sys.argv[1:]
    if words in ([], ["help"]):
        sys.argv[1:] = ["--help"]
    try:
        with clear_errors(), naming_the_deleted():
            if any(word.startswith("-") for word in words):
                refuse_unknown_option(words)
            app(standalone_mode=True)
    except HandedOver as other:
        sys.stdout.flush()
        os.execve(other.command[0], other.command, {**os.environ, **other.environment})


def complete(line: str) -> None:
    """Print what a command line may go on with; nothing, where the project cannot be read."""
    with suppress(*SLIPS, OSError):
        print("\n".join(completion.answer(get_command(app), line)))
