"""The verdict in three sentences."""

# MERGED report.worth """Is another stage worth what it costs? Said by what the last one brought."""
#

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from caviar.refine.expected import best_of_weights, expected_best
from caviar.report.page import Section
from caviar.report.snapshot import Snapshot, Stage
from caviar.screen.view import counts, duration, plural, setting_text
from caviar.search.verdict import DEFAULT, Verdict


def verdict_section(snapshot: Snapshot) -> Section:
    """The winning setting, the gain in units of the noise, and whether to search on."""
    words = [_winner(snapshot), _gain(snapshot), worth_sentence(snapshot)]
    if snapshot.unfinished:
        words.append(
            f"The study is not finished: {counts(snapshot.everything)}. Write the report again for "
            "what has come since."
        )
    return Section("verdict", "Verdict", words)


def _winner(snapshot: Snapshot) -> str:
    verdict = snapshot.verdict
    if verdict is None:
        best = snapshot.best
        if best is None or best.result is None:
            return f"No trial has come to a value of {snapshot.metric} yet."
        return (
            f"Best so far is {best.stage}/{best.number}: {setting_text(best.point)}, with "
            f"{snapshot.metric} {best.result.best:.4g}; as the best of "
            f"{plural(sum(t.finished for t in snapshot.trials), 'trial')} it flatters itself."
        )
    winner = verdict.winner
    setting = setting_text(winner.point or _as_point(verdict))
    found = f", found as {winner.origin}" if winner.origin else ""
    return (
        f"The winning setting is {setting}{found}: {snapshot.metric} {winner.mean:.4g} ± "
        f"{winner.standard_error:.2g} over {plural(len(winner.values), 'fresh seed')}."
    )


def _as_point(verdict: Verdict) -> dict[str, object]:
    return verdict.defaults if verdict.winner.note == DEFAULT else {}


def _gain(snapshot: Snapshot) -> str:
    if snapshot.verdict is not None:
        return f"{snapshot.verdict.sentence().rstrip('.')} ({snapshot.verdict.noise_text})."
    return (
        "Whether it beats the default is not known yet: caviar confirm "
        f"search.study={snapshot.study.name} trains both again with fresh seeds, and measures the "
        "noise."
    )


FEWEST = 5  # trials of a stage, to speak of what it brought
RESAMPLES = 200
LOW = 0.05  # quantile of a gain that is called sure


def worth_sentence(snapshot: Snapshot) -> str:
    """Whether the next stage is worth its cost, in one sentence."""
    stages = [s for s in snapshot.stages if len(s.losses) >= FEWEST and _some(s)]
    if not stages:
        return "Too few trials have finished to say whether more of them would help."
    last = stages[-1]
    alike = [s for s in stages if sorted(s.sweep.overrides) == sorted(last.sweep.overrides)]
    if len(alike) > 1:
        before = alike[-2]
        count = min(len(before.losses), len(last.losses))
        gain, sure = _brought(before.losses, last.losses, count)
        brought = (
            f"At {plural(count, 'trial')} each, {last.name} is expected to find "
            f"{_amount(snapshot, gain)} than {before.name}"
        )
    else:
        count = len(last.losses)
        curve = expected_best(last.losses)
        half = float(np.interp(count / 2, curve.n, curve.unbiased))
        gain = _rounded(half - float(curve.unbiased[-1]), last.losses)
        sure = gain > 0
        brought = (
            f"All {plural(count, 'trial')} of {last.name} found {_amount(snapshot, gain)} than half "
            "of them would be expected to"
        )
    return f"{brought}; {_judged(snapshot, gain, sure, _cost(last))}."


def _judged(snapshot: Snapshot, gain: float, sure: bool, cost: str) -> str:
    another = f"another stage ({cost})"
    noise = snapshot.verdict.noise if snapshot.verdict else math.nan
    if gain <= 0:
        return f"{another} is hardly worth it"
    if snapshot.verdict is None:
        return f"whether {another} is worth it, the noise will tell, which confirm measures"
    if not math.isfinite(noise):
        return f"whether {another} is worth it cannot be told, as the noise is not known"
    if gain <= noise:
        return f"{another} is not worth it: that is less than seeds alone make"
    if not sure:
        return f"{another} is not sure to be worth it: luck may have made that"
    return f"{another} may well be worth it"


def _some(stage: Stage) -> bool:
    """Whether it has losses to compare: two, as a diverged one counts as the worst of them."""
    return sum(map(math.isfinite, stage.losses)) > 1


def _rounded(gain: float, losses: Sequence[float]) -> float:
    """No gain where sums have only been rounded."""
    size = max(abs(loss) for loss in losses if math.isfinite(loss))
    return 0.0 if abs(gain) < 1e-9 * size else gain


def _amount(snapshot: Snapshot, gain: float) -> str:
    """`0.012 (2.4 σ) better`."""
    if gain == 0:
        return "nothing better"
    noise = snapshot.verdict.noise if snapshot.verdict else math.nan
    units = f" ({abs(gain) / noise:.1f} σ)" if math.isfinite(noise) and noise > 0 else ""
    return f"{abs(gain):.2g}{units} {'better' if gain >= 0 else 'worse'}"


def _brought(before: Sequence[float], after: Sequence[float], count: int) -> tuple[float, bool]:
    """By how much the best of `count` trials has fallen, and whether a bootstrap is sure of it."""
    rng = np.random.default_rng(0)
    both = [(np.array(losses), best_of_weights(len(losses), count)) for losses in (before, after)]

    def best(losses: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
        finite = losses[np.isfinite(losses)]
        return float(np.sort(np.minimum(losses, finite.max())) @ weights)

    drawn = []
    for _ in range(RESAMPLES):
        again = [(rng.choice(losses, len(losses)), weights) for losses, weights in both]
        if all(np.isfinite(losses).any() for losses, _ in again):
            drawn.append(best(*again[0]) - best(*again[1]))
    gain = _rounded(best(*both[0]) - best(*both[1]), [*before, *after])
    return gain, bool(np.quantile(drawn, LOW) > 0)


def _cost(stage: Stage) -> str:
    """What as many trials again would take, one after another."""
    seconds = [t.result.seconds for t in stage.trials if t.result and t.result.seconds > 0]
    count = len(stage.trials)
    if not seconds:
        return plural(count, "trial")
    return f"{plural(count, 'trial')}, {duration(count * float(np.median(seconds)))} of training"
