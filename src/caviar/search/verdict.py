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
from caviar.base.result import finite
from caviar.search.race import ERROR_RATE, FEWEST, Gain, gain_test

DEFAULT = "default"


@dataclass
class Setting:
    """One setting and what its fresh seeds gave."""

    note: str
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

    @property
    def paired(self) -> Gain:
        """How much better the winner is, seed by seed, and whether that is shown."""
        candidates = len(self.others) + (self.winner.note != DEFAULT)
        return paired_gain(self.default, self.winner, self.mode, max(candidates, 1))

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
            return "noise σ unknown: the default diverged"
        return f"noise σ = {self.noise:.3g}"

    @property
    def clear(self) -> bool:
        """Whether the winner is shown to be better: that errs in at most 5 % of studies."""
        return self.winner.note != DEFAULT and self.paired.clear

    @property
    def best(self) -> str:
        """What the winner may be called."""
        if self.winner.note == DEFAULT:
            return "default setting"
        return "winner" if self.clear else "best candidate"

    def rows(self) -> list[tuple[str, Setting]]:
        """The settings as a table lists them, by label: default, winner, the others.

        A default that has won stands there once, as the default.
        """
        rows = [(DEFAULT, self.default)]
        if self.winner.note != DEFAULT:
            rows.append((self.best, self.winner))
        return [*rows, *((setting.note, setting) for setting in self.others)]

    @property
    def test_metrics(self) -> list[str]:
        """Names of what was measured on the test set, of the default and the winner."""
        return sorted({*self.default.test, *self.winner.test})

    def sentence(self) -> str:
        """In plain words."""
        if self.winner is self.default or self.winner.note == DEFAULT:
            return (
                "No setting beat the default when trained again with fresh seeds: keep the default."
            )
        found = self.paired
        if not math.isfinite(found.gain):
            return f"The default setting diverged with at least one seed; the {self.best} did not."
        error = f" ± {found.error:.2g}" if math.isfinite(found.error) else ""
        units = f", {self.gain_in_noise:.1f} σ" if math.isfinite(self.gain_in_noise) else ""
        gain = f"{found.gain:.3g}{error} in {self.metric}{units}"
        if math.isfinite(found.needed) and found.error == 0:
            judged = f"the same with each of {found.pairs} seeds"
        elif math.isfinite(found.needed):
            judged = (
                f"{found.gain / found.error:.1f} standard errors, where {found.needed:.1f} are "
                f"needed to err in at most {100 * ERROR_RATE:.0f} % of studies"
            )
        else:
            judged = (
                f"over {found.pairs} pairs of seeds, where {FEWEST} are needed to show anything"
            )
        if self.clear:
            return f"The winner beats the default by {gain}: {judged}."
        spent = sum(len(s.values) for s in (self.default, self.winner, *self.others))
        return (
            f"Not shown to be better than the default; keep it: the best candidate's gain of "
            f"{gain}, is {judged}. More seeds would tell: search.confirm.budget="
            f"{max(2 * spent, 16)} in a new study."
        )


def paired_gain(default: Setting, winner: Setting, mode: str, candidates: int = 1) -> Gain:
    """How much better a setting is than the default, the best of so many candidates."""
    sign = 1 if mode == "min" else -1
    first, second = ([sign * v for v in s.values] for s in (default, winner))
    return gain_test(first, second, candidates)


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
        stopped=values.get("stopped", 0),  # an earlier version did not write it
        **{k: values[k] for k in ("metric", "mode", "trials", "defaults")},
    )


def _or(value: float | None, otherwise: float) -> float:
    """JSON has neither NaN nor infinity; both are written as null."""
    return otherwise if value is None else value
