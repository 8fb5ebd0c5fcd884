"""`search.pruner`: stop hopeless trials early, by Optuna's pruners.

What a pruner decides depends on which other trials have reported already: with several workers a
search with a pruner is not repeated to the digit. `search.pruner=none` is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

FIRST = 8  # a trial is judged first after this fraction (1/8) of its epochs


def make_pruner(name: str, epochs: int) -> BasePruner | None:
    """One of Optuna's, scaled to the length of a training; None for `none`.

    Arguments:
        name: `none`, `asha`, `median` or `hyperband`.
        epochs: that a trial trains when it is not stopped.
    """
    from optuna import pruners

    first = max(1, math.ceil(epochs / FIRST))
    if name == "asha":  # Li et al. 2018, arXiv:1810.05934
        return pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=2)
    if name == "median":
        return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=first - 1)
    if name == "hyperband":  # Li et al. 2018, arXiv:1603.06560
        return pruners.HyperbandPruner(
            min_resource=first, max_resource=max(first, epochs), reduction_factor=2
        )
    return None
