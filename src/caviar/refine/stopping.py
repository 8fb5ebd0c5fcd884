"""Is another round worth its trainings? What it may be expected to gain, against the noise.

    outlook = expected_gain(coarse, refinement.space, points, losses, count=10)
    outlook.gain     # in units of the loss
    outlook.noise    # of one training
    outlook.worth    # whether confirm could tell such a gain from luck

A Gaussian process learns the losses of the better half, their logarithms where all are positive; of
the others it is only told that they are no better. In the next round's box it draws as many
settings as the round has, each as good as it may be by what is known so far. The round trains each
once, takes the best, and confirms it against the best setting of today; what that gains, on
average, is the round's gain: the expected improvement of a batch (Ginsbourger et al., 2010), of
independent draws, as far as noise lets it be found. One that is small beside the noise of a
training would be found by nobody. `python benchmarks/quality/stopping.py` measures how often that
was right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caviar.refine.gaussian import fitted, one_thread
from caviar.refine.surrogate import features, worst_if_diverged
from caviar.space import Space

WORTH = 0.25
"""Of a training's noise: a gain below is none that a confirmation with a few seeds would show."""
GOOD = 0.5  # of the trials, whose losses are learned
DRAWS = 500  # rounds that are imagined
CONFIRMED = 3  # trainings by which confirm tells two settings apart
FEWEST = 10  # finite losses


@dataclass(frozen=True)
class Outlook:
    """What another round promises."""

    gain: float
    """Expected, in units of the metric, 0 or more."""
    noise: float
    """Standard deviation of one training's metric about what its setting is worth."""
    trials: int
    """Of the round."""

    @property
    def worth(self) -> bool:
        """Whether the gain is more than `WORTH` of the noise."""
        return self.gain > WORTH * self.noise

    def sentence(self, metric: str) -> str:
        """In plain words."""
        what = "worth its trainings" if self.worth else "hardly worth its trainings"
        return (
            f"a round of {self.trials} more trials: expected to gain {self.gain:.2g} in {metric}, "
            f"where one training is uncertain by {self.noise:.2g}: {what}"
        )


def expected_gain(
    coarse: Space,
    box: Space,
    points: Sequence[Mapping[str, Any]],
    losses: Sequence[float],
    count: int,
    seed: int = 0,
) -> Outlook | None:
    """The outlook on another round; None where too few trials tell anything.

    Arguments:
        coarse: space of the first stage, which gives the coordinates.
        box: that the round would be drawn from.
        points: search coordinates of all finished trials.
        losses: one for each point, lower is better, infinite where training diverged.
        count: trials of the round.
        seed: of what is imagined.
    """
    loss = worst_if_diverged(losses)
    if np.isfinite(loss).sum() < FEWEST:
        return None
    # Of a loss that cannot be negative, its logarithm: no draw promises less than nothing.
    positive = bool((loss > 0).all())
    told = np.log(loss) if positive else loss
    clipped = np.minimum(told, np.quantile(told[np.isfinite(told)], GOOD))
    scale = float(clipped.std()) or 1.0
    units = coarse.to_unit({name: [p[name] for p in points] for name in coarse.names})
    rng = np.random.default_rng(seed)
    drawn = box.from_unit(rng.random((DRAWS * count, len(box))))
    cloud = coarse.to_unit({name: drawn[name] for name in coarse.names})
    with one_thread():
        process = fitted(features(coarse, units), (clipped - clipped.mean()) / scale)
        today = process.mean(features(coarse, units)).min()
        inputs = features(coarse, cloud)
        mean, deviation = process.mean(inputs), process.deviation(inputs)
    noise = float(np.sqrt(process.kernel.noise))
    worth = (mean + deviation * rng.standard_normal(len(mean))).reshape(DRAWS, count)
    # The round shows one training of each, and the best of these is not the best setting; nor does
    # confirm always see which of two is the better.
    seen = worth + noise * rng.standard_normal(worth.shape)
    chosen = np.take_along_axis(worth, seen.argmin(axis=1)[:, None], axis=1)[:, 0]
    luck = noise * np.sqrt(2 / CONFIRMED) * rng.standard_normal(DRAWS)
    gained = np.where(chosen + luck < today, today - chosen, 0.0) * scale
    unit = 1.0
    if positive:  # back from logarithms, about the best of today
        unit = float(np.exp(today * scale + clipped.mean()))
        gained = 1 - np.exp(-gained)
    return Outlook(max(float(gained.mean()), 0.0) * unit, noise * scale * unit, count)
