"""The verdict in three sentences."""

from __future__ import annotations

from caviar.report.facts import Facts
from caviar.report.section import Section
from caviar.report.worth import worth_sentence
from caviar.search.verdict import DEFAULT, Verdict
from caviar.view import counts, plural, setting_text


def verdict_section(facts: Facts) -> Section:
    """The winning setting, the gain in units of the noise, and whether to search on."""
    words = [_winner(facts), _gain(facts), worth_sentence(facts)]
    if facts.unfinished:
        words.append(
            f"The study is not finished: {counts(facts.everything)}. Write the report again for "
            "what has come since."
        )
    return Section("verdict", "Verdict", words)


def _winner(facts: Facts) -> str:
    verdict = facts.verdict
    if verdict is None:
        best = facts.best
        if best is None or best.result is None:
            return f"No trial has come to a value of {facts.metric} yet."
        return (
            f"Best so far is {best.stage}/{best.number}: {setting_text(best.point)}, with "
            f"{facts.metric} {best.result.best:.4g}; as the best of "
            f"{plural(sum(t.finished for t in facts.trials), 'trial')} it flatters itself."
        )
    winner = verdict.winner
    setting = setting_text(winner.point or _as_point(verdict))
    found = f", found as {winner.origin}" if winner.origin else ""
    return (
        f"The winning setting is {setting}{found}: {facts.metric} {winner.mean:.4g} ± "
        f"{winner.standard_error:.2g} over {plural(len(winner.values), 'fresh seed')}."
    )


def _as_point(verdict: Verdict) -> dict[str, object]:
    return verdict.defaults if verdict.winner.note == DEFAULT else {}


def _gain(facts: Facts) -> str:
    if facts.verdict is not None:
        return f"{facts.verdict.sentence().rstrip('.')} ({facts.verdict.noise_text})."
    return (
        "Whether it beats the default is not known yet: caviar confirm "
        f"search.study={facts.study.name} trains both again with fresh seeds, and measures the "
        "noise."
    )
