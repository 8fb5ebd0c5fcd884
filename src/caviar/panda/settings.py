"""The `panda` node of the config: its fields, their types and their rules."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from caviar.errors import UserError

UNITS = {"epoch": 1.0, "step": 1.0, "minute": 60.0, "hour": 3600.0}


@dataclass(frozen=True)
class Day:
    """How long a day is."""

    length: float
    """Epochs, steps, or seconds."""
    unit: str
    """`epochs`, `steps` or `seconds`."""

    @classmethod
    def parse(cls, text: str) -> Day:
        """From `2 epochs`, `500 steps`, `30 minutes`, `1 hour`."""
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(epoch|step|minute|hour)s?\s*", str(text))
        number = float(match[1]) if match else 0.0
        whole = match is not None and (match[2] in ("minute", "hour") or number == int(number))
        if match is None or number <= 0 or not whole:
            raise UserError(
                f"panda.day={text} should be a number of epochs, steps, minutes or hours, such as "
                'panda.day="2 epochs"'
            )
        timed = match[2] in ("minute", "hour")
        return cls(number * UNITS[match[2]], "seconds" if timed else f"{match[2]}s")


@dataclass
class Diverged:
    """A loss is NaN or infinite: back to the last good day."""

    lr: float = 0.5
    """The learning rate's factor."""


@dataclass
class Jump:
    """A day ends much worse than the best one of its branch: back to the last good day."""

    factor: float = 2.0
    lr: float = 0.5


@dataclass
class Plateau:
    """Days without progress: lower the learning rate, and at last stop."""

    days: int = 3
    better: float = 0.01
    """A day counts as progress if it betters the best one by this share."""
    lr: float = 0.5
    stop_after: int = 3
    """Reductions; the next plateau stops the run."""


@dataclass
class Rules:
    """What the keeper does, and when."""

    diverged: Diverged = field(default_factory=Diverged)
    jump: Jump = field(default_factory=Jump)
    plateau: Plateau = field(default_factory=Plateau)
    most: int = 10


@dataclass
class PandaSettings:
    """Everything under `panda`; `conf/panda/default.yaml` says what each is for."""

    run: bool = False
    day: str = "1 epoch"
    keeper: bool = False
    rules: Rules = field(default_factory=Rules)

    @classmethod
    def of(cls, config: DictConfig) -> PandaSettings:
        """From a composed config.

        Raises:
            UserError: a field is unknown, of another type, or breaks its rule.
        """
        try:
            node = OmegaConf.to_container(config.panda, resolve=True)
            settings = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(cls), node))
        except OmegaConfBaseException as error:
            raise UserError(f"panda.{error.full_key}: {str(error).splitlines()[0]}") from None
        assert isinstance(settings, cls)
        Day.parse(settings.day)
        rules = settings.rules
        shares = {f"rules.{n}.lr": getattr(rules, n).lr for n in ("diverged", "jump", "plateau")}
        for name, value in shares.items():
            if not 0 < value < 1:
                raise UserError(f"panda.{name}={value} should be a factor between 0 and 1")
        if rules.jump.factor <= 1:
            raise UserError(f"panda.rules.jump.factor={rules.jump.factor} should be above 1")
        for name, number in (("plateau.days", rules.plateau.days), ("most", rules.most)):
            if number < 1:
                raise UserError(f"panda.rules.{name}={number} should be 1 or more")
        return settings
