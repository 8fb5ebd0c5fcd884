"""The search loop: coarse → fine → finest → confirm, and what is printed on the way.

Each function may be called again after a kill, and goes on where the ledger says: a stage that is
finished is shown and not run, and what is asked is compared with what was begun before anything is
trained. `verdict.json` is written last but for the report: its presence closes the study.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.table import Table

from caviar.base.errors import SearchFailed, UserError
from caviar.config.commands import caviar_command, stage_command
from caviar.config.keys import LIGHTNING
from caviar.config.overrides import joined
from caviar.ledger import Trial
from caviar.refine import Outlook, Refinement
from caviar.refine.ranges import SHARES
from caviar.screen.view import (
    console,
    plain_table,
    plural,
    print_stage,
    setting_columns,
    shown_path,
)
from caviar.search.confirm import confirm, confirm_spec, print_plan
from caviar.search.driver import command_of, how_to_mend
from caviar.search.more_seeds import how_to_decide
from caviar.search.rungs import planned_trials
from caviar.search.settings import CONFIRM, TEST, VERDICT, StageSettings
from caviar.search.stages import run_stage, shared_overrides, stage_spec, stage_sweep
from caviar.search.study import Study
from caviar.search.verdict import (
    Verdict,
    mean_text,
    read_verdict,
    write_verdict,
)
from caviar.search.winner import Confirmed, winner_command, write_winner
from caviar.space.sweep_file import SweepFile


def stage(study: Study, sweep: SweepFile) -> None:
    """One stage, and the commands that continue."""
    with _saying_how_to_continue(study):
        study.refuse_when_confirmed()
        _run_and_print(study, sweep)
    # What this command added to the stage's own overrides, such as what conf/ said when it began.
    begun = study.ledger.spec(sweep.stage)["overrides"]
    added = [override for override in sweep.overrides if override not in begun]
    confirm_next = caviar_command("confirm", study.name, *added)
    stages = list(study.settings.stage_names())
    later = stages[stages.index(sweep.stage) + 1 :] if sweep.stage in stages else []
    console.print(f"sweep file: {shown_path(study.sweep_path(sweep.stage))}")
    if later:
        console.print(f"next: {caviar_command('refine', study.name, *added)}")
        console.print(f"then: {stage_command(study.name, study.sweep_path(later[0]))}")
        console.print(f"or stop here: {confirm_next}")
    else:
        console.print(f"next: {confirm_next}")


def search(study: Study, coarse: SweepFile, confirmed: Confirmed | None = None) -> None:
    """All stages, then confirm; continues where it was, and says so when it is complete."""
    # Where no stage will be compared on its way: a study must not answer another question than the
    # one it was begun with.
    if study.complete or CONFIRM in study.stages():
        study.compare(coarse.stage, stage_spec(study, coarse))
    if study.complete:
        print_verdict(read_verdict(study.folder / VERDICT), study)
        console.print(
            f"study {study.name} is complete; search on under another name: "
            "search.study=ANOTHER_NAME"
        )
        return
    with _saying_how_to_continue(study):
        sweep = coarse
        for name, declared in study.settings.stage_names().items():
            if CONFIRM in study.stages():
                break
            if name != coarse.stage:
                sweep, outlook = _next_sweep(study, name, declared)
                if study.settings.stop and outlook is not None and not outlook.worth:
                    console.print(f"{name} is left out (search.stop): on to confirm")
                    break
            _run_and_print(study, sweep)
            console.print()
        else:
            _say_what_one_more_would_gain(study, sweep)
        _finish(study, confirmed)


def confirm_only(study: Study, confirmed: Confirmed | None = None) -> None:
    """Confirm what was searched so far."""
    if study.complete or study.settings.dry_run:  # nothing will be begun, which compares
        study.compare(CONFIRM, confirm_spec(study))
    if study.complete:
        print_verdict(read_verdict(study.folder / VERDICT), study)
        console.print(f"study {study.name} was confirmed before, and its test set opened; once")
        return
    if study.settings.dry_run:
        print_plan(study)
        return
    with _saying_how_to_continue(study):
        _finish(study, confirmed)


def _run_and_print(study: Study, sweep: SweepFile) -> None:
    trials = run_stage(study, sweep)

    def again(trial: Trial) -> str:
        return command_of(study, trial.planned, sweep.overrides)

    print_stage(trials, study.metric, study.mode, sweep.stage, again)
    if any(t.failed for t in trials):
        console.print(f"once that is mended: {caviar_command('retry', study.name)}")


def _say_what_one_more_would_gain(study: Study, last: SweepFile) -> None:
    """Of a round as long as the last one, which is not run."""
    try:
        _, refinement = stage_sweep(study, "one_more", trials=last.num_trials, anew=True)
    except UserError:  # too few trials to tell
        return
    if refinement is not None and refinement.outlook is not None:
        console.print(f"{refinement.outlook.sentence(study.metric)} (not run)")


def _next_sweep(
    study: Study, name: str, declared: StageSettings
) -> tuple[SweepFile, Outlook | None]:
    """The next stage of a search, and what it promises; prints where its ranges come from."""
    # What the first stage fixed for all of the study, which may stand in its file alone.
    overrides = joined(shared_overrides(study), declared.overrides)
    trials = planned_trials(study)[name]
    sweep, refinement = stage_sweep(study, name, trials=trials, overrides=overrides)
    if refinement is not None:
        print_refinement(sweep, refinement)
    elif name not in study.stages():  # by caviar refine, and perhaps edited
        console.print(f"{name}: its ranges are those of {shown_path(study.sweep_path(name))}")
    return sweep, refinement.outlook if refinement is not None else None


def print_refinement(sweep: SweepFile, refinement: Refinement) -> None:
    """The next stage's ranges and why."""
    table = Table(title=f"{sweep.stage}: ranges", title_justify="left", box=None, pad_edge=False)
    for column in ("axis", "range", "why"):
        table.add_column(column, overflow="fold")
    for axis in sweep.space:
        table.add_row(axis.key, str(axis.scale), "; ".join(refinement.reasons.get(axis.name, ())))
    console.print(table)
    console.print(SHARES)
    if refinement.outlook is not None:
        console.print(refinement.outlook.sentence(sweep.metric))
    console.print()


def print_verdict(verdict: Verdict, study: Study) -> None:
    """Default against candidates, and in plain words whether to believe it."""
    metric = verdict.metric
    rows, names = verdict.rows(), verdict.test_metrics
    head, settings = setting_columns([s.point or verdict.defaults for _, s in rows])
    against = "winner" if verdict.clear else "candidates"
    table = plain_table(f"{study.name}: default against {against}", "", metric, "seeds", *names)
    points = plain_table("settings, by the trial that found them", "", *head)
    for (label, setting), row in zip(rows, settings, strict=True):
        tests = [mean_text(setting.test[name]) if name in setting.test else "" for name in names]
        table.add_row(label, mean_text(setting.values), str(len(setting.values)), *tests)
        points.add_row(label, *row)
    console.print(table)
    console.print(points)
    stopped = f", {verdict.stopped} of them stopped early" if verdict.stopped else ""
    console.print(
        f"mean ± s.e. over fresh seeds; {verdict.noise_text}; {verdict.trials} trainings in all"
        f"{stopped}"
    )
    if not names and verdict.decided:
        why = "no confirmed run has kept a checkpoint"
        if study.keys.kind != LIGHTNING:
            why = "no key of the config opens one (caviar.keys.test)"
        console.print(f"confirmed on validation alone, the test set was not opened: {why}")
    if caveat := verdict.caveat():
        console.print(caveat)
    console.print(verdict.sentence(), style="bold")
    if not verdict.decided:
        for line in how_to_decide(verdict, study.name):
            console.print(line)


def _finish(study: Study, confirmed: Confirmed | None) -> None:
    """Confirm, close the study, and say what it has left behind."""
    verdict = confirm(study)
    console.print()
    left = write_winner(study, verdict)
    write_verdict(verdict, study.folder / VERDICT)  # decided, it says that the study is complete
    print_verdict(verdict, study)
    # Behind the verdict: a report that cannot be written must not make a study look unfinished.
    try:
        left += confirmed(study) if confirmed is not None else []
    except Exception as error:  # whatever it is, the search has its result
        again = caviar_command("report", study.name)
        console.print(f"the report could not be written: {error}; again: {again}")
    console.print(f"in {shown_path(study.folder)}:")
    for path, what in left:
        below = path.relative_to(study.folder) if path.is_relative_to(study.folder) else path
        console.print(f"  {below}: {what}")
    what = f"train {'the winner' if verdict.clear else verdict.kept.name}"
    if verdict.kept is verdict.default:
        what = "keep the default"
    console.print(f"{what}: {winner_command(study)}")
    tests = study.ledger.trials(TEST)
    if failed := [t.result.error for t in tests if t.result and t.result.failed]:
        raise SearchFailed(
            f"{len(failed)} of {len(tests)} tests failed, and the verdict lacks them; the first "
            f"with\n  {failed[0]}\n{how_to_mend(study, TEST)}"
        )


@contextmanager
def _saying_how_to_continue(study: Study) -> Iterator[None]:
    """On Ctrl-C or a signal, say what is kept."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        done = sum(study.ledger.overview(stage).done for stage in study.ledger.stages())
        raise type(interrupt)(
            f"{plural(done, 'finished trial')} {'is' if done == 1 else 'are'} kept in "
            f"{shown_path(study.folder)}; the same command continues"
        ) from None
