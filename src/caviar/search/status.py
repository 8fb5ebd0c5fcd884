"""How far a study is: `caviar status`. It only reads the ledger, also while the study runs."""

from __future__ import annotations

from pathlib import Path

from caviar.ledger import Ledger
from caviar.search.settings import TEST, VERDICT
from caviar.search.verdict import read_verdict
from caviar.space.sweep_file import SweepFile
from caviar.view import best_trials, console, counts, describe, plural, shown_path


def print_status(ledger: Ledger, folder: Path) -> None:
    """A line for each stage: how many trials of which status, and the best; then what is next."""
    console.print(f"[bold]{ledger.study}[/bold] in {shown_path(folder)}")
    unfinished = False
    for stage in ledger.stages():
        trials = ledger.trials(stage)
        unfinished |= not all(t.finished for t in trials)
        console.print(f"  {stage}: {plural(len(trials), 'trial')}: {counts(trials)}")
        facts = ledger.facts(stage)
        if "sweep" in facts:
            sweep = SweepFile.parse(facts["sweep"], Path(stage))
            for best in best_trials(trials, sweep.mode, 1):
                console.print(f"    best {describe(best, sweep.metric)}")
    if (folder / VERDICT).exists():
        console.print(f"  {read_verdict(folder / VERDICT).sentence()}")
    elif unfinished:
        console.print("  not all trials are finished; the command that began them continues")
    elif TEST not in ledger.stages():
        named = f"search.study={ledger.study}"
        console.print(f"  next: caviar refine {named}, or caviar confirm {named}")
