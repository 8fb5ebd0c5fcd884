"""Train one model from a composed config: what `python train.py` does, and every trial.

    python train.py trainer.max_epochs=5
    python train.py debug=fast                  # one batch of each loader

`train` knows of no study, ledger or tracker. Who wants to watch hands in functions.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint

from caviar.base.environment import is_first_rank
from caviar.base.errors import UserError, failure
from caviar.base.result import COMPLETE, DIVERGED, PRUNED, Result, test_metric
from caviar.config.compose import build, check_root
from caviar.training.callbacks import BestMetric, Report
from caviar.training.checkpoints import (
    best_checkpoint,
    check_resume,
    put_back,
    read_checkpoint,
    rows_before,
)
from caviar.training.ddp import failed_rank
from caviar.training.modules import Module
from caviar.training.resume import EpochSeed, StopBetweenSteps

Ended = Callable[[Result, Mapping[int, float]], None]  # the result; the metric by epoch
Extend = Callable[[BestMetric], tuple[list[pl.Callback], list[Any]]]  # callbacks and loggers


def train(
    config: DictConfig,
    output: Path,
    report: Report | None = None,
    resume: Path | None = None,
    extend: Extend | None = None,
    ended: Ended | None = None,
) -> Result:
    """Fit, and test if the config says so; write `result.json` into `output`.

    Arguments:
        config: composed from `conf/train.yaml`, with `paths.output` resolved.
        output: the run's folder.
        report: called with (epoch, metric) after every validation; True stops the run.
        resume: a checkpoint of this very run, which was interrupted, to go on from.
        extend: more callbacks and loggers, which may want to know the best metric.
        ended: called once with the result, also one of a failure, and the learning curve, when
            everything else is done: for a tracker that must be told how its run ended.

    Raises:
        UserError: the config asks for what cannot be.
        KeyboardInterrupt: also where Lightning would turn it into SystemExit.
    """
    check_root(config)
    quiet()
    # Written into the config, so that the run's files, and the other ranks, know a fresh one too.
    config.seed = _seed(config.seed)
    torch.set_num_threads(config.threads)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    if resume is None:
        checkpoint, rows = _checkpoint(config), []
    else:  # in its own folder, where the CSV logger would begin with an empty file
        checkpoint = str(resume)
        rows = rows_before(output, read_checkpoint(resume))
    start = time.perf_counter()
    data = build("data", config.data, _convert_="all")
    model = _model(config)
    best = BestMetric(config.metric.name, config.metric.mode, report)
    # They serve fitting: a test must not touch the checkpoints that it reads.
    declared = (config.callbacks or {}).items() if config.fit else ()
    callbacks = [build(f"callbacks.{name}", c) for name, c in declared]
    loggers = [build(f"logger.{name}", c) for name, c in (config.logger or {}).items()]
    more_callbacks, more_loggers = extend(best) if extend is not None else ([], [])
    loggers += more_loggers
    # Lightning calls checkpoints last, in their order. What `extend` brought should know of the
    # best epoch when it is called, and `last.ckpt` should hold what it has done.
    last = [c for c in callbacks if isinstance(c, ModelCheckpoint) and c.monitor is None]
    callbacks = [*(c for c in callbacks if c not in last), *more_callbacks, *last]
    trainer: pl.Trainer = build(
        "trainer",
        config.trainer,
        callbacks=[EpochSeed(config.seed), StopBetweenSteps(), best, *callbacks],
        logger=loggers,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        # A bar is for eyes: silent where nobody looks, and in a search, which has its own view.
        enable_progress_bar=sys.stdout.isatty() and config.trial.number is None,
    )
    put_back(loggers, rows)
    for logger in loggers:
        logger.log_hyperparams(_hyperparameters(config))
    num_params = sum(p.numel() for p in model.parameters() if p.requires_grad)
    result = Result(seed=config.seed, num_params=num_params)
    try:
        _fit_and_test(config, trainer, best, model, data, checkpoint, result)
    except BaseException as error:
        cause = None
        if isinstance(error, Exception):
            ranks = getattr(trainer.strategy.launcher, "procs", [])
            cause = failed_rank(ranks, output, error)
        if ended is not None:
            ended(failure(cause or error, result.seed), best.curve)
        if cause is not None:
            raise cause from None
        raise
    result.seconds = round(time.perf_counter() - start, 3)
    if ended is not None:
        ended(result, best.curve)
    if trainer.is_global_zero:
        result.write(output)
    return result


def _fit_and_test(
    config: DictConfig,
    trainer: pl.Trainer,
    best: BestMetric,
    model: Module,
    data: Any,
    checkpoint: str | None,
    result: Result,
) -> None:
    """Fill in what training and testing give.

    Arguments:
        config: says whether to fit, and to test.
        trainer: with `best` among its callbacks.
        best: what it has seen of the metric.
        model: to train.
        data: a LightningDataModule.
        checkpoint: to go on from, or to test.
        result: to fill in.
    """
    if config.fit:
        _call(trainer.fit, best, model, data, checkpoint)
        result.best, result.best_epoch, result.last = best.best, best.best_epoch, best.last
        result.status = DIVERGED if best.diverged else PRUNED if best.pruned else COMPLETE
        # An interrupted run may have had nothing left to train.
        logged = {k: float(v) for k, v in trainer.callback_metrics.items()}
        result.metrics = logged or best.metrics
        result.checkpoint = best_checkpoint(trainer, best)
        checkpoint = result.checkpoint  # without one, the weights of the last epoch are tested
    if config.test and result.status == COMPLETE:
        _call(trainer.test, best, model, data, checkpoint)
        result.metrics |= {k: float(v) for k, v in trainer.callback_metrics.items()}
    if not config.fit:  # the only value there is: the metric on the test set
        result.best = result.last = result.metrics.get(test_metric(config.metric.name))


def _seed(seed: int | None) -> int:
    """The seed itself, or a fresh one, the same on every rank of a distributed run.

    Lightning hands the first rank's on in PL_GLOBAL_SEED; what is left there by an earlier run of
    this process must not count.
    """
    if seed is not None:
        return seed
    inherited = os.environ.get("PL_GLOBAL_SEED") if "LOCAL_RANK" in os.environ else None
    return int(inherited) if inherited else secrets.randbits(31)


def _checkpoint(config: DictConfig) -> str | None:
    """The checkpoint that the config names, read and found to fit; None where it names none."""
    if config.ckpt_path is None:
        if not config.fit and not config.test:
            raise UserError("fit=false and test=false leave nothing to do; set one to true")
        if not config.fit:
            raise UserError("fit=false needs a model to test; write ckpt_path=runs/…/best.ckpt")
        return None
    path = Path(config.ckpt_path)
    checkpoint = read_checkpoint(path)
    if config.fit and not config.trainer.get("fast_dev_run"):
        lines = check_resume(path, checkpoint, config)
        if is_first_rank():
            for line in lines:
                print(f"warning: {line}", file=sys.stderr)
    return str(path)


def _model(config: DictConfig) -> Module:
    """The model, with the optimizer and the schedule that it is to build."""
    model = build("model", config.model, _convert_="all")
    if not isinstance(model, Module):
        raise UserError(
            f"model._target_={config.model._target_} is a {type(model).__name__}; derive it from "
            "caviar.training.Module (or Classifier), which builds the optimizer that the config "
            "declares, and drop its configure_optimizers"
        )
    model.optimizer_config, model.scheduler_config = config.optimizer, config.scheduler
    model.metric = config.metric.name
    return model


def _call(action: Any, best: BestMetric, model: Module, data: Any, checkpoint: str | None) -> None:
    """`trainer.fit` or `.test`; checkpoints load as plain containers only."""
    handler = signal.getsignal(signal.SIGINT)
    quietly = {} if action.__name__ == "fit" else {"verbose": False}
    try:
        action(model, datamodule=data, ckpt_path=checkpoint, weights_only=True, **quietly)
    except SystemExit:
        if isinstance(best.exception, KeyboardInterrupt):
            # Lightning left the signal ignored, and hides why it exits.
            signal.signal(signal.SIGINT, handler)
            raise best.exception from None
        raise
    except RuntimeError as error:
        if checkpoint is not None and "loading state_dict" in str(error):
            raise UserError(f"ckpt_path={checkpoint} does not fit this model: {error}") from None
        raise


def _hyperparameters(config: DictConfig) -> dict[str, Any]:
    """What a logger should know of the run: the config that shapes it, in natural values."""
    keys = ("name", "seed", "data", "model", "optimizer", "scheduler", "trainer", "trial")
    return {
        key: OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
        for key, node in ((key, config[key]) for key in keys)
    }


# Keep Lightning's advertising and its harmless warnings off the screen; nothing else.
HARMLESS = (
    ".*does not have many workers.*",  # data in memory needs none
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*Checkpoint directory .* exists and is not empty.*",  # that is what resuming means
    ".*isinstance\\(treespec, LeafSpec\\).*",  # inside torch
    ".*Be aware that when using `ckpt_path`, callbacks used to create.*",  # a test needs none
    ".*The dirpath has changed from.*",  # of `last`, whose score nobody asks for
    ".*You requested to overfit but enabled train dataloader shuffling.*",
    ".*You are using `weights_only=.*",
    ".*The `srun` command is available on your system but is not used.*",
    ".*Experiment logs directory .* exists and is not empty.*",
)


def quiet() -> None:
    """Silence what Lightning says of every run; to be called before a Trainer is built."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message)
