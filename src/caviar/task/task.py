"""A project's own task as a trial of a study.

    as_trials(task_function)    # what our sweeper hands to a launcher in its place

In the process of a job it claims the job's trial, calls the task, and writes what came of it into
the ledger. A job that is no trial, as of a grid, is the task and nothing else.
"""

from __future__ import annotations

import functools
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from caviar.base import project
from caviar.base.errors import UserError
from caviar.base.result import Ended, Report, Result
from caviar.base.signals import handlers_kept
from caviar.config.keys import Keys, metric_of, trusts
from caviar.plain import recorded, seed_everything, settled_seed
from caviar.task.watched import watching

if TYPE_CHECKING:
    from caviar.training.run import Extend

Task = Callable[[Any], Any]  # what is under @hydra.main
TEST = "test"  # the stage that opens the test set
OURS = "caviar.app"  # whose task tells trials from single runs by itself


def as_trials(task: Task, looks_on: bool = False) -> Task:
    """The task, as launchers are to call it.

    Arguments:
        task: what is under `@hydra.main`.
        looks_on: write a result of a job that is no trial, too, as a grid compares them.
    """
    if getattr(task, "__module__", None) == OURS or getattr(task, "runs_trials", False):
        return task

    @functools.wraps(task)
    def run(config: DictConfig) -> Any:
        from caviar import rooms
        from caviar.search.trial import run_trial

        output = Path(HydraConfig.get().runtime.output_dir)
        if (config.get("trial") or {}).get("number") is None:
            return train(task, config, output).best if looks_on else task(config)
        project.enter()
        rooms.attach_ledgers()
        return run_trial(config, output, functools.partial(train, task), rooms.run_ended)

    run.runs_trials = True  # type: ignore[attr-defined]
    return run


def train(
    task: Task,
    config: DictConfig,
    output: Path,
    report: Report | None = None,
    resume: Path | None = None,
    *,
    extend: Extend | None = None,
    ended: Ended | None = None,
) -> Result:
    """Call the task with a trial's config, looking on.

    Arguments:
        task: what is under the project's `@hydra.main`.
        config: of the trial.
        output: its folder.
        report: called at every point of the curve; True stops the Trainer.
        resume: a checkpoint of an earlier try, for a config that has a key for it.
        extend: more callbacks and loggers, for the first Trainer that validates; this one is made
            to go on exactly.
        ended: called once with the result and the curve.

    Raises:
        UserError: the task gave no value.
    """
    keys, metric = Keys.of(config), metric_of(config)
    seed = settled_seed(config, keys.seed)
    # Forked processes begin with the same random numbers, and not every task seeds its own.
    seed_everything(seed)
    if resume is not None and keys.resume is not None:
        with open_dict(config):
            OmegaConf.update(config, keys.resume, str(resume))
    output.mkdir(parents=True, exist_ok=True)
    os.environ.pop("PL_GLOBAL_SEED", None)  # of an earlier run in this process
    if trusts(config):
        os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    hands = None
    if extend is not None:
        from caviar.task.hands import Hands

        hands = Hands(output, seed, resume, trusts(config), extend)
    with watching(metric.name, metric.mode, report, hands) as watch, handlers_kept():

        def call() -> Result:
            try:
                returned = task(config)
            except pickle.UnpicklingError as error:
                if "weights_only" not in str(error):
                    raise
                raise UserError(
                    "the task loads a checkpoint that holds more than plain containers, which "
                    "torch refuses; load it with weights_only=False, or add "
                    "trust_checkpoints: true to the caviar node"
                ) from error
            testing = (config.get("trial") or {}).get("stage") == TEST
            return watch.test_result(returned) if testing else watch.result(returned)

        return recorded(call, output, seed, ended, lambda: watch.curve)
