"""The verbs of W&B: sweep registers a stage, agent runs it, sync uploads what ran offline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from caviar.cli.common import (
    ConfigDir,
    Force,
    Overrides,
    app,
    study_of,
    with_config_dir,
    write_file,
)


@app.command(
    epilog="Example: caviar sweep search.study=mine space=tiers_1_2 --project vision, or "
    "caviar sweep --from theirs.yaml"
)
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
    output: Annotated[Path | None, typer.Option(help="Only write the file there; no W&B.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print it; register nothing.")] = False,
    theirs: Annotated[
        Path | None,
        typer.Option("--from", help="A W&B sweep file of your own: make a space of it; no W&B."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of that space. Default: the file's name.")
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(help="NAME=KEY: which key of the config a parameter of that file is."),
    ] = None,
    force: Force = False,
    config_dir: ConfigDir = None,
) -> None:
    """Register a stage as a W&B sweep: the next one of the study, or search.sweep=FILE. With
    --from: read a W&B sweep file into a space, and say what cannot be right in it."""
    if theirs is not None:
        from caviar.base.errors import UserError

        if output is not None or sweep_id is not None:
            raise UserError("--from makes a space in the config; leave --output and --id out")
        _bring(theirs, name, key or [], dry_run, force, with_config_dir(config_dir, overrides))
        return
    from caviar.config.commands import caviar_command, set_to, stage_command
    from caviar.screen.view import console, shown_path
    from caviar.wandb.register import adopt, asked_sweep, register, waits_for_refine

    study = study_of(with_config_dir(config_dir, overrides), ledger_needed=False)
    if output is None and sweep_id is None and (last := waits_for_refine(study)) is not None:
        console.print(
            f"{last.stage} of study {study.name} is sweep {last.path} already\n"
            f"next: {caviar_command('agent', study.name)}, then "
            f"{caviar_command('refine', study.name)}"
        )
        return
    study, config, asked = asked_sweep(study, overrides or [])
    if output is not None:
        write_file(output, asked.text(), force)
        console.print(f"sweep file: {shown_path(output)}")
        console.print(f"here: {stage_command(study.name, output)}")
        there = caviar_command("sweep", study.name, set_to("search.sweep", output))
        console.print(f"W&B:  {there}")
        return
    if dry_run:
        print(asked.text(), end="")
        return
    if sweep_id is not None:
        registered, new = adopt(study, asked, sweep_id, force), True
    else:
        entity = entity or os.environ.get("WANDB_ENTITY")
        project = project or os.environ.get("WANDB_PROJECT") or str(config.name)
        registered, new = register(study, asked, entity, project, force)
    already = "" if new else " already, with this content"
    console.print(f"{registered.stage} of study {study.name} is sweep {registered.path}{already}")
    console.print(f"sweep file: {shown_path(study.sweep_path(registered.stage))}")
    console.print(f"next: {caviar_command('agent', study.name)}")
    console.print(f"elsewhere: wandb agent {registered.path}")


def _bring(
    file: Path,
    name: str | None,
    keys: list[str],
    dry_run: bool,
    force: bool,
    words: list[str],
) -> None:
    """`caviar sweep --from FILE`."""
    import re

    from caviar.base import project
    from caviar.base.errors import UserError
    from caviar.base.terminal import complain
    from caviar.config.commands import split_sources
    from caviar.screen.view import console, shown_path
    from caviar.wandb.brought import bring
    from caviar.wandb.theirs import Theirs

    name = name or re.sub(r"\W+", "_", file.stem).strip("_") or "theirs"
    if re.fullmatch(r"\w+", name) is None:
        raise UserError(f"--name {name} names a file of the config: letters, digits and _")
    named = dict(pair.partition("=")[::2] for pair in keys)
    if not all(named.values()):
        raise UserError(f"--key {' '.join(keys)} should be NAME=KEY, such as lr=model.optimizer.lr")
    sources, typed = split_sources(words)
    brought = bring(Theirs.read(file), name, named, sources, typed)
    if dry_run:  # the file alone can be piped
        print(brought.text, end="")
        complain("\n".join(brought.shown()))
        return
    place = project.current().config_dir / "space" / f"{name}.yaml"
    write_file(place, brought.text, force)
    console.print(f"space file: {shown_path(place)}")
    console.print("\n".join(brought.shown()))


@app.command(epilog="Example: caviar agent search.study=mine -n 4")
def agent(
    overrides: Overrides = None,
    count: Annotated[
        int | None, typer.Option("-n", min=1, help="Agents. Default: one per GPU, else per core.")
    ] = None,
) -> None:
    """Run trials of a study's W&B sweep on this machine, until it has no more."""
    from caviar.base.errors import Terminated
    from caviar.base.signals import tidy_sigterm
    from caviar.config.commands import caviar_command
    from caviar.config.messages import INTERRUPTED, TERMINATED
    from caviar.ledger import Trial
    from caviar.screen.view import console, print_stage
    from caviar.search.driver import command_of
    from caviar.wandb.agents import run_agents
    from caviar.wandb.register import registered_stage

    study = study_of(overrides, ledger_needed=False)
    registered = registered_stage(study)
    study = study_of(overrides)
    try:
        with tidy_sigterm():
            run_agents(study, registered, count)
    except KeyboardInterrupt as interrupt:
        console.print("interrupted; the same command goes on with the sweep")
        terminated = isinstance(interrupt, Terminated)
        raise typer.Exit(TERMINATED if terminated else INTERRUPTED) from None
    trials, sweep = study.ledger.trials(registered.stage), registered.sweep
    place = registered.stage

    def again(trial: Trial) -> str:
        return command_of(study, trial.planned, sweep.overrides)

    print_stage(trials, sweep.metric, sweep.mode, place, again)
    console.print(f"next: {caviar_command('refine', study.name)}")


@app.command(epilog="Example: caviar sync search.study=mine")
def sync(
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
) -> None:
    """Upload to W&B what was trained offline: of a study, or of everything in runs/."""
    from caviar.base import project
    from caviar.wandb.client import sync as upload

    folder = study_of(overrides, ledger_needed=False).folder if overrides else project.runs()
    upload(folder, dry_run)
