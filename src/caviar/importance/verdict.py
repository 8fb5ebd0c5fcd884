"""What a measurement of importance says of the lecture's tiers, in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from caviar.importance.measure import Importance

MATTERS = 0.05  # a share below this is none to speak of
MOST = 100_000  # trials; a larger answer means never


def sentences(found: Sequence[Importance], trials: int) -> list[str]:
    """Where the tiers and the measurement disagree, and what would tell where it is open.

    Arguments:
        found: most important first.
        trials: that it was measured from.
    """
    said = [*_disagreements(found)]
    if not said and any(i.axis.tier is not None for i in found):
        said.append("Nothing measured contradicts the tiers.")
    if len(found) > 1 and (more := trials_to_rank(found, trials)) is not None:
        first, second = found[0].axis.key, found[1].axis.key
        wanted = f"about {more - trials} more trials would tell them apart"
        if more >= MOST:
            wanted = f"they matter alike, as far as {trials} trials can tell"
        said.append(f"{first} and {second} cannot be ranked yet: {wanted}.")
    return said


def trials_to_rank(found: Sequence[Importance], trials: int) -> int | None:
    """Trials that would part the intervals of the two most important axes; None if they are apart.

    Intervals narrow with the square root of the number of trials.
    """
    first, second = found[0], found[1]
    if first.low > second.high:
        return None
    gap = first.share - second.share
    reach = (first.share - first.low) + (second.high - second.share)
    return MOST if gap <= 0 else min(MOST, math.ceil(trials * (reach / gap) ** 2))


def _disagreements(found: Sequence[Importance]) -> list[str]:
    said = []
    for more, less in combinations(found, 2):  # as measured
        if more.axis.tier is None or less.axis.tier is None:
            continue
        if more.axis.tier > less.axis.tier and more.low > less.high:
            said.append(
                f"{more.axis.key} (tier {more.axis.tier}) matters more here than {less.axis.key} "
                f"(tier {less.axis.tier}): {more.share:.0%} against {less.share:.0%}."
            )
    for one in found:
        if one.axis.tier is not None and one.axis.tier <= 2 and one.high < MATTERS:
            said.append(
                f"{one.axis.key} is of tier {one.axis.tier}, but explains less than "
                f"{MATTERS:.0%} here."
            )
    return said
