"""The first second of a command: what of its words cannot be meant, and a line that says it began.

Hydra and torch take seconds to load, so neither has been imported more than was needed to get here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from caviar.base.environment import is_first_rank
from caviar.config.commands import hydra_options, split_options
from caviar.config.overrides import override_key
from caviar.config.slips import (
    only_looks,
    refuse_bare,
    refuse_options,
    refuse_unsearched,
    sweeps,
)


def begin(words: Sequence[str]) -> None:
    """Refuse slips of the words of a `train.py`, or say at once what was understood.

    Raises:
        UserError: before anything was composed.
    """
    if not is_first_rank():  # whose words Lightning has handed on
        return
    refuse_options(words, hydra_options())
    refuse_bare(split_options(words)[1])
    refuse_unsearched(words)
    keys = {override_key(word): word.partition("=")[2] for word in words}
    if only_looks(words) or "trial.number" in keys:
        return
    what, reads = "one model", "the config, then torch"
    if sweeps(words):  # whose trials have torch in processes of their own
        what, reads = keys.get("search.action", "trials"), "the config"
    # On the standard error, as what is printed later may be read by a program.
    print(f"{what}: reading {reads} …", file=sys.stderr, flush=True)
