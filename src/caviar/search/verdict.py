"""What a study found: default against winner, and whether the gain is shown or may be luck."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from caviar.base.files import replaced
from caviar.base.result import finite, test_metric
from caviar.screen.view import plural
from caviar.search.race import (
    AGAIN,
    ERROR_RATE,
    FEWEST,
    Gain,
    gain_test,
)

DEFAULT = "default"
CLEARLY = 2.0  # standard errors on the test set, which no decision rests on


@dataclass
class Setting:
    """One setting and what its fresh seeds gave."""

    note: str
    """`default`, or its name in the ledger's stage `confirm`."""
    point: dict[str, Any]
    """Search coordinates; empty for the default setting."""
    values: list[float]
    """Best value of the metric, one for each seed; infinite where training diverged or failed.
    The first of each setting have the same seed, and so on."""
    trials: list[int]
    """Their numbers in the stage `confirm`."""
    origin: str = ""
    """The trial of the search that found it: `02_fine/7`."""
    test: dict[str, list[float]] = field(default_factory=dict)
    """Test metrics by name, one for each seed; of the default and the winner only."""

    @property
    def name(self) -> str:
        """What it is called wherever it is spoken of: the trial that found it, or `default`."""
        return self.origin or self.note

    @property
    def mean(self) -> float:
        return float(np.mean(self.values)) if self.values else math.nan

    @property
    def standard_error(self) -> float:
        return standard_error(self.values)


@dataclass
class Verdict:
    """What a study found."""

    metric: str
    mode: str
    noise: float
    """Standard deviation σ of the default setting over its seeds."""
    default: Setting
    winner: Setting
    """The candidate that the race has left, shown to be better or not; the default, if that is not
    even ahead."""
    others: list[Setting]
    trials: int
    """Trials of all stages, confirmation included."""
    stopped: int = 0
    """How many of them were stopped before their end: at a rung, or as hopeless."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """The default setting's natural values, by config key."""
    looks: int = 0
    """How often it had been judged before, with fewer seeds, and was left open."""
    decided: bool = True
    """False while more seeds may be given to the same candidates: the test set is shut."""

    @property
    def spent(self) -> int:
        """Trainings of the confirmation that count."""
        return sum(len(s.values) for _, s in self.rows())

    @property
    def candidates(self) -> int:
        """How many settings the winner is the best of."""
        return max(len(self.others) + (self.winner.note != DEFAULT), 1)

    @property
    def paired(self) -> Gain:
        """How much better the winner is, seed by seed, and whether that is shown."""
        stricter = AGAIN if self.looks else 1
        return paired_gain(self.default, self.winner, self.mode, self.candidates, stricter)

    @property
    def gain(self) -> float:
        """How much better the winner is, positive is better, in units of the metric."""
        return self.paired.gain

    @property
    def gain_in_noise(self) -> float:
        """The gain in units of σ; NaN where σ is not known, or zero."""
        return self.gain / self.noise if self.noise > 0 else math.nan

    @property
    def noise_text(self) -> str:
        """σ, or why there is none."""
        if not math.isfinite(self.noise):
            alone = all(map(math.isfinite, self.default.values))
            why = "one seed has no spread" if alone else "the default diverged"
            return f"noise σ unknown: {why}"
        return f"noise σ = {self.noise:.3g}, the spread of the default over its seeds"

    @property
    def clear(self) -> bool:
        """Whether the winner is shown to be better: that errs in at most 5 % of studies."""
        return self.winner.note != DEFAULT and self.paired.clear

    @property
    def open(self) -> bool:
        """Whether more seeds might show what these do not: it is ahead, but not by enough."""
        ahead = self.winner.note != DEFAULT and math.isfinite(self.paired.gain)
        return ahead and not self.clear

    @property
    def safer(self) -> bool:
        """Whether the default diverged with a seed, and the winner with none."""
        return self.winner.note != DEFAULT and self.paired.gain == math.inf

    @property
    def kept(self) -> Setting:
        """What to go on with: the winner if it is shown to be better, or the default diverges; else
        the default."""
        return self.winner if self.clear or self.safer else self.default

    @property
    def best(self) -> str:
        """What the winner may be called."""
        if self.winner.note == DEFAULT:
            return "default setting"
        return "winner" if self.clear else "best candidate"

    @property
    def headline(self) -> str:
        """What to do, before any number."""
        if self.winner.note == DEFAULT:
            return "No setting beat the default when trained again with fresh seeds; keep it"
        if self.safer:
            lost = sum(not math.isfinite(v) for v in self.default.values)
            return (
                f"The default diverged with {lost} of {plural(len(self.default.values), 'seed')}, "
                f"and {self.winner.name}, the best candidate, with none; take that"
            )
        if not self.clear:
            return "Not shown to be better than the default; keep it"
        return f"The winner, {self.winner.name}, beats the default"

    def rows(self) -> list[tuple[str, Setting]]:
        """The settings as a table lists them, by label: default, winner, the others.

        A default that has won stands there once, as the default.
        """
        rows = [(DEFAULT, self.default)]
        if self.winner.note != DEFAULT:
            rows.append((f"{self.winner.name}, {self.best}", self.winner))
        return [*rows, *((setting.name, setting) for setting in self.others)]

    @property
    def test_metrics(self) -> list[str]:
        """Names of what was measured on the test set, of the default and the winner."""
        return sorted({*self.default.test, *self.winner.test})

    def sentence(self) -> str:
        """In plain words: what to do, why, and what the test set says."""
        return " ".join([f"{self.headline}{self._judged()}.", *self._tested()])

    def _judged(self) -> str:
        """What the headline rests on."""
        if self.winner.note == DEFAULT or self.safer:
            return ""
        found = self.paired
        what = "it" if self.clear else f"{self.winner.name}, the best candidate,"
        gain = f"{what} gains {found.gain:.3g} in {self.metric}"
        if not math.isfinite(found.needed):
            return (
                f": {gain} over {plural(found.pairs, 'pair')} of seeds, where {FEWEST} are needed "
                "to show anything"
            )
        if found.error == 0:
            return f": {gain}, the same with each of {found.pairs} seeds"
        return (
            f": {gain}, {found.gain / found.error:.1f} standard errors of the difference "
            f"({found.error:.2g}), where {found.needed:.1f} are needed to err in at most "
            f"{100 * ERROR_RATE:.0f} % of studies"
        )

    def _tested(self) -> list[str]:
        """What the test set says of the metric, in a sentence; none where it was not opened."""
        name = test_metric(self.metric)
        if self.winner.note == DEFAULT or not (self.default.test and self.winner.test):
            return []
        if name not in self.default.test or name not in self.winner.test:
            return []
        default, winner = self.default.test[name], self.winner.test[name]
        sign = 1 if self.mode == "min" else -1
        gain = sign * (float(np.mean(default)) - float(np.mean(winner)))
        error = math.hypot(standard_error(default), standard_error(winner))
        if not math.isfinite(gain):
            judged = ""
        elif gain < -CLEARLY * error:
            judged = ": it is worse there"
        elif gain > CLEARLY * error:
            judged = ": it is better there, too"
        else:
            judged = ": no difference there that shows"
        return [
            f"On the test set its {name} is {mean_text(winner)}, where the default has "
            f"{mean_text(default)}{judged}."
        ]

    def caveat(self) -> str:
        """Why the winner's own mean is still a little too good; empty where it is not."""
        if self.winner.note == DEFAULT or self.candidates == 1:
            return ""
        return (
            f"{self.winner.name} is the best of {self.candidates} by these same seeds, so its mean "
            "is a little flattered, which the standard errors needed allow for"
            f"{'; its test value is not' if self.winner.test else ''}."
        )


def paired_gain(
    default: Setting, winner: Setting, mode: str, candidates: int = 1, stricter: float = 1
) -> Gain:
    """How much better a setting is than the default, the best of so many candidates."""
    sign = 1 if mode == "min" else -1
    first, second = ([sign * v for v in s.values] for s in (default, winner))
    return gain_test(first, second, candidates, stricter)


def mean_text(values: Sequence[float]) -> str:
    """`0.123 ± 0.004` of one value for each seed, or how many of them diverged or failed."""
    if not values:  # the default has failed with its seeds
        return "none"
    diverged = sum(not math.isfinite(v) for v in values)
    if diverged:
        return f"{diverged} of {len(values)} diverged or failed"
    error = f" ± {standard_error(values):.2g}" if len(values) > 1 else ""
    return f"{float(np.mean(values)):.4g}{error}"


def deviation(values: Sequence[float]) -> float:
    """Sample standard deviation; infinite with an infinite value, NaN for a single one."""
    if not np.isfinite(values).all():
        return math.inf
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def standard_error(values: Sequence[float]) -> float:
    """Of the mean; as `deviation` otherwise."""
    return deviation(values) / math.sqrt(len(values))


def write_verdict(verdict: Verdict, path: Path) -> None:
    """As JSON, whole or not at all."""
    found = verdict.paired
    values = asdict(verdict) | {
        "gain": found.gain,
        "gain_error": found.error,
        "gain_in_noise": verdict.gain_in_noise,
        "standard_errors_needed": found.needed,
        "clear": verdict.clear,
        "kept": DEFAULT if verdict.kept is verdict.default else "winner",
        "headline": verdict.headline,
        "sentence": verdict.sentence(),
    }
    # Its presence says that the study is complete, so it is on the disk before it has its name.
    text = json.dumps(finite(values), indent=2, allow_nan=False)
    with replaced(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def read_verdict(path: Path) -> Verdict:
    """What `write_verdict` wrote."""
    values = json.loads(path.read_text(encoding="utf-8"))
    worst = math.inf if values["mode"] == "min" else -math.inf

    def setting(written: dict[str, Any]) -> Setting:
        values = [_or(v, worst) for v in written["values"]]
        test = {k: [_or(v, math.nan) for v in vs] for k, vs in written["test"].items()}
        return Setting(**{**written, "values": values, "test": test})

    return Verdict(
        default=setting(values["default"]),
        winner=setting(values["winner"]),
        others=[setting(s) for s in values["others"]],
        noise=_or(values["noise"], math.nan),
        # An earlier version did not write these.
        **{k: values[k] for k in ("stopped", "looks", "decided") if k in values},
        **{k: values[k] for k in ("metric", "mode", "trials", "defaults")},
    )


def _or(value: float | None, otherwise: float) -> float:
    """JSON has neither NaN nor infinity; both are written as null."""
    return otherwise if value is None else value
