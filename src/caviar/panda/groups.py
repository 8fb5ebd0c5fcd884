"""The parameter groups of a module that builds its own optimizers, and what a nudge makes of them.

When such a run begins, it writes down its groups and whose they are: a group is a config key's if
the key is named after the hyperparameter and the group began with the key's value. From then on

- a nudge of the key gives its groups the new value;
- other learning rates follow in proportion, but for those that are another key's;
- other groups' weight decay, momentum and so on stay: they may be 0 by design.

What became of each group is in the journal, so that it can be put in force again, to the last bit,
after a restart or a going back. No torch: a terminal knows all this from the journal.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from caviar.base.errors import UserError
from caviar.panda.journal import MOVES, SOME, Event, shown
from caviar.space.lint import flatten

OPTIMIZERS = "optimizers"  # in an event's facts: all groups, and whose they are
RATE = "lr"
# What else a key may be called, by a part of its name: `lr_g`, `net_lr`, `wd`, `b1`.
WORDS = {
    RATE: ("lr", "learning_rate"),
    "weight_decay": ("weight_decay", "wd"),
    "momentum": ("momentum",),
    "beta1": ("beta1", "b1"),
    "beta2": ("beta2", "b2"),
}

# Nodes of a config whose numbers are no optimizer's, whatever they are called.
OTHERS = ("scheduler", "data", "trainer", "space", "name", "metric", "panda")

Place = tuple[int, int]  # of a group: its optimizer, and which it is of that, both from 0
Values = dict[str, float]  # hyperparameter → value; a learning rate is where its schedule begins


@dataclass(frozen=True)
class Move:
    """One value of one group, before and after a nudge; twice the same where it stays."""

    optimizer: int
    group: int
    where: str
    """What the group is called, by `labels`."""
    name: str
    old: float
    new: float

    @property
    def place(self) -> Place:
        """Of the group."""
        return self.optimizer, self.group

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


@dataclass
class Groups:
    """The groups of a run, over all its optimizers."""

    values: dict[Place, Values]
    """In force."""
    keys: dict[str, tuple[str, list[Place]]] = field(default_factory=dict)
    """Config key → its hyperparameter, and the groups that are its."""
    nudged: dict[tuple[Place, str], float] = field(default_factory=dict)
    """What nudges have made of a group's hyperparameter; all else is as it was built."""

    @classmethod
    def begin(
        cls,
        values: dict[Place, Values],
        config: Mapping[str, Any],
        written: Mapping[str, Any],
        unread: Collection[str] = (),
    ) -> Groups:
        """The groups of a run that has just built them.

        Arguments:
            values: of each.
            config: of the run, plain and resolved.
            written: the same with its interpolations as they are written.
            unread: keys that nothing reads, whatever their value.
        """
        groups = cls(values)
        literal = dict(hyperparameters(written))
        keys = {key: value for key, value in hyperparameters(config) if key not in unread}
        # What is written as a number goes first: one that refers to it is only another name of it.
        for key in sorted(keys, key=lambda key: key not in literal):
            name = groups._name(key) or ""
            own = [at for at, v in values.items() if name in v and _alike(v[name], keys[key])]
            if own and (key in literal or not groups._owned(name) & {*own}):
                groups.keys[key] = (name, own)
        return groups

    @classmethod
    def of(cls, events: Iterable[Event]) -> Groups | None:
        """As the journal has them; None where the optimizer is the one that the config declares."""
        groups = None
        for event in events:
            if facts := event.facts.get(OPTIMIZERS):
                values = {(o, g): dict(v) for o, g, v in facts["values"]}
                keys = {
                    k: (name, [(o, g) for o, g in own]) for k, (name, own) in facts["keys"].items()
                }
                nudged = {((o, g), name): value for o, g, name, value in facts["nudged"]}
                groups = cls(values, keys, nudged)
            if groups is not None:
                groups.take(Move(**move) for move in event.facts.get(MOVES, []))
        return groups

    def to_facts(self) -> dict[str, Any]:
        """For the journal, as plain JSON values."""
        values = [[*place, values] for place, values in self.values.items()]
        keys = {key: [name, [[*at] for at in own]] for key, (name, own) in self.keys.items()}
        nudged = [[*place, name, value] for (place, name), value in self.nudged.items()]
        return {"values": values, "keys": keys, "nudged": nudged}

    def take(self, moves: Iterable[Move]) -> None:
        """Let moves be in force."""
        for move in moves:
            if move.new != move.old:
                self.values.setdefault(move.place, {})[move.name] = move.new
                self.nudged[move.place, move.name] = move.new

    def rate_keys(self) -> list[str]:
        """The config keys of learning rates."""
        return [key for key, (name, _) in self.keys.items() if name == RATE]

    def name_of(self, key: str) -> str:
        """The hyperparameter that a config key is, or the key's own last part."""
        return self.keys[key][0] if key in self.keys else key.rpartition(".")[2]

    def planned(
        self, changes: Mapping[str, Sequence[Any]], factor: float | None = None
    ) -> list[Move]:
        """What changes make of the groups; every group that has the hyperparameter is told of.

        Arguments:
            changes: config key → (old, new); keys of other things are left out.
            factor: of all learning rates; those of keys are among the changes already.

        Raises:
            UserError: two keys would share a group.
        """
        moves = []
        names = dict.fromkeys(self.keys[key][0] for key in changes if key in self.keys)
        for name in names if factor is None else {RATE: None, **names}:
            asked = {k: c for k, c in changes.items() if k in self.keys and name == self.keys[k][0]}
            new = self._given(name, {key: float(value) for key, (_, value) in asked.items()})
            ratio = factor if name == RATE else None
            if name == RATE and factor is None:
                ratios = {rounded(value / old): value / old for old, value in asked.values() if old}
                ratio = ratios.popitem()[1] if len(ratios) == 1 else None
            owned, called = self._owned(name), labels(self.values)
            for at, values in self.values.items():
                if name in values:
                    old = values[name]
                    follows = old if ratio is None or at in owned else rounded(old * ratio)
                    moves.append(Move(*at, called[at], name, old, new.get(at, follows)))
        return moves

    def _owned(self, name: str) -> set[Place]:
        """The groups whose hyperparameter is a key's."""
        return {at for n, own in self.keys.values() if n == name for at in own}

    def _given(self, name: str, values: Mapping[str, float]) -> dict[Place, float]:
        """Group → the value of the key that it is of."""
        new: dict[Place, float] = {}
        for key, value in values.items():
            for at in self.keys[key][1]:
                sharing = [k for k, (n, own) in self.keys.items() if n == name and at in own]
                if any(values.get(other) != value for other in sharing):
                    raise UserError(
                        f"{' and '.join(sharing)} began with the same value, so nothing tells "
                        "which groups are whose; change them together, to the same value"
                    )
                new[at] = value
        return new

    def why_not(self, key: str, value: Any, same: Collection[str]) -> str | None:
        """Why a key cannot be nudged that is named after a hyperparameter; None for other keys.

        Arguments:
            key: none of `keys`.
            value: in force.
            same: the config keys that have this value.
        """
        name = self._name(key)
        if name is None:
            return None
        twins = [k for k, (n, _) in self.keys.items() if n == name and k in same]
        if twins:
            return f"{key} alone changes nothing; nudge {twins[0]}"
        held = dict.fromkeys(shown(v[name]) for v in self.values.values() if name in v)
        if not held:
            return f"{key}: the optimizers have no {name} of their own"
        what = "their rates are" if name == RATE else f"their {name} is"
        return f"nothing in the optimizers has {key}'s value {shown(value)}; {what} " + ", ".join(
            held
        )

    def _name(self, key: str) -> str | None:
        """The hyperparameter that a key is named after; None if no group has one of such a name."""
        last = key.rpartition(".")[2]
        if any(last in values for values in self.values.values()):
            return last
        return hyperparameter(key)

    def words(self) -> str:
        """All learning rates, and whose they are."""
        parts, called = [], labels(self.values)
        for at, values in self.values.items():
            own = [k for k, (name, of) in self.keys.items() if name == RATE and at in of]
            whose = f" ({', '.join(own)})" if own else ""
            if RATE in values:
                parts.append(f"{called[at]}: lr {shown(values[RATE])}{whose}")
        more = [f"and {len(parts) - SOME} more"] if len(parts) > SOME else []
        return "; ".join([*parts[:SOME], *more])


def hyperparameter(key: str) -> str | None:
    """The hyperparameter that a key's last part is named after; None if it is of another kind."""
    last = key.rpartition(".")[2].lower()
    for name, words in WORDS.items():
        if re.search(rf"(^|_)({'|'.join(words)})(_|$)", last):
            return name
    return None


def hyperparameters(config: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a plain config that an optimizer may have: key and value."""
    own = {name: node for name, node in config.items() if name not in OTHERS}
    yield from ((key, value) for key, value in flatten(own) if is_number(value))


def is_number(value: Any) -> bool:
    """Whether it is one; to Python True is an int, but `nesterov` is no lever all the same."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def labels(places: Iterable[Place]) -> dict[Place, str]:
    """What groups are called: `optimizer 1`, `group 2`, `optimizer 1 group 2`, counted from 1."""
    places = list(places)
    sizes = Counter(optimizer for optimizer, _ in places)
    names = {}
    for optimizer, group in places:
        several = sizes[optimizer] > 1
        parts = [f"optimizer {optimizer + 1}"] if len(sizes) > 1 or not several else []
        parts += [f"group {group + 1}"] if several else []
        names[optimizer, group] = " ".join(parts)
    return names


def _alike(value: float, other: float) -> bool:
    return math.isclose(value, other, rel_tol=1e-6)  # a rate may be a tensor of single precision


def rounded(value: float) -> float:
    """Without the noise of the last digit: 0.1 times 3 is 0.3 to whoever reads the journal.

    Digits that mean something stay, so that a third, times three, is what it was.
    """
    short = float(f"{value:.12g}")
    return short if math.isclose(short, value, rel_tol=1e-15) else value
