"""The `caviar` command. Every verb takes Hydra overrides, as `python train.py` does.

    caviar search search.study=mine search.seed=1
    caviar refine search.study=mine

`search` and `confirm` are `python train.py -m search.action=…`; the others need no training code
and answer at once.
"""

from __future__ import annotations

import os
import sys

from caviar.cli import new, panda, report, search, wandb  # noqa: F401  their verbs join the command
from caviar.cli.common import HandedOver, app, refuse_unknown_option
from caviar.config.messages import clear_errors
from caviar.rooms import naming_the_deleted

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the `caviar` command."""
    try:
        with clear_errors(), naming_the_deleted():
            if any(word.startswith("-") for word in sys.argv[1:]):
                refuse_unknown_option(sys.argv[1:])
            app(standalone_mode=True)
    except HandedOver as other:
        sys.stdout.flush()
        os.execve(other.command[0], other.command, {**os.environ, **other.environment})
