"""Which settings are worth confirming with fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from caviar.refine.surrogate import TOP, Surrogate, worst_if_diverged
from caviar.space import Space


def candidates(
    coarse: Space,
    points: Sequence[Mapping[str, Any]],
    losses: Sequence[float],
    count: int,
    method: str = "surrogate",
) -> list[int]:
    """Positions of the settings worth confirming with fresh seeds, most promising first.

    The best trial always is: it may be as good as it looks. With `surrogate` the others are those
    with the smallest sum of two ranks, in loss and in what the other trials let expect there,
    because a low loss may be luck, and luck is not smooth; with `top_k` the next best. A setting
    that was drawn several times is confirmed once.
    """
    loss = worst_if_diverged(losses)
    rank = np.argsort(np.argsort(loss, kind="stable"), kind="stable")
    score = rank.astype(np.float64)
    if method == "surrogate" and len(loss) >= TOP:
        units = coarse.to_unit({name: [p[name] for p in points] for name in coarse.names})
        expected = Surrogate(coarse, units, loss).left_out_mean()
        score += np.argsort(np.argsort(expected, kind="stable"), kind="stable")
        score[rank == 0] = -1
    found: list[int] = []
    for i in np.lexsort([loss, score]).tolist():
        if np.isfinite(loss[i]) and points[i] not in [points[k] for k in found]:
            found.append(i)
        if len(found) == count:
            break
    return found
