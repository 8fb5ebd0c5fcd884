"""What must hold for every stage that was disturbed and then brought to its end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caviar.ledger import Trial
from fault_stage import NAME, Broken, Stage


@dataclass
class Judgement:
    """What was found wrong; nothing in a stage that survived."""

    complaints: list[str] = field(default_factory=list)
    lost: int = 0
    """Results that were finished before the fault, and are gone or other than they were."""
    twice: int = 0
    """Trials that were given a result more than once."""


def judge(stage: Stage, reference: Stage) -> Judgement:
    """Compare a stage with what it was, and with one that nobody disturbed.

    Every trial has exactly one result; those from before the fault are unchanged; each but those
    whose fault is their result has the reference's status and, if it is complete, the reference's
    numbers, to the last bit; and no process is left.
    """
    found = Judgement()
    wrong = found.complaints
    trials = {t.number: t for t in stage.trials()}
    if sorted(trials) != list(range(stage.size.trials)):
        wrong.append(f"trials {sorted(trials)}")
    results = {n: t.result.to_dict() for n, t in trials.items() if t.result}
    lost = [n for n, result in stage.before.items() if results.get(n) != result]
    records = stage.records()
    twice = [n for n, count in records.items() if count > 1]
    found.lost, found.twice = len(lost), len(twice)
    if lost:
        wrong.append(f"trials {lost} had other results before")
    if twice:
        wrong.append(f"trials {twice} were recorded twice")
    if missing := sorted({*trials} - {*records}):
        wrong.append(f"trials {missing} have no result")
    expected = {t.number: t for t in reference.trials()}
    for number, trial in trials.items():
        status = stage.expected.get(number, expected[number].status)
        if trial.status != status:
            said = trial.result.error if trial.result else None
            wrong.append(f"trial {number} is {trial.status}, not {status} ({said})")
        elif status == "complete":
            wrong += _differences(stage, trial, reference, expected[number])
    try:
        stage.until(lambda: not stage.processes(), "the end of all processes", 15)
    except Broken:
        wrong.append(f"{len(stage.processes())} processes are left")
    return found


def _differences(stage: Stage, trial: Trial, reference: Stage, expected: Trial) -> list[str]:
    """Where a complete trial is not what it should be."""
    assert trial.result is not None
    assert expected.result is not None
    wrong = []
    now, then = trial.result.to_dict(), expected.result.to_dict()
    checkpoint = Path(now["checkpoint"])
    for own in ("seconds", "checkpoint"):  # these may differ
        del now[own], then[own]
    wrong += [f"its {k} is {now[k]}, not {then[k]}" for k in now if now[k] != then[k]]
    if trial.point != expected.point or trial.seed != expected.seed:
        wrong.append("it has another point or seed")
    if trial.curve != expected.curve:
        wrong.append(f"its curve is {_short(trial.curve)}, not {_short(expected.curve)}")
    if stage.learnt(trial.number) != reference.learnt(trial.number):
        wrong.append("its metrics.csv differs")
    if not checkpoint.exists():
        wrong.append("its checkpoint is gone")
    written = stage.study / NAME / str(trial.number) / "result.json"
    if json.loads(written.read_text(encoding="utf-8")) != trial.result.to_dict():
        wrong.append("its result.json says other than the ledger")
    return [f"trial {trial.number}: {what}" for what in wrong]


def _short(curve: dict[int, Any]) -> str:
    return " ".join(f"{epoch}:{value:.4g}" for epoch, value in curve.items())
