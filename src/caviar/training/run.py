"""Train one model from a composed config: what `python train.py` does, and every trial.

    python train.py trainer.max_epochs=5
    python train.py debug=fast                  # one batch of each loader

`train` knows of no study, ledger or tracker. Who wants to watch hands in functions.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from caviar.base.environment import is_first_rank
from caviar.base.errors import UserError, failure, interrupts_told
from caviar.base.result import COMPLETE, DIVERGED, PRUNED, Ended, Report, Result, test_metric
from caviar.base.signals import handlers_kept
from caviar.base.terminal import complain
from caviar.config.compose import build
from caviar.config.packages import refuse_absent
from caviar.config.values import check_root
from caviar.training.bar import TrainingBar
from caviar.training.building import declared, model_package, own, plugins
from caviar.training.callbacks import BestMetric
from caviar.training.checkpoints import (
    BestCheckpoint,
    best_checkpoint,
    check_resume,
    plainly,
    put_back,
    read_checkpoint,
    rows_before,
)
from caviar.training.ddp import failed_rank
from caviar.training.length import steps_taken
from caviar.training.modules import Module
from caviar.training.package import adopted, is_a, of_package, refuse_mixture
from caviar.training.prepare import prepare_once
from caviar.training.quiet import quiet
from caviar.training.reading import RefuseUnread
from caviar.training.resume import EpochSeed, ResumedSchedule, StopBetweenSteps, resume_kind
from caviar.training.steps import DirectSteps

Extend = Callable[[BestMetric], tuple[list[pl.Callback], list[Any]]]  # callbacks and loggers
Built = Callable[[pl.Trainer, pl.LightningModule, Any], None]  # and the data module


def train(
    config: DictConfig,
    output: Path,
    report: Report | None = None,
    resume: Path | None = None,
    extend: Extend | None = None,
    ended: Ended | None = None,
    built: Built | None = None,
) -> Result:
    """Fit, and test if the config says so; write `result.json` into `output`.

    Arguments:
        config: composed from `conf/train.yaml`, with `paths.output` resolved.
        output: the run's folder.
        report: called after every validation; True stops the run.
        resume: a checkpoint of this very run, which was interrupted, to go on from.
        extend: more callbacks and loggers, which may want to know the best metric.
        ended: called once with the result, also one of a failure, and the learning curve, when
            everything else is done: for a tracker that must be told how its run ended.
        built: called once, when everything is there and nothing has been trained.

    Raises:
        UserError: the config asks for what cannot be.
        KeyboardInterrupt: also where Lightning would turn it into SystemExit.
    """
    check_root(config)
    refuse_absent(config)
    quiet()
    # Written into the config, so that the run's files, and the other ranks, know a fresh one too.
    config.seed = _seed(config.seed)
    torch.set_num_threads(config.threads)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    if resume is None:
        checkpoint, rows = _checkpoint(config), []
    else:  # in its own folder, where the CSV logger would begin with an empty file
        checkpoint = str(resume)
        rows = rows_before(output, read_checkpoint(resume, config.trust_checkpoints))
    start = time.perf_counter()
    data = build("data", config.data, _convert_="all") if config.get("data") else None
    model = build("model", config.model, _convert_="all")
    package = model_package(config, model)
    quiet()  # once more: a package that was imported just now has set its own levels
    if isinstance(model, Module):
        model.optimizer_config, model.scheduler_config = config.optimizer, config.scheduler
        model.metric = config.metric.name
    if checkpoint is not None and resume is None and config.fit:
        _say_what_is_kept(config, model, Path(checkpoint))
    best = BestMetric(config.metric.name, config.metric.mode, report)
    # They serve fitting: a test must not touch the checkpoints that it reads.
    asked = (config.callbacks or {}).items() if config.fit else ()
    callbacks = declared("callbacks", asked, package)
    loggers = declared("logger", (config.logger or {}).items(), package)
    data = own(data, package)
    refuse_mixture(package, [("data", data), *callbacks.items(), *loggers.items()])
    more_callbacks, more_loggers = extend(best) if extend is not None else ([], [])
    # Lightning calls checkpoints last, in their order. What `extend` brought should know of the
    # best epoch when it is called, and `last.ckpt` should hold what it has done.
    for callback in callbacks.values():
        if isinstance(callback, BestCheckpoint):
            callback.trusted = config.trust_checkpoints
    last = [c for c in callbacks.values() if is_a(c, "ModelCheckpoint") and c.monitor is None]
    ours = [
        EpochSeed(config.seed),
        ResumedSchedule(),
        StopBetweenSteps(),
        DirectSteps(),
        best,
        RefuseUnread(config),
    ]
    others = [*(c for c in callbacks.values() if c not in last), *more_callbacks, *last]
    # A bar is for eyes: silent where nobody looks, and in a search, which has its own view.
    seen = sys.stdout.isatty() and config.trial.number is None
    seen = seen and config.trainer.get("enable_progress_bar") is not False
    if seen and not any(is_a(c, "ProgressBar") for c in others):
        ours.append(TrainingBar(best))
    trainer: pl.Trainer = build(
        "trainer",
        of_package(config.trainer, package),
        callbacks=[adopted(callback, package) for callback in [*ours, *others]],
        logger=[adopted(logger, package) for logger in [*loggers.values(), *more_loggers]],
        plugins=plugins(config, package),
        enable_checkpointing=any(is_a(c, "ModelCheckpoint") for c in others),
        enable_progress_bar=seen,
    )
    prepare_once(trainer, config)
    if built is not None:
        built(trainer, model, data)
    put_back(trainer.loggers, rows)
    for logger in trainer.loggers:
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
    model: pl.LightningModule,
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
        data: a LightningDataModule; None where the model has its own loaders.
        checkpoint: to go on from, or to test.
        result: to fill in.
    """
    if config.fit:
        _call(trainer.fit, config, model, data, checkpoint)
        if best.last is None:  # where nobody could know it before, such as with a stream
            raise UserError(
                "the training ended before its first validation; write a smaller "
                "trainer.val_check_interval, in batches"
            )
        result.best, result.best_epoch, result.last = best.best, best.best_epoch, best.last
        result.best_step, result.unit = best.best_step, best.length.unit
        result.epochs, result.steps = trainer.current_epoch, steps_taken(trainer)
        # Never a finite value of the metric is no result either.
        diverged = best.diverged or best.best is None
        result.status = DIVERGED if diverged else PRUNED if best.pruned else COMPLETE
        # An interrupted run may have had nothing left to train.
        result.metrics = best.known(trainer) or best.metrics
        result.checkpoint = best_checkpoint(trainer, best)
        result.resume = resume_kind(trainer)
        checkpoint = result.checkpoint  # without one, the weights of the last epoch are tested
    if config.test and result.status == COMPLETE:
        _call(trainer.test, config, model, data, checkpoint)
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
    read_checkpoint(path, config.trust_checkpoints)
    return str(path)


def _say_what_is_kept(config: DictConfig, model: pl.LightningModule, path: Path) -> None:
    """Refuse a checkpoint that cannot be gone on from; warn of what is the checkpoint's."""
    if config.trainer.get("fast_dev_run"):
        return
    optimizer = config.optimizer if isinstance(model, Module) else None
    checkpoint = read_checkpoint(path, config.trust_checkpoints)
    lines = check_resume(path, checkpoint, config.trainer.get("max_epochs"), optimizer)
    if is_first_rank():
        for line in lines:
            complain(f"warning: {line}")


# What Lightning says of a ReduceLROnPlateau.
NO_MONITOR = re.compile(r".* conditioned on metric (.+) which is not available\. .*: \[(.*)\]")


def _call(
    action: Any,
    config: DictConfig,
    model: pl.LightningModule,
    data: Any,
    checkpoint: str | None,
) -> None:
    """`trainer.fit` or `.test`; checkpoints load as plain containers, unless they are trusted."""
    how = {} if action.__name__ == "fit" else {"verbose": False}
    how |= plainly(action, checkpoint, config.trust_checkpoints)
    try:
        with handlers_kept(), interrupts_told():
            action(model, datamodule=data, ckpt_path=checkpoint, **how)
    except Exception as error:
        if checkpoint is not None and "loading state_dict" in str(error):
            raise UserError(f"ckpt_path={checkpoint} does not fit this model: {error}") from None
        if (absent := NO_MONITOR.match(str(error))) is not None:
            logged = absent[2].replace("'", "") or "nothing"
            raise UserError(
                f"the schedule follows {absent[1]}, but by then only {logged} was logged; write "
                "scheduler.monitor=…"
            ) from None
        raise


def _hyperparameters(config: DictConfig) -> dict[str, Any]:
    """What a logger should know of the run: the config that shapes it, in natural values."""
    keys = ("name", "seed", "data", "model", "optimizer", "scheduler", "trainer", "trial")
    return {
        key: OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
        for key, node in ((key, config.get(key)) for key in keys)
    }
