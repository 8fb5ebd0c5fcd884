"""Whether a model can share a stack: two of them, two batches of everything."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

from omegaconf import DictConfig

from caviar.stacked.members import Member, built
from caviar.stacked.plan import why_not
from caviar.stacked.run import train_all
from caviar.training.rehearsal import shortened


def can_stack(config: DictConfig, output: Path) -> tuple[bool, str]:
    """Train two runs that differ in their seed as one.

    Arguments:
        config: of a run.
        output: a folder for what they leave.

    Returns:
        Whether that goes, and what it came to, or why it does not.
    """
    if (why := why_not(config)) is not None:
        return False, why
    configs = []
    for number in range(2):
        place = output / str(number)
        place.mkdir(parents=True, exist_ok=True)
        short = shortened(deepcopy(config), place)
        short.test, short.seed = False, (config.seed or 0) + number
        configs.append(short)

    def member(place: int) -> Member:
        one = built(configs[place], output / str(place))
        one.number = place
        return one

    ended: list[Member] = []
    left = train_all([0, 1], member, configs[0], ended.extend)
    if left:
        return False, left[0].why
    return True, f"{len(ended)} models as one, each with its own seed"
