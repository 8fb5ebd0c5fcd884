"""The verdict in three sentences: what to do and why, what was found, whether to search on.

Whether another stage is worth what it costs is said by what the last one brought: of as many
trials each, how much better is the best that one may expect of it than of the stage before?
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from caviar.config.commands import caviar_command
from caviar.ledger import RUNNING, WAITING
from caviar.pages.page import Section
from caviar.pages.snapshot import Snapshot, Stage
from caviar.refine.expected import best_of_weights, expected_best
from caviar.screen.view import counted, duration, plural, setting_text
from caviar.search.more_seeds import how_to_decide
from caviar.search.provenance import trained_alike
from caviar.search.verdict import DEFAULT, mean_text

FEWEST = 5  # trials of a stage, to speak of what it brought
RESAMPLES = 200  # of the bootstrap: 10 of them lie below LOW
LOW = 0.05  # quantile of a gain that is called sure


def verdict_section(snapshot: Snapshot) -> Section:
    """What to do, the setting that was found, and whether to search on."""
    verdict = snapshot.verdict
    study = snapshot.study.name
    if verdict is not None:
        # What to do comes first: whoever reads one sentence reads that.
        words = [f"{verdict.sentence()} ({_upper(verdict.noise_text)}.)", winner_sentence(snapshot)]
        words += (
            []
            if verdict.decided
            else [f"{_upper(line)}." for line in how_to_decide(verdict, study)]
        )
    else:
        words = [
            winner_sentence(snapshot),
            "Whether it beats the default is not known yet: "
            f"{caviar_command('confirm', study)} trains both again with fresh seeds, and measures "
            "the noise.",
        ]
    words.append(worth_sentence(snapshot))
    if snapshot.counts.get(WAITING) or snapshot.counts.get(RUNNING):
        words.append(
            f"The study is not finished: {counted(snapshot.counts)}. Write the report again for "
            "what has come since."
        )
    return Section("verdict", "Verdict", words)


def _upper(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}"


def winner_sentence(snapshot: Snapshot) -> str:
    """What fresh seeds gave; before there are any, the best trial, and that it flatters."""
    verdict = snapshot.verdict
    if verdict is None:
        best = snapshot.best
        if best is None or best.result is None:
            return f"No trial has come to a value of {snapshot.metric} yet."
        return (
            f"Best so far is {best.stage}/{best.number}: {setting_text(best.point)}, with "
            f"{snapshot.metric} {best.result.best:.4g}; as the best of "
            f"{plural(_finished(snapshot), 'trial')} it flatters itself."
        )
    winner = verdict.winner
    # The default is no point of the search; its values are those of the config.
    point = winner.point or (verdict.defaults if winner.note == DEFAULT else {})
    return (
        f"{_upper(winner.name)} is {setting_text(point)}: {snapshot.metric} "
        f"{mean_text(winner.values)} over {plural(len(winner.values), 'fresh seed')}."
    )


def _finished(snapshot: Snapshot) -> int:
    """Trials of the search that have ended."""
    return sum(
        number
        for stage in snapshot.stages
        for status, number in stage.counts.items()
        if status not in (WAITING, RUNNING)
    )


def worth_sentence(snapshot: Snapshot) -> str:
    """Whether the next stage is worth its cost, in one sentence."""
    # Two finite losses: a diverged trial counts as the worst of them, and one has no worst.
    stages = [
        s
        for s in snapshot.stages
        if len(s.losses) >= FEWEST and sum(map(math.isfinite, s.losses)) > 1
    ]
    if not stages:
        return "Too few trials have finished to say whether more of them would help."
    last = stages[-1]
    alike = [s for s in stages if trained_alike(s.spec, last.spec)]
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
        # The first stage has none before it: what did its second half bring?
        half = float(np.interp(count / 2, curve.n, curve.unbiased))
        gain = _rounded(half - float(curve.unbiased[-1]), last.losses)
        sure = gain > 0
        brought = (
            f"{'All' if last.whole is None else 'A sample of'} {plural(count, 'trial')} of "
            f"{last.name} found {_amount(snapshot, gain)} than "
            "half of them would be expected to"
        )
    return f"{brought}; {_judged(snapshot, gain, sure, _cost(last))}."


def _judged(snapshot: Snapshot, gain: float, sure: bool, cost: str) -> str:
    """What follows from the gain that was brought; the noise of the default is the yardstick."""
    another = f"another stage ({cost})"
    if gain <= 0:
        return f"{another} is hardly worth it"
    if snapshot.verdict is None:
        return f"whether {another} is worth it, the noise will tell, which confirm measures"
    noise = snapshot.verdict.noise
    if not math.isfinite(noise):
        return f"whether {another} is worth it cannot be told, as the noise is not known"
    if gain <= noise:
        return f"{another} is not worth it: that is less than seeds alone make"
    if not sure:
        return f"{another} is not sure to be worth it: luck may have made that"
    return f"{another} may well be worth it"


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
    """By how much the best of `count` trials has fallen, and whether a bootstrap is sure of it.

    Of equally many trials: a stage of 60 finds better than one of 20 by its number alone.
    """
    rng = np.random.default_rng(0)  # written again, the report says the same
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
    # The median: one trial that hung until its timeout is no measure of the next ones.
    seconds = [t.result.seconds for t in stage.trials if t.result and t.result.seconds > 0]
    count = stage.total
    if not seconds:
        return plural(count, "trial")
    return f"{plural(count, 'trial')}, {duration(count * float(np.median(seconds)))} of training"
