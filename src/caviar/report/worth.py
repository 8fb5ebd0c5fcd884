"""Is another stage worth what it costs? Said by what the last one brought."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caviar.expected import expected_best
from caviar.report.facts import Facts, Stage
from caviar.view import duration, plural

FEWEST = 5  # trials of a stage, to speak of what it brought
RESAMPLES = 200
LOW = 0.05  # quantile of a gain that is called sure


def worth_sentence(facts: Facts) -> str:
    """Whether the next stage is worth its cost, in one sentence."""
    stages = [s for s in facts.stages if len(s.losses) >= FEWEST and _some(s)]
    if not stages:
        return "Too few trials have finished to say whether more of them would help."
    last = stages[-1]
    cost = _cost(last)
    if len(stages) > 1 and stages[-2].sweep.overrides == last.sweep.overrides:
        count = min(len(stages[-2].losses), len(last.losses))
        gain, sure = _gain(stages[-2].losses, last.losses, count)
        brought = (
            f"At {plural(count, 'trial')} each, {last.name} is expected to find "
            f"{_amount(facts, gain)} than {stages[-2].name}"
        )
        another = "another stage"
    else:
        count = len(last.losses)
        curve = expected_best(last.losses)
        half = float(np.interp(count / 2, curve.n, curve.unbiased))
        gain = half - float(curve.unbiased[-1])
        sure = gain > 0
        brought = (
            f"The second half of the {plural(count, 'trial')} of {last.name} brought "
            f"{_amount(facts, gain)} than the first"
        )
        another = "a next stage"
    noise = facts.verdict.noise if facts.verdict else math.nan
    if not math.isfinite(noise):
        judged = (
            f"whether {another} ({cost}) is worth it, the noise will tell, which confirm measures"
            if sure
            else f"{another} ({cost}) is hardly worth it"
        )
    elif sure and gain > noise:
        judged = f"{another} ({cost}) may well be worth it"
    else:
        judged = f"{another} ({cost}) is not worth it: that is less than seeds alone make"
        if gain > noise:
            judged = f"{another} ({cost}) is not sure to be worth it: luck may have made that"
    return f"{brought}; {judged}."


def _some(stage: Stage) -> bool:
    return any(math.isfinite(loss) for loss in stage.losses)


def _amount(facts: Facts, gain: float) -> str:
    """`0.012 (2.4 σ) better`."""
    noise = facts.verdict.noise if facts.verdict else math.nan
    units = f" ({abs(gain) / noise:.1f} σ)" if math.isfinite(noise) and noise > 0 else ""
    return f"{abs(gain):.2g}{units} {'better' if gain >= 0 else 'worse'}"


def _gain(before: Sequence[float], after: Sequence[float], count: int) -> tuple[float, bool]:
    """By how much the best of `count` trials has fallen, and whether a bootstrap is sure of it."""
    rng = np.random.default_rng(0)

    def best(losses: Sequence[float]) -> float:
        curve = expected_best(losses)
        return float(np.interp(count, curve.n, curve.unbiased))

    drawn = []
    for _ in range(RESAMPLES):
        both = [rng.choice(losses, len(losses)).tolist() for losses in (before, after)]
        if all(np.isfinite(losses).any() for losses in both):
            drawn.append(best(both[0]) - best(both[1]))
    return best(before) - best(after), bool(np.quantile(drawn, LOW) > 0)


def _cost(stage: Stage) -> str:
    """What as many trials again would take, one after another."""
    seconds = [t.result.seconds for t in stage.trials if t.result and t.result.seconds > 0]
    count = len(stage.trials)
    if not seconds:
        return plural(count, "trial")
    return f"{plural(count, 'trial')}, {duration(count * float(np.median(seconds)))} of training"
