"""A project's script, as one process of ours is to run it: `python -m caviar.run src/train.py …`.

It is what W&B's agents start, and a trial that needs a process of its own. The script runs as it
is, but for what is under its `@hydra.main`: where the config names a trial, that is a trial of its
study, where it names a function (`caviar.train`), the function trains, and with `panda.run=true` a
panda looks after its Trainer.
"""

from __future__ import annotations

import functools
import os
import runpy
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from caviar import rooms
from caviar.base.environment import SCRIPT
from caviar.base.errors import UserError
from caviar.base.signals import tidy_sigterm
from caviar.config.commands import options_first
from caviar.config.keys import is_function
from caviar.config.messages import SLIPS, clear_errors
from caviar.config.overrides import quote_paths, rewrite_one_minus
from caviar.plain import run_function
from caviar.task.task import as_trials, train

_slips: list[Exception] = []


def main() -> None:
    """Run the script that the command line names."""
    if len(sys.argv) < 2 or not Path(sys.argv[1]).is_file():
        raise UserError("write python -m caviar.run SCRIPT and overrides, for a SCRIPT of yours")
    script, given = Path(sys.argv[1]).resolve(), sys.argv[2:]
    os.environ[SCRIPT] = str(script)
    sweep_run = rooms.sweep_run()
    telling = sweep_run.told_to_wandb() if sweep_run else nullcontext()
    with telling, tidy_sigterm():
        if sweep_run:
            given = sweep_run.complete_overrides(given)
        sys.argv = [str(script), *options_first(rewrite_one_minus(quote_paths(given)))]
        sys.path[0] = str(script.parent)
        original = hydra.main
        hydra.main = _watched(original)
        _slips.clear()
        try:
            runpy.run_path(str(script), run_name="__main__")
        finally:
            hydra.main = original
        if _slips:
            raise _slips[0]


def _watched(original: Callable[..., Any]) -> Callable[..., Any]:
    """`hydra.main`, whose functions run trials."""

    def main(*arguments: Any, **named: Any) -> Callable[..., Any]:
        decorate = original(*arguments, **named)
        return lambda task: decorate(_task(task))

    return main


def _task(task: Callable[[Any], Any]) -> Callable[[Any], Any]:
    trials = as_trials(task)

    @functools.wraps(task)
    def run(config: DictConfig) -> Any:
        if (config.get("trial") or {}).get("number") is not None:
            return trials(config)
        rooms.refuse_test(config)
        output, ended = Path(HydraConfig.get().runtime.output_dir), rooms.run_ended
        if is_function(config):
            return run_function(config, output, ended=ended).best
        if (config.get("panda") or {}).get("run"):
            return _looked_after(task, config, output)
        return train(task, config, output, ended=ended).best

    return run


def _looked_after(task: Callable[[Any], Any], config: DictConfig, folder: Path) -> float | None:
    """A panda of the task's Trainer."""
    from caviar.panda.run import drive

    try:
        return drive(config, folder, rooms.run_ended, functools.partial(train, task))
    except SLIPS as slip:
        _slips.append(slip)  # Hydra would print all overrides in front of our message
        return None


if __name__ == "__main__":
    with clear_errors(), rooms.naming_the_deleted():
        main()
