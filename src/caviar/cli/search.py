"""The verbs of a search: search, confirm, worker, refine, retry, status."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from caviar.cli.common import (
    ConfigDir,
    Force,
    Overrides,
    app,
    hand_over,
    study_of,
    with_config_dir,
    write_file,
)


@app.command(
    epilog="Example: caviar search experiment=breast_cancer search.stages.fine.num_trials=20"
)
def search(overrides: Overrides = None, config_dir: ConfigDir = None) -> None:
    """Coarse, fine, finest, confirm: find a good setting and say whether to believe it."""
    _train_py("search", overrides, config_dir)


@app.command(epilog="Example: caviar confirm search.study=mine search.confirm.budget=20")
def confirm(overrides: Overrides = None, config_dir: ConfigDir = None) -> None:
    """Race the best settings against the default with fresh seeds, then open the test set, once."""
    _train_py("confirm", overrides, config_dir)


@app.command(
    epilog="Example: caviar worker search.study=mine search.storage=postgresql://me@host/caviar"
)
def worker(overrides: Overrides = None, config_dir: ConfigDir = None) -> None:
    """Take trials of a study that runs on another machine, until none has been left for a while."""
    _train_py("worker", overrides, config_dir)


@app.command(epilog="Example: caviar refine search.study=mine search.refine=top_k")
def refine(
    overrides: Overrides = None,
    force: Force = False,
    early: Annotated[
        bool, typer.Option("--early", help="Though most of the stage has not finished.")
    ] = False,
) -> None:
    """Compute the next stage's ranges from all finished trials, and write its sweep file."""
    from caviar.base.errors import UserError
    from caviar.config.commands import caviar_command, stage_command
    from caviar.config.overrides import joined
    from caviar.screen.view import console, shown_path
    from caviar.search.loop import print_refinement
    from caviar.search.pooled import refuse_too_early
    from caviar.search.rungs import planned_trials
    from caviar.search.stages import shared_overrides, stage_sweep

    study = study_of(overrides)
    study.refuse_when_confirmed()
    names, begun = study.settings.stage_names(), study.stages()
    stage = study.settings.stage or next((n for n in names if n not in begun), None)
    if stage is None:
        raise UserError(
            f"all stages of study {study.name} have trials: {', '.join(begun)}; next is "
            f"{caviar_command('confirm', study.name)}, or name one more stage with search.stage=…"
        )
    if stage in begun:
        raise UserError(
            f"stage {stage} of study {study.name} has trials already; it stays as it is"
        )
    if not early:
        refuse_too_early(study)
    declared = names.get(stage)
    trials = study.settings.num_trials or planned_trials(study).get(stage, 10)
    fixed = joined(shared_overrides(study), declared.overrides if declared else ())
    sweep, refinement = stage_sweep(study, stage, trials=trials, overrides=fixed, anew=True)
    assert refinement is not None
    path = study.sweep_path(stage)
    write_file(path, sweep.text(), force)
    print_refinement(sweep, refinement)
    console.print(f"sweep file: {shown_path(path)}")
    there = caviar_command("sweep", study.name)
    here = stage_command(study.name, path)
    console.print(f"next: {there if study.ledger.elsewhere else here}")


@app.command(epilog="Example: caviar retry search.study=mine 01_coarse/3 01_coarse/7 --dry-run")
def retry(
    named: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STAGE/NUMBER|OVERRIDES",
            help="Trials, such as 01_coarse/3; without any, all that failed. And Hydra overrides, "
            "such as search.study=mine",
            show_default=False,
        ),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            help="All that failed like this: exception, timeout, killed, 'out of memory'; may be "
            "repeated.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Let those that raised go on from their last checkpoint, as the others do, and "
            "not begin anew.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say which trials these are.")
    ] = False,
) -> None:
    """Put failed trials back among the waiting ones, once their cause is mended."""
    from caviar.screen.view import console, describe
    from caviar.search.retry import failed_trials, goes_on, going_on, later_stages, put_back

    words = named or []
    trials = [word for word in words if re.fullmatch(r"[\w.-]+/\d+", word)]
    study = study_of([word for word in words if word not in trials])
    found = failed_trials(study, trials, status or [])
    if not found:
        console.print(f"no trial of study {study.name} is to be put back")
        return
    back = found if dry_run else put_back(study, found, resume)
    if not back:
        console.print(f"somebody else has just put them back in study {study.name}")
        return
    console.print(f"{'to put back' if dry_run else 'put back'} in study {study.name}:")
    for trial in back:
        kept = resume or goes_on(trial)
        how = "goes on from its last checkpoint, if it has one" if kept else "begins anew"
        console.print(f"  {trial.stage}: {describe(trial, study.metric)}; {how}")
    if later := later_stages(study, back):
        stay = f"{', '.join(later)}: refined without them, and unchanged"
        console.print(f"{stay}; the next refine counts what they give")
    if dry_run:
        return
    console.print("next: the command that ran them, again; or, for these alone:")
    for command in going_on(study, back):
        console.print(f"  {command}")


@app.command(epilog="Example: caviar status search.study=mine --watch")
def status(
    overrides: Overrides = None,
    watch: Annotated[bool, typer.Option("--watch", help="Redraw it until Ctrl-C.")] = False,
) -> None:
    """How far a study is: who trains what, the best so far. Without one named, all studies."""
    from caviar import rooms
    from caviar.search.status import print_all, print_status, watch_status

    if overrides or watch:
        study = study_of(overrides)
        (watch_status if watch else print_status)(study.ledger, study.folder)
    else:
        rooms.attach_ledgers()
        print_all()


def _train_py(action: str, overrides: list[str] | None, config_dir: Path | None) -> None:
    doing, words = ["-m", f"search.action={action}"], with_config_dir(config_dir, overrides)
    hand_over(doing, words)
    from caviar.config.begun import begin

    begin([*doing, *words])  # before Hydra's application is imported
    from caviar.app import main as train_py

    train_py([*doing, *words], begun=True)
