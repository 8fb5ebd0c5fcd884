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
    from omegaconf import DictConfig

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
def refine(overrides: Overrides = None, force: Force = False) -> None:
    """Compute the next stage's ranges from all finished trials, and write its sweep file."""
    from caviar.errors import UserError
    from caviar.overrides import joined
    from caviar.search.loop import print_refinement, refuse_when_confirmed
    from caviar.search.stages import inherit_sampling, refined_sweep, shared_overrides
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
    declared = names.get(stage)
    trials = study.settings.num_trials or (declared.num_trials if declared else 10)
    fixed = joined(shared_overrides(study), declared.overrides if declared else ())
    sweep, found = refined_sweep(study, stage, trials, fixed)
    path = study.sweep_path(stage)
    _write(path, sweep.text(), force)
    print_refinement(sweep, found)
    console.print(f"sweep file: {shown_path(path)}")
    console.print(f"next: {stage_command(study.name, path)}")


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


@app.command(epilog="Example: caviar sweep space=tiers_1_2 search.study=mine --output mine.yaml")
def sweep(
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option(help="Default: sweeps/<study>/<first stage>.yaml")
    ] = None,
    force: Force = False,
) -> None:
    """Write the coarse sweep file of a space, for train.py -m and for wandb sweep."""
    from caviar import project
    from caviar.search import checks
    from caviar.search.stages import coarse_sweep
    from caviar.view import console, shown_path, stage_command

    study = _study(overrides, ledger_needed=False)
    settings = study.settings
    config, sources = _composed(overrides)
    checks.no_test(config)
    space = checks.parse_space(config, sources)
    names = settings.stage_names()
    stage = settings.stage or next(iter(names))
    declared = names[stage].num_trials if stage in names else 30
    written = coarse_sweep(study, space, stage, settings.num_trials or declared)
    path = output or project.root() / "sweeps" / study.name / f"{stage}.yaml"
    _write(path, written.text(), force)
    console.print(f"sweep file: {shown_path(path)}")
    console.print(f"here: {stage_command(study.name, path)}")
    console.print(f"W&B:  wandb sweep {shown_path(path)}")


def _train_py(action: str, overrides: list[str] | None) -> None:
    from caviar.app import main as train_py

    train_py(["-m", f"search.action={action}", *(overrides or [])])


def _composed(overrides: list[str] | None) -> tuple[DictConfig, list[tuple[str, DictConfig]]]:
    """The config as train.py would compose it, without running anything, and its sources."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from caviar import project, resolvers
    from caviar.overrides import rewrite_one_minus
    from caviar.search.sources import config_sources

    root = project.root()
    os.environ["CAVIAR_ROOT"] = str(root)
    resolvers.register()
    given = rewrite_one_minus(overrides or [])
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        config = compose("train", given)
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        return config, config_sources(hydra.config_loader, root, given)


def _study(overrides: list[str] | None, ledger_needed: bool = True) -> Study:
    from caviar.search.settings import SearchSettings, storage_of, study_folder
    from caviar.search.stages import search_overrides
    from caviar.search.study import Study

    config, _ = _composed(overrides)
    study = Study(
        settings=SearchSettings.of(config),
        folder=study_folder(config),
        storage=storage_of(config),
        metric=config.metric.name,
        mode=config.metric.mode,
        overrides=search_overrides(overrides or []),
        launch=lambda jobs, first: None,
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
