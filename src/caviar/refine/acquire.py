"""Which settings inside of a box to train next: a batch by expected improvement.

    box = refine(coarse, parent, points, losses).space
    picked(coarse, box, points, losses, count=14, seed=0, stage="02_fine")   # 14 points of the box

A model of all trials says of each of many random points of the box how much better than the best
setting of today it may be expected to be (Jones, Schonlau and Welch, 1998). The point that promises
most is taken and believed to come out as expected, so that the next one is sought elsewhere
(Ginsbourger, Le Riche and Carraro, 2010). So a whole round is picked at once, and trains side by
side; it is a pure function of the trials before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caviar.refine.gaussian import Process, one_thread
from caviar.refine.surrogate import TOP, Surrogate, features, worst_if_diverged
from caviar.space import Space

Array = NDArray[np.float64]

OFFERED = 1024  # random points of the box, among which is chosen
MOST = 64
"""Points of a round that are picked; what more it has is drawn at random, since by then they are
spread over all of the box, and each costs another factorization."""


def picked(
    coarse: Space,
    box: Space,
    points: Sequence[Mapping[str, Any]],
    losses: Sequence[float],
    count: int,
    seed: int,
    stage: str,
    pending: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Search coordinates of a round's trials, most promising first.

    Arguments:
        coarse: space of the first stage, which gives the coordinates.
        box: that the round is drawn from.
        points: search coordinates of all finished trials.
        losses: one for each point, lower is better, infinite where training diverged.
        count: trials of the round.
        seed: of the search.
        stage: of the round; with the seed it decides what is chosen among.
        pending: points of the round that were given out before.
    """
    first = len(pending)
    loss = worst_if_diverged(losses)
    if len(loss) < TOP or not np.isfinite(loss).any():
        return _rows(box, box.draw(seed, stage, count, first=first))
    offered = _rows(box, box.draw(seed, f"{stage}/offered/{first}", OFFERED))
    inputs = _inputs(coarse, offered)
    model = Surrogate(coarse, _units(coarse, points), loss)
    with one_thread():
        belief = _Belief(model.process)
        for point in pending[:MOST]:
            belief.add(_inputs(coarse, [point]))
        taken: list[int] = []
        free = np.array([point not in pending for point in offered])
        for _ in range(min(count, MOST - min(first, MOST))):
            if not free.any():  # a box of few points, and each of them is taken
                break
            best = int(np.argmax(np.where(free, belief.improvement(inputs), -1.0)))
            taken.append(best)
            free &= [point != offered[best] for point in offered]
            belief.add(inputs[best : best + 1])
    more = box.draw(seed, stage, count - len(taken), first=first + len(taken))
    return [*(offered[i] for i in taken), *_rows(box, more)]


class _Belief:
    """The process, as if what was picked had come out as it expects."""

    def __init__(self, process: Process) -> None:
        self._best = process.mean(process.inputs).min()
        if len(process.basis) < len(process.inputs):
            # Of many trials the points that stand for them, or each that is added would cost a pass
            # over all.
            told = process.mean(process.basis)
            process = Process(process.kernel, process.basis, process.basis, told)
        self._process = process

    def add(self, inputs: Array) -> None:
        known = self._process
        targets = np.append(known.targets, known.mean(inputs))
        seen = np.vstack([known.inputs, inputs])
        # A basis of its own: one that stands for many trials would not know this point.
        basis = np.vstack([known.basis, inputs])
        self._process = Process(known.kernel, basis, seen, targets)

    def improvement(self, inputs: Array) -> Array:
        """Expected improvement on the best mean of today, shape (m, inputs) → (m,)."""
        from scipy.stats import norm

        deviation = np.maximum(self._process.deviation(inputs), 1e-9)
        ahead = (self._best - self._process.mean(inputs)) / deviation
        return deviation * (ahead * norm.cdf(ahead) + norm.pdf(ahead))


def _rows(space: Space, columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    values = (columns[name].tolist() for name in space.names)
    return [dict(zip(space.names, row, strict=True)) for row in zip(*values, strict=True)]


def _units(coarse: Space, points: Sequence[Mapping[str, Any]]) -> Array:
    return coarse.to_unit({name: [p[name] for p in points] for name in coarse.names})


def _inputs(coarse: Space, points: Sequence[Mapping[str, Any]]) -> Array:
    return features(coarse, _units(coarse, points))
