"""The keeper for the night: the `panda` node of the config, and what its rules say at a day's end.

The decision is a pure function of the journal's events, so that it can be made again, by a reader
or by a run that was killed in the middle of it: what the keeper has done so far is in there too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from omegaconf import DictConfig

from caviar.base.errors import UserError, check_rules
from caviar.config.compose import read_settings
from caviar.panda.journal import BACK, SET, START, Event

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
    """How many times worse."""
    lr: float = 0.5


@dataclass
class Plateau:
    """Days without progress: lower the learning rate, and at last stop."""

    days: int = 3
    """Each with a validation."""
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
    """Actions in all; what would be the next one stops the run."""


@dataclass
class PandaSettings:
    """Everything under `panda`; `caviar/conf/panda/default.yaml` says what each is for."""

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
        settings = read_settings(config, "panda", cls)
        Day.parse(settings.day)
        rules, share = settings.rules, "a factor between 0 and 1"
        check_rules(
            "panda.rules.",
            [
                ("diverged.lr", rules.diverged.lr, 0 < rules.diverged.lr < 1, share),
                ("jump.lr", rules.jump.lr, 0 < rules.jump.lr < 1, share),
                ("plateau.lr", rules.plateau.lr, 0 < rules.plateau.lr < 1, share),
                ("jump.factor", rules.jump.factor, rules.jump.factor > 1, "above 1"),
                ("plateau.days", rules.plateau.days, rules.plateau.days >= 1, "1 or more"),
                ("most", rules.most, rules.most >= 1, "1 or more"),
            ],
        )
        return settings


@dataclass(frozen=True)
class Action:
    """What is to be done, and why."""

    why: str
    back_to: int | None = None
    """The day to go back to."""
    lr: float | None = None
    """The learning rate's factor."""
    stop: bool = False


def decide(
    rules: Rules,
    events: Sequence[Event],
    days: Sequence[Event],
    mode: str,
    diverged: bool,
) -> Action | None:
    """What the rules ask for now; None for nothing.

    Arguments:
        rules: of the config.
        events: the whole journal.
        days: the ends of days that lead to now.
        mode: `min` or `max`, of the metric.
        diverged: whether a loss is NaN or infinite.
    """
    # Counted from the journal, not in memory: each going back is a process of its own.
    done = [e for e in events if e.by == "keeper" and e.kind in (SET, BACK)]
    # A day inside of an epoch may pass without a validation, and says nothing new.
    validated = [e for e in days if e.facts.get("validated", True)]
    values = {e.day: _loss(e.facts.get("value"), mode) for e in validated}
    good = [day for day, value in values.items() if math.isfinite(value)]
    today = days[-1] if days and days[-1].day in values else None
    jumped = not diverged and today is not None and _jumped(rules, values, today.day)
    if diverged or jumped:
        # A model that cannot be saved is not to be trained until morning.
        if len(done) >= rules.most:
            return Action(f"the keeper has acted {len(done)} times, which is its limit", stop=True)
        # A fork's first weights are those of a day: it has nothing before.
        first = events[0].day if events and events[0].kind == START else 0
        before = [day for day in good if not jumped or today is None or day < today.day]
        # A day that was a jump itself is no place to go back to, though its loss is a number.
        sane = [
            day
            for day in before
            if not _jumped(rules, {d: v for d, v in values.items() if d <= day}, day)
        ]
        last = max(sane, default=first)
        # Back there again, and it went wrong again: one day more, each time.
        tries = sum(e.kind == BACK and e.facts.get("to") == last for e in done)
        to = max(first, last - max(0, tries - 1))
        rule = rules.jump if jumped else rules.diverged
        if jumped and today is not None:
            best = min(values[d] for d in good if d < today.day)
            why = f"{_shown(values[today.day], mode)} after {_shown(best, mode)}: a jump"
        else:
            why = "the loss is NaN or infinite"
        return Action(why, back_to=to, lr=rule.lr)
    if today is None or not _flat(rules, values, events):
        return None
    # Going back halves the lr as well, but not because of a plateau: it is no reduction here.
    lowered = sum(e.kind == SET for e in done)
    why = f"no progress in {rules.plateau.days} days"
    if lowered >= rules.plateau.stop_after or len(done) >= rules.most:
        return Action(f"{why}, and the lr was lowered {lowered} times", stop=True)
    return Action(why, lr=rules.plateau.lr)


def _jumped(rules: Rules, values: dict[int, float], today: int) -> bool:
    """Whether today is much worse than the best day before it."""
    before = [v for day, v in values.items() if day < today and math.isfinite(v)]
    # The first day has nothing to be worse than, not even if it is no number: there `diverged`
    # looks at the loss itself.
    if not before or not math.isfinite(values[today]):
        return bool(before)
    best = min(before)
    # Of a metric that is to grow, losses are negative: worse by the factor is closer to zero.
    worst = best * rules.jump.factor if best > 0 else best / rules.jump.factor
    return values[today] > worst


def _flat(rules: Rules, values: dict[int, float], events: Sequence[Event]) -> bool:
    """Whether the last days brought no progress, counted from the last change on.

    Also from a user's: a nudge gets its days before the keeper judges what it brought.
    """
    # A change in the days since day n is written down with n, and shows from day n + 1 on.
    changed = max((e.day for e in events if e.kind in (SET, BACK)), default=0)
    recent = [day for day in values if day > changed][-rules.plateau.days :]
    before = [value for day, value in values.items() if recent and day < recent[0]]
    if len(recent) < rules.plateau.days or not before:
        return False
    best = min(before)
    # By a share of the best's size: a metric may be negative, and lower is better in any case here.
    return min(values[day] for day in recent) > best - rules.plateau.better * abs(best)


def _loss(value: float | None, mode: str) -> float:
    """The metric as something to be minimised; what is no number is worst."""
    if value is None or not math.isfinite(value):
        return math.inf
    return value if mode == "min" else -value


def _shown(loss: float, mode: str) -> str:
    return f"{loss if mode == 'min' else -loss:.4g}"
