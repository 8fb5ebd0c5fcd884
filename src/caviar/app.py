"""The Hydra application behind `train.py` and the `caviar` command.

It registers the resolvers before Hydra composes, and rewrites `one_minus.` overrides. Torch is
imported only when a model is trained.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from hydra import main as hydra_main
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from caviar import rooms
from caviar.base import project
from caviar.base.environment import is_first_rank
from caviar.base.errors import UserError
from caviar.base.signals import tidy_sigterm
from caviar.config import resolvers
from caviar.config.begun import begin
from caviar.config.commands import for_shell, options_first, set_to
from caviar.config.keys import is_function, metric_of, trusts
from caviar.config.messages import SLIPS, clear_errors
from caviar.config.overrides import quote_paths, rewrite_one_minus
from caviar.config.slips import refuse_added
from caviar.plain import run_function

# A file of Hydra's own name for it would be held against Hydra's settings, with a warning.
HYDRAS_GRID, OUR_GRID = "hydra/sweeper=basic", "hydra/sweeper=grid"

_slips: list[Exception] = []


def main(arguments: Sequence[str] | None = None, begun: bool = False) -> None:
    """Run as `train.py ARGUMENTS`; the process's own by default.

    Arguments:
        arguments: of the command line.
        begun: somebody has called `begin` with them.
    """
    sweep_run = rooms.sweep_run()
    telling = sweep_run.told_to_wandb() if sweep_run else nullcontext()
    with clear_errors(), telling, tidy_sigterm(), rooms.naming_the_deleted():
        resolvers.register()  # launchers hand them on to their workers, with Hydra's state
        root = project.enter()
        given = sys.argv[1:] if arguments is None else arguments
        if sweep_run:
            given = sweep_run.complete_overrides(given)
        elif not begun:
            begin(given)
        # Lightning starts the other ranks of a distributed run from sys.argv.
        given = rewrite_one_minus(quote_paths(given))
        given = [OUR_GRID if word == HYDRAS_GRID else word for word in given]
        sys.argv = [str(root / "train.py"), *options_first(given)]
        _slips.clear()
        found = project.current()
        hydra_main(str(found.config_dir), found.config_name, version_base="1.3")(task)()
        if _slips:
            raise _slips[0]


def task(config: DictConfig) -> float | None:
    """What Hydra runs: a trial of a study, a model that is looked after, or a single run."""
    project.enter()  # a launcher's process on another machine has come by no entry of ours
    output = Path(HydraConfig.get().runtime.output_dir)
    if config.trial.number is not None:
        from caviar.search.trial import run_trial
        from caviar.training import train

        rooms.attach_ledgers()  # a process of its own, which has passed through no command line
        return run_trial(config, output, train, rooms.run_ended)
    try:
        refuse_added(config, HydraConfig.get().overrides.task)
        if config.check == "rehearsal":  # of a search
            from caviar.training.rehearsal import rehearse

            rehearse(config, output)
            return None
        if config.check:
            check(config, output)
            return None
        if config.panda.run:
            if is_function(config):
                raise UserError("caviar.train: a panda looks after a Lightning module alone")
            from caviar.panda.run import drive

            return drive(config, output, rooms.run_ended)
        return single_run(config, output)
    except SLIPS as slip:
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # a job of Hydra's own sweeper, who tells
            raise
        _slips.append(slip)  # Hydra would print all overrides in front of our message
        return None


def check(config: DictConfig, output: Path) -> None:
    """Try what a search will do with this model, and say it in a table."""
    from caviar.screen.view import console, plain_table
    from caviar.stacked.check import can_stack
    from caviar.training.check import Check, Line

    if is_function(config):
        raise UserError("check=true tries Lightning modules; run a function by itself")
    rooms.refuse_test(config)
    overrides = [o for o in HydraConfig.get().overrides.task if not o.startswith("check=")]
    console.print("two batches of everything: some seconds", style="dim")
    lines = Check(config, output, overrides, rooms.live_keys).run()
    lines.append(Line("train many as one", *can_stack(config, output / "check" / "stacked")))
    table = plain_table(f"{config.model._target_}: what a search can do", "", "", "")
    for column in table.columns:
        column.justify = "left"
    for line in lines:
        table.add_row(line.what, "yes" if line.works else "no", line.detail)
    console.print(table)


def single_run(config: DictConfig, output: Path) -> float | None:
    """Train one model, and say what came out; the best value."""
    from caviar.screen.view import print_result, shown_path

    rooms.refuse_test(config)
    try:
        if is_function(config):
            result = run_function(config, output, ended=rooms.run_ended)
        else:
            from caviar.training import train

            result = train(config, output, ended=rooms.run_ended)
    except KeyboardInterrupt as interrupt:
        last = output / "checkpoints" / "last.ckpt"
        if not last.exists():
            raise
        from caviar.training.checkpoints import read_checkpoint
        from caviar.training.resume import going_on

        how = going_on(read_checkpoint(last, trusts(config)))
        where = for_shell([set_to("ckpt_path", shown_path(last))])
        where += f" ({how})" if how else ""
        raise type(interrupt)(f"the epochs so far are kept; go on with {where}") from None
    if is_first_rank():
        print_result(result, metric_of(config).name, output)
    return result.best
