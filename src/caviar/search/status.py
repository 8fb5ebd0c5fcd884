"""How far a study is: `caviar status`. It only reads the ledger, also while the study runs."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Group, RenderableType
from rich.live import Live

from caviar.base import project
from caviar.base.errors import SearchFailed, UserError
from caviar.base.result import test_metric
from caviar.config.commands import caviar_command
from caviar.ledger import Ledger, exists, known_storage
from caviar.screen.live import PERIOD, stage_screen
from caviar.screen.view import (
    console,
    counted,
    describe,
    fault_lines,
    plural,
    shown_path,
)
from caviar.search.more_seeds import how_to_decide
from caviar.search.settings import TEST, VERDICT
from caviar.search.verdict import read_verdict
from caviar.space.sweep_file import SweepFile


def print_status(ledger: Ledger, folder: Path) -> None:
    """A line for each finished stage, the screen of the one that runs, and what is next."""
    console.print(f"{ledger.study} in {shown_path(folder)}", style="bold")
    console.print(study_screen(ledger))
    stages = {stage: ledger.overview(stage) for stage in ledger.stages()}
    unfinished = sum(overview.unfinished for overview in stages.values())
    verdict = read_verdict(folder / VERDICT) if (folder / VERDICT).exists() else None
    # One that was left open is old news once there are more seeds to come.
    if verdict is not None and (verdict.decided or not unfinished):
        console.print(f"  {verdict.sentence()}")
        if not verdict.decided:
            for line in how_to_decide(verdict, ledger.study):
                console.print(f"  {line}")
    elif unfinished:
        alive = sum(
            len(overview.running) - len(ledger.interrupted(stage, overview.running))
            for stage, overview in stages.items()
        )
        going_on = f"{ledger.continued_by} continues it"
        console.print(
            f"  {plural(alive, 'trial')} running now"
            if alive
            else f"  nothing runs now; {going_on}"
        )
    elif TEST not in stages:
        verbs = [caviar_command(verb, ledger.study) for verb in ("refine", "confirm")]
        console.print(f"  next: {', or '.join(verbs)}")
        if any(overview.failed for overview in stages.values()):
            again = caviar_command("retry", ledger.study)
            console.print(f"  or first, once it is mended, what failed: {again}")
    if not unfinished and TEST in stages and stages[TEST].failed:
        console.print("  the command that began the study tests again what failed")


def print_all() -> None:
    """The same of every study in `runs/`."""
    runs = project.runs()
    folders = sorted(runs.iterdir()) if runs.is_dir() else []
    storages = {folder: storage for folder in folders if (storage := known_storage(folder))}
    if not storages:
        console.print(f"no study in {shown_path(runs)}; begin one: {caviar_command('search')}")
    for folder, storage in storages.items():
        if not exists(storage):
            console.print(f"{folder.name}: its ledger {storage} is gone")
            continue
        try:
            print_status(Ledger.open(storage, folder.name), folder)
        except (SearchFailed, UserError) as error:  # of one that is out of reach; see the others
            console.print(f"  {error}")


def watch_status(ledger: Ledger, folder: Path) -> None:
    """The same, redrawn until the study is complete, or for as long as somebody looks."""
    with Live(console=console, auto_refresh=False) as live:
        while not (folder / VERDICT).exists():
            live.update(study_screen(ledger), refresh=True)
            time.sleep(PERIOD)
        live.update(study_screen(ledger), refresh=True)
    print_status(ledger, folder)


def study_screen(ledger: Ledger) -> RenderableType:
    """All stages: finished ones in a line or two, the others with their workers."""
    shown: list[RenderableType] = []
    metric = ""
    for stage in ledger.stages():
        overview = ledger.overview(stage)
        spec = ledger.spec(stage)
        if "sweep" in spec:
            sweep = SweepFile.parse(spec["sweep"], Path(stage))
            metric = sweep.metric
        if overview.unfinished:
            name = test_metric(metric) if stage == TEST else metric
            shown.append(stage_screen(ledger, stage, name))
            shown += map(console.fitted, _elsewhere(ledger, stage))
            continue
        lines = [f"  {stage}: {plural(overview.total, 'trial')}: {counted(overview.counts)}"]
        best = overview.best() if "sweep" in spec else []  # of a stage of search
        lines += [f"    best {describe(trial, metric)}" for trial in ledger.some(stage, best)]
        lines += _elsewhere(ledger, stage)
        failed = ledger.some(stage, overview.failed)
        lines += [f"    {line}" for line in fault_lines(failed)]
        shown += [console.fitted(line) for line in lines]
    return Group(*shown)


def _elsewhere(ledger: Ledger, stage: str) -> list[str]:
    note = ledger.note(stage)
    return [f"    {note}"] if note else []
