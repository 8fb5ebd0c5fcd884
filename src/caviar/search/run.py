"""What `python train.py -m` does, by `search.action`: a stage, a whole search, confirm, worker.

The sweeper calls `run`; nothing here knows how trials are launched.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from caviar.base.environment import one_command
from caviar.base.errors import UserError
from caviar.config.commands import caviar_command, set_to
from caviar.config.compose import Composer
from caviar.config.keys import Keys
from caviar.config.overrides import joined
from caviar.config.slips import refuse_added
from caviar.search import checks, loop
from caviar.search.beginning import begin_well
from caviar.search.driver import print_commands, work
from caviar.search.planned import plan
from caviar.search.provenance import warn_of_other_code
from caviar.search.rungs import planned_trials
from caviar.search.settings import CONFIRM, DEFAULT_TRIALS
from caviar.search.stages import shared_overrides, stage_sweep
from caviar.search.study import Launch, Study, keeping_sampling, open_study, reaching
from caviar.search.swept import no_grid
from caviar.search.winner import Confirmed
from caviar.space.sweep_file import SweepFile


@one_command()
def run(
    config: DictConfig,
    arguments: Sequence[str],
    launch: Launch,
    loader: Any,
    confirmed: Confirmed | None = None,
) -> None:
    """Entry of the sweeper.

    Arguments:
        config: composed, with every override. `search.study` is set to the sweep file's study
            where only the file names one.
        arguments: the command line's overrides, `hydra.` ones left out.
        launch: hands jobs, lists of overrides, to Hydra's launcher.
        loader: Hydra's config loader.
        confirmed: called when a study has been confirmed; what it has left behind.

    Raises:
        UserError: before anything ran.
    """
    compose, action = Composer(loader, config.hydra.job.config_name), config.search.action
    # The command line first: these slips would end in a worse message further on.
    no_grid(config, arguments, compose)
    checks.nothing_lost(config, compose.sources(arguments))
    checks.no_seed(arguments, Keys.of(config).seed)
    refuse_added(config, arguments)
    begun = action in ("worker", "confirm")
    study = reaching(open_study(config, arguments, compose, launch, begun=begun), compose)
    config.hydra.job.config_name = compose.name  # the launcher's jobs are composed with it
    if not (study.settings.dry_run or study.complete):
        warn_of_other_code(study)
    if action == "worker":
        if study.settings.dry_run:
            raise UserError("search.dry_run=true: a worker draws nothing to print; leave it out")
        checks.trainable(compose(shared_overrides(study)), keeps_checkpoint=False)
        work(study)
    elif action == "confirm":
        trained = compose(shared_overrides(study))
        checks.trainable(trained, keeps_checkpoint=True)
        if not (study.settings.dry_run or CONFIRM in study.stages()):
            begin_well(study, shared_overrides(study), trained)
        loop.confirm_only(study, confirmed)
    else:
        study, sweep, trained = asked_stage(study, config, arguments, compose)
        if study.settings.dry_run:
            print_commands(study, plan(sweep, study.settings), sweep.overrides)
        elif action == "search":
            if not study.complete and not study.stages():
                begin_well(study, sweep.overrides, trained, [axis.key for axis in sweep.space])
            loop.search(study, sweep, confirmed)
        else:
            loop.stage(study, sweep)


def asked_stage(
    study: Study, config: DictConfig, arguments: Sequence[str], compose: Composer
) -> tuple[Study, SweepFile, DictConfig]:
    """The stage that a command asks for, checked: `search.sweep=FILE`, else `search.stage`, else
    the study's first, drawn from the space.

    Returns:
        The study with that stage's metric, the stage, and the config that its trials train.

    Raises:
        UserError: before anything ran; it names the file, the key and what to write instead.
    """
    settings = study.settings
    names, begun = settings.stage_names(), study.stages()
    searching = settings.action == "search"
    stage, first = settings.stage or next(iter(names)), (begun or list(names))[0]
    declared = names.get(stage)
    drawn = settings.sweep is None and (stage == first or not (begun or declared))
    # A slip in the overrides of a search's last stage is better found now than then.
    shared = _fixed_by_first(study) if searching else study.overrides
    for (name, one), full in zip(settings.stages.items(), names, strict=True):
        if one.overrides and (searching or (drawn and full == stage)):
            with checks.named(f"search.stages.{name}.overrides"):
                trained = compose(joined(shared, one.overrides))
                checks.trainable(trained, keeps_checkpoint=False)
    if drawn:
        checks.trainable(config, keeps_checkpoint=searching)
        sweep, _ = stage_sweep(
            study,
            stage,
            trials=settings.num_trials or planned_trials(study).get(stage, DEFAULT_TRIALS),
            overrides=joined(study.overrides, declared.overrides if declared else ()),
            space=checks.parse_space(config, compose.sources(arguments)),
        )
        trained = config
    else:
        if begun and not searching:
            study = keeping_sampling(study, arguments)
        file, overrides = _file_of(study, stage, first), tuple(study.overrides)
        removed = settings.sweep is None and not file.exists()  # the ledger has what it said
        if removed:
            overrides = joined(study.begun_sweep(stage).overrides, overrides)
        elif settings.stage is None and not searching:
            stage = SweepFile.read(file).stage
        sweep, _ = stage_sweep(
            study,
            stage,
            trials=settings.num_trials,
            overrides=overrides,
            file=None if removed else file,
        )
        # The file's own overrides decide what is trained, such as another model.
        trained = compose(sweep.overrides)
        checks.trainable(trained, keeps_checkpoint=searching)
        checks.same_metric(sweep, trained, file)
        checks.check_space(sweep.space, trained, [], str(file))
    checks.no_fixed_axis(sweep)
    if searching and CONFIRM not in begun:
        checks.enough_to_refine(study, sweep, shared)
    return study.changed(metric=sweep.metric, mode=sweep.mode), sweep, trained


def _fixed_by_first(study: Study) -> tuple[str, ...]:
    """The overrides of all of a study's stages: its first one's file may have some of its own."""
    if study.settings.sweep is not None:
        return joined(SweepFile.read(Path(study.settings.sweep)).overrides, study.overrides)
    return shared_overrides(study) if study.search_stages() else tuple(study.overrides)


def _file_of(study: Study, stage: str, first: str) -> Path:
    """The sweep file that a command names, or that of a later stage."""
    if study.settings.sweep is not None:
        return Path(study.settings.sweep)
    path = study.sweep_path(stage)
    if not path.exists() and stage not in study.stages():
        raise UserError(
            f"search.stage={stage} comes after {first}, and has no sweep file yet; write it with "
            + caviar_command("refine", study.name, set_to("search.stage", stage))
        )
    return path
