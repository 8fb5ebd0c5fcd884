"""Hydra 1.3 on Python 3.14, whose argparse looks into the help of an option as it is added.

Hydra's help of `--shell-completion` is no text before it is printed, so no `@hydra.main` would
begin. Hydra 1.4 leaves out that look, and so does this.
"""

from __future__ import annotations

from argparse import Action, ArgumentParser
from typing import Any


def accept_lazy_help() -> None:
    """Let argparse look into texts alone; without effect before Python 3.14."""
    parser: Any = ArgumentParser
    look = getattr(parser, "_check_help", None)
    if look is None or look.__module__ == __name__:
        return

    def look_into_texts(self: ArgumentParser, action: Action) -> None:
        if action.help is None or isinstance(action.help, str):
            look(self, action)

    parser._check_help = look_into_texts
