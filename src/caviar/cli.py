"""The `caviar` command. Every verb takes Hydra overrides, as `python train.py` does.

    caviar search search.study=mine search.seed=1
    caviar refine search.study=mine

`search` and `confirm` are `python train.py -m search.action=…`; the others need no training code
and answer at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caviar.messages import clear_errors

if TYPE_CHECKING:
    from caviar.search.study import Study

app = typer.Typer(
    help="Hyperparameter tuning done right: random, on the right scale, coarse to fine, confirmed.",
    epilog="Example: caviar search experiment=digits search.study=mine",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Hydra overrides, such as search.study=mine", show_default=False),
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that differs.")]


def main() -> None:
    """Entry point of the `caviar` command."""
    with clear_errors():
        app(standalone_mode=True)


@app.command(
    epilog="Example: caviar search experiment=breast_cancer search.stages.fine.num_trials=20"
)
def search(overrides: Overrides = None) -> None:
    """Coarse, fine, finest, confirm: find a good setting and say whether to believe it."""
    _train_py("search", overrides)


@app.command(epilog="Example: caviar confirm search.study=mine search.confirm.seeds=4")
def confirm(overrides: Overrides = None) -> None:
    """Train the best settings again with fresh seeds, then open the test set, once."""
    _train_py("confirm", overrides)


@app.command(
    epilog="Example: caviar worker search.study=mine search.storage=postgresql://me@host/caviar"
)
def worker(overrides: Overrides = None) -> None:
    """Take trials of a study that runs on another machine, until none has been left for a while."""
    _train_py("worker", overrides)


@app.command(epilog="Example: caviar refine search.study=mine search.refine=top_k")
def refine(
    overrides: Overrides = None,
    force: Force = False,
    early: Annotated[
        bool, typer.Option("--early", help="Though most of the stage has not finished.")
    ] = False,
) -> None:
    """Compute the next stage's ranges from all finished trials, and write its sweep file."""
    from caviar.errors import UserError
    from caviar.ledger.registered import read_registered
    from caviar.overrides import joined
    from caviar.search.loop import print_refinement, refuse_when_confirmed
    from caviar.search.stages import (
        inherit_sampling,
        refined_sweep,
        refuse_too_early,
        shared_overrides,
    )
    from caviar.view import console, shown_path, stage_command

    study = _study(overrides)
    inherit_sampling(study, overrides or [])
    refuse_when_confirmed(study)
    names = study.settings.stage_names()
    begun = study.stages()
    stage = study.settings.stage or next((n for n in names if n not in begun), None)
    if stage is None:
        raise UserError(
            f"all stages of study {study.name} have trials: {', '.join(begun)}; next is caviar "
            f"confirm search.study={study.name}, or name one more stage with search.stage=…"
        )
    if stage in begun:
        raise UserError(
            f"stage {stage} of study {study.name} has trials already; it stays as it is"
        )
    if not early:
        refuse_too_early(study)
    declared = names.get(stage)
    trials = study.settings.num_trials or (declared.num_trials if declared else 10)
    fixed = joined(shared_overrides(study), declared.overrides if declared else ())
    sweep, found = refined_sweep(study, stage, trials, fixed)
    path = study.sweep_path(stage)
    _write(path, sweep.text(), force)
    print_refinement(sweep, found)
    console.print(f"sweep file: {shown_path(path)}")
    there = f"caviar sweep search.study={study.name}"
    here = stage_command(study.name, path)
    console.print(f"next: {there if read_registered(study.folder) else here}")


@app.command(epilog="Example: caviar status search.study=mine --watch")
def status(
    overrides: Overrides = None,
    watch: Annotated[bool, typer.Option("--watch", help="Redraw it until Ctrl-C.")] = False,
) -> None:
    """How far a study is: who trains what, the best so far. Without one named, all studies."""
    from caviar import project
    from caviar.ledger import Ledger, exists
    from caviar.search.settings import known_storage
    from caviar.search.status import print_status, watch_status
    from caviar.view import console, shown_path

    if overrides or watch:
        study = _study(overrides)
        (watch_status if watch else print_status)(study.ledger, study.folder)
        return
    runs = project.runs()
    folders = sorted(runs.iterdir()) if runs.is_dir() else []
    kept = {folder: storage for folder in folders if (storage := known_storage(folder))}
    if not kept:
        console.print(f"no study in {shown_path(runs)}; begin one: caviar search")
    for folder, storage in kept.items():
        if exists(storage):
            print_status(Ledger.open(storage, folder.name), folder)
        else:
            console.print(f"{folder.name}: its ledger {storage} is gone")


@app.command(epilog="Example: caviar sweep search.study=mine space=tiers_1_2 --project vision")
def sweep(
    overrides: Overrides = None,
    project: Annotated[
        str | None, typer.Option(help="Of W&B. Default: WANDB_PROJECT, or the config's name.")
    ] = None,
    entity: Annotated[
        str | None, typer.Option(help="Of W&B. Default: WANDB_ENTITY, or the account's own.")
    ] = None,
    sweep_id: Annotated[
        str | None,
        typer.Option("--id", help="Record this sweep, ENTITY/PROJECT/ID, instead of making one."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Only write the sweep file there; no W&B.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print it; register nothing.")] = False,
    force: Force = False,
) -> None:
    """Register a stage as a W&B sweep: the next one of the study, or search.sweep=FILE."""
    from caviar.sweeps.register import adopt, register
    from caviar.sweeps.stage import asked_sweep
    from caviar.view import console, shown_path, stage_command

    study = _study(overrides, ledger_needed=False)
    config, asked = asked_sweep(study, overrides or [])
    if output is not None:
        _write(output, asked.text(), force)
        console.print(f"sweep file: {shown_path(output)}")
        console.print(f"here: {stage_command(study.name, output)}")
        console.print(f"W&B:  caviar sweep search.study={study.name} search.sweep={output}")
        return
    if dry_run:
        print(asked.text(), end="")
        return
    if sweep_id is not None:
        registered, new = adopt(study, asked, sweep_id), True
    else:
        entity = entity or os.environ.get("WANDB_ENTITY")
        project = project or os.environ.get("WANDB_PROJECT") or str(config.name)
        registered, new = register(study, asked, entity, project, force)
    known = "" if new else " already, with this content"
    console.print(f"{registered.stage} of study {study.name} is sweep {registered.path}{known}")
    console.print(f"sweep file: {shown_path(study.sweep_path(registered.stage))}")
    console.print(f"next: caviar agent search.study={study.name}")
    console.print(f"elsewhere: wandb agent {registered.path}")


@app.command(epilog="Example: caviar agent search.study=mine -n 4")
def agent(
    overrides: Overrides = None,
    count: Annotated[
        int | None, typer.Option("-n", min=1, help="Agents. Default: one per GPU, else per core.")
    ] = None,
) -> None:
    """Run trials of a study's W&B sweep on this machine, until it has no more."""
    from caviar.signals import tidy_sigterm
    from caviar.sweeps.agents import run_agents
    from caviar.sweeps.register import registered_stage
    from caviar.view import console, print_stage

    study = _study(overrides, ledger_needed=False)
    registered = registered_stage(study)
    study.require()
    with tidy_sigterm():
        run_agents(study, registered, count)
    trials, sweep = study.ledger.trials(registered.stage), registered.sweep
    print_stage(trials, sweep.metric, sweep.mode, registered.stage, sweep.overrides)
    console.print(f"next: caviar refine search.study={study.name}")


@app.command(epilog="Example: caviar sync search.study=mine")
def sync(
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
) -> None:
    """Upload to W&B what was trained offline: of a study, or of everything in runs/."""
    from caviar import project
    from caviar.sweeps.sync import sync as upload

    folder = _study(overrides, ledger_needed=False).folder if overrides else project.runs()
    upload(folder, dry_run)


def _train_py(action: str, overrides: list[str] | None) -> None:
    from caviar.app import main as train_py

    train_py(["-m", f"search.action={action}", *(overrides or [])])


def _study(overrides: list[str] | None, ledger_needed: bool = True) -> Study:
    from caviar.compose import composed
    from caviar.search import name_study
    from caviar.search.settings import SearchSettings, storage_of, study_folder
    from caviar.search.stages import search_overrides, space_overrides
    from caviar.search.study import Study

    config, _ = composed(overrides or [])
    name_study(config, overrides or [])
    study = Study(
        settings=SearchSettings.of(config),
        folder=study_folder(config),
        storage=storage_of(config),
        metric=config.metric.name,
        mode=config.metric.mode,
        overrides=search_overrides(overrides or []),
        launch=lambda jobs, first: None,
        declares=space_overrides(overrides or []),
    )
    if ledger_needed:
        study.require()
    return study


def _write(path: Path, text: str, force: bool) -> None:
    from caviar.errors import UserError
    from caviar.view import shown_path

    if path.exists() and path.read_text(encoding="utf-8") != text and not force:
        raise UserError(f"{shown_path(path)} exists and differs; write --force to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
