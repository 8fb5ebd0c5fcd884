"""What a section hands over, and how a verdict comes from numbers.

    above(Estimate(0.61, 0.55, 0.66), 0.5)   # Verdict.HOLDS: the whole interval lies above

No section states a result in words of its own: what the page says of a claim is built here from
verdicts and estimates.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

from caviar.pages.marks import Chart
from lecture.stats import Estimate


class Verdict(enum.Enum):
    """What the numbers say of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    OPEN = "cannot be told"


def above(estimate: Estimate, wall: float) -> Verdict:
    """Of the claim that a number exceeds `wall`: the interval decides. 0 does not exceed 0."""
    if estimate.low > wall:
        return Verdict.HOLDS
    return Verdict.FAILS if estimate.high < wall else Verdict.OPEN


def below(estimate: Estimate, wall: float) -> Verdict:
    """Of the claim that a number is less than `wall`: the interval decides."""
    if estimate.high < wall:
        return Verdict.HOLDS
    return Verdict.FAILS if estimate.low > wall else Verdict.OPEN


def near(estimate: Estimate, value: float, within: float) -> Verdict:
    """Of the claim that a number is `value`, give or take `within`."""
    if value - within <= estimate.low and estimate.high <= value + within:
        return Verdict.HOLDS
    outside = estimate.high < value - within or estimate.low > value + within
    return Verdict.FAILS if outside else Verdict.OPEN


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """Of a claim with several parts: all must hold, and one that fails is enough."""
    if Verdict.FAILS in verdicts:
        return Verdict.FAILS
    return Verdict.OPEN if Verdict.OPEN in verdicts else Verdict.HOLDS


@dataclass(frozen=True)
class Finding:
    """A claim on one task."""

    where: str
    """`digits`; empty where there is but one."""
    verdict: Verdict
    numbers: str
    """What decided, with its interval: `probability 0.61 [0.55, 0.66]`."""


@dataclass(frozen=True)
class Claim:
    """One sentence of the lecture, and what came out."""

    says: str
    """In a few words, for the table at the top."""
    rule: str
    """When it holds: `the probability is at least 1/2`."""
    findings: Sequence[Finding]

    def verdict(self) -> str:
        """`**holds** on digits and wine; **cannot be told** on text`."""
        if not self.findings:
            return "not tested in this run"
        if not any(f.where for f in self.findings):
            return f"**{together([f.verdict for f in self.findings]).value}**"
        if len(self.findings) > 2 and len({f.verdict for f in self.findings}) == 1:
            one = self.findings[0].verdict
            every = "all" if one is Verdict.HOLDS else "any of"
            return f"**{one.value}** on {every} {len(self.findings)}"
        parts = []
        for verdict in Verdict:
            places = [f.where for f in self.findings if f.verdict is verdict]
            if places:
                parts.append(f"**{verdict.value}** on {listed(places)}")
        return "; ".join(parts)


@dataclass(frozen=True)
class Table:
    """Columns of text; the first is set left, the others right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """One part of the page."""

    title: str
    lecture: str
    """What the lecture says."""
    done: str
    """What was done here."""
    claims: Sequence[Claim]
    figures: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = field(default=())
    """Sentences built from numbers."""


def listed(words: Sequence[str]) -> str:
    """`digits, wine and text`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
