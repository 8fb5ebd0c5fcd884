"""One trial of a study: claim it in the ledger, train, write the result.

The worker writes its own result, whichever launcher started it. What a process that died could
not write itself, the launcher that sees it die does: `record_fault`.

`search.pruner` stops hopeless trials early, by Optuna's pruners. What a pruner decides depends on
which other trials have reported already: with several workers such a search is not repeated to the
digit, and one with `search.pruner=none` is.
"""

from __future__ import annotations

import math
import os
import re
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from caviar.base.environment import RESUME, RETRIES, SLOT, is_first_rank, rank
from caviar.base.errors import (
    TryAgain,
    UserError,
    failure,
    is_interrupt,
    lost_peer,
    one_line,
    rank_error,
)
from caviar.base.files import last_checkpoint, replaced
from caviar.base.result import EXCEPTION, KILLED, Ended, Length, Report, Result, Train
from caviar.base.signals import uninterrupted
from caviar.config.keys import FUNCTION, LIGHTNING, Keys, epochs_of, metric_of, trusts
from caviar.ledger import Ledger, Trial
from caviar.plain import run_function
from caviar.search.keeping import tidy_checkpoints
from caviar.search.provenance import keep_code, restore_config
from caviar.search.settings import CONFIRM, TEST, open_ledger, study_folder

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from caviar.pool.process import Fault

GIVE_UP = 5  # a trial whose workers died so often, without anybody seeing why, is a fault
FIRST = 8  # a pruner judges a trial first after this fraction (1/8) of its validations
LAST = Path("checkpoints") / "last.ckpt"  # in a trial's folder; what it goes on from


def run_trial(
    config: DictConfig, output: Path, train: Train, ended: Ended | None = None
) -> float | None:
    """Run trial `config.trial` unless somebody else has it already.

    Any exception becomes the trial's result and is raised again for the launcher; a signal puts
    the trial back among the waiting ones.

    Arguments:
        config: of the trial.
        output: its folder.
        train: what trains, where the config names no function that does.
        ended: told what came of it.
    """
    stage, number = config.trial.stage, config.trial.number
    keys = Keys.of(config)
    seed = OmegaConf.select(config, keys.seed)
    train = run_function if keys.kind == FUNCTION else train
    if keys.test is not None and OmegaConf.select(config, keys.test) and stage != TEST:
        raise UserError(
            f"{keys.test}=true: the test set is locked during a search; confirm opens it once"
        )
    ledger = open_ledger(config)
    before = ledger.trial(stage, number)
    restore_config(config, ledger.spec(stage), before.point, output)  # on every rank
    if not is_first_rank():  # what is written into the ledger is the first rank's
        checkpoint = os.environ.get(RESUME)
        resume = Path(checkpoint) if checkpoint else None
        return _outcome(train, config, output, None, resume, ended)[0].best
    slot, epochs = os.environ.get(SLOT), epochs_of(config)
    code, claimed = keep_code(ledger, stage), False
    try:
        # A signal between the claim and the note that it is ours would leave the trial claimed by
        # a process that lives on, as in-process launchers do.
        with uninterrupted():
            claimed = ledger.claim(stage, number, slot=slot, epochs=epochs, code=code)
        if not claimed:
            return None
        # Deaths that nobody saw are not held against a trial, but not for ever: one that takes its
        # machine down would do so again and again.
        now = ledger.trial(stage, number)
        if len(faults := now.faults[now.forgiven :]) > GIVE_UP:
            dead = Result(KILLED, seed=seed, error=f"{faults[-1]}, {len(faults)} times")
            ledger.finish(stage, number, dead)
            return None
        _put_errors_aside(output)
        resume = _checkpoint_of(before, output, keys.kind, trusts(config))
        os.environ.pop(RESUME, None)
        if resume is not None:  # the other ranks, which this one starts, must go on from it too
            os.environ[RESUME] = str(resume)
        report = _reporter(config, ledger)
        result, error = _outcome(train, config, output, report, resume, ended)
        with uninterrupted():
            again = False
            if result.failed:
                again = ledger.fail(stage, number, result, int(os.environ.get(RETRIES, "0")))
            else:
                ledger.finish(stage, number, result)
    except BaseException:  # a signal, or a ledger that cannot be written
        if claimed:
            with suppress(OSError):
                ledger.release(stage, number)
        raise
    if error is not None:
        raise (TryAgain if again else RuntimeError)(result.error) from error
    if stage not in (CONFIRM, TEST) and config.trial.get("until") is None:  # it may yet go on
        keep = config.search.keep_checkpoints
        tidy_checkpoints(study_folder(config), ledger, keep, metric_of(config).mode)
    return result.best


def record_fault(config: DictConfig, fault: Fault, retries: int) -> str | None:
    """Write down what became of a trial whose process died.

    Arguments:
        config: of the job, which may be no trial of a study.
        fault: of the process.
        retries: how often a transient fault is forgiven.

    Returns:
        None if it waits for another try; else its error, empty if it had finished before.
    """
    if "trial" not in config or config.trial.number is None:
        return "" if fault.in_order else fault.error
    ledger = open_ledger(config)
    stage, number = config.trial.stage, config.trial.number
    if fault.interrupted:
        ledger.release(stage, number, pid=fault.pid)
        return fault.error
    seed = OmegaConf.select(config, Keys.of(config).seed)
    result = Result(fault.status, seed=seed, error=fault.error)
    # Lightning kills the first rank when another one has raised: what that one told counts, unless
    # it is only that the first rank is gone.
    told = rank_error(study_folder(config) / stage / str(number))
    if told and not lost_peer(told):
        result.status, result.error = EXCEPTION, told
    ledger.fail(stage, number, result, retries, pid=fault.pid)
    trial = ledger.trial(stage, number)
    if trial.waiting:
        return None
    return (trial.result.error or "") if trial.result else fault.error


def _reporter(config: DictConfig, ledger: Ledger) -> Report:
    """Writes down a point of the learning curve; True if the trial should be given up.

    Each at once: a run that is killed goes on from its checkpoint, and tells no point in front of
    it again.
    """
    stage, number = config.trial.stage, config.trial.number
    prunes = stage not in (CONFIRM, TEST) and config.search.pruner != "none"
    until = config.trial.get("until")
    told = Length(total=epochs_of(config))  # what its claim says already

    def report(point: int, value: float, length: Length) -> bool:
        nonlocal told
        if (length.unit, length.total) != (told.unit, told.total):
            ledger.measure(stage, number, length)
            told = length
        ledger.report(stage, number, point, value)
        # The last validation has nothing left to save. One that is undefined tells nothing yet; a
        # run that has diverged ends by itself.
        last = length.points is not None and point + 1 >= length.points
        if until is not None and point + 1 >= until:
            return not last
        if not prunes or last or math.isnan(value):
            return False
        pruner = make_pruner(config.search.pruner, length.points)
        return pruner is not None and ledger.should_prune(stage, number, pruner)

    return report


def _put_errors_aside(output: Path) -> None:
    """Name the traceback of an earlier try as that: `error.1.txt`, `error.2.txt`, …"""
    for file in output.glob("error_rank_*.txt"):  # the one that counted is in the ledger
        file.unlink()
    if (file := output / "error.txt").exists():
        file.rename(output / f"error.{1 + len([*output.glob('error.*.txt')])}.txt")


def _checkpoint_of(before: Trial, output: Path, kind: str, trusted: bool) -> Path | None:
    """The last checkpoint of an earlier try of this trial, if it has one that can be read."""
    path = output / LAST
    if kind != LIGHTNING:  # it lies where the project keeps it
        path = last_checkpoint(output) or path
    if not path.exists():
        return None
    # Of a try whose training is not to go on; or of another study, whose ledger was removed, and
    # whose weights were trained with another setting.
    if not before.claim:
        path.unlink()
        return None
    if kind != LIGHTNING:
        why = "" if trusted else more_than_plain(path)
        if why:
            print(
                f"the trial begins anew: {path} holds {why}, which may run anything when it is "
                "loaded; if it is yours, add trust_checkpoints: true to the caviar node",
                flush=True,
            )
        return None if why else path
    from caviar.training.checkpoints import read_checkpoint

    try:
        read_checkpoint(path, trusted)
    except UserError as error:
        print(f"the trial begins anew: {error}", flush=True)
        return None
    return path


def more_than_plain(path: Path) -> str:
    """What a checkpoint holds beside plain containers and tensors, so that neither torch nor
    Lightning loads it unless it is trusted; empty where it is plain."""
    import pickle

    import torch

    try:
        torch.load(path, map_location="meta", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        return named[1] if named else "more than plain containers"
    return ""


def _outcome(
    train: Train,
    config: DictConfig,
    output: Path,
    report: Report | None,
    resume: Path | None,
    ended: Ended | None,
) -> tuple[Result, BaseException | None]:
    """What training gave, or the exception that it ended with, written down."""
    try:
        return train(config, output, report, resume, ended=ended), None
    except (Exception, SystemExit) as error:
        if is_interrupt(error):
            raise
        output.mkdir(parents=True, exist_ok=True)
        if not is_first_rank():
            # The first rank, or who sees it die, passes the innermost cause on.
            with replaced(output / f"error_rank_{rank()}.txt") as partial:
                partial.write_text(f"{traceback.format_exc()}{one_line(error)}\n", encoding="utf-8")
            raise
        (output / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        result = failure(error, OmegaConf.select(config, Keys.of(config).seed))
        result.write(output)
        return result, error


def make_pruner(name: str, points: int | None) -> BasePruner | None:
    """One of Optuna's, scaled to the length of a training; None for `none`.

    Arguments:
        name: `none`, `asha`, `median` or `hyperband`.
        points: validations, or epochs, of a trial that is not stopped; None where nobody knows,
            and then the first one is judged.
    """
    from optuna import pruners

    first = 1 if points is None else max(1, math.ceil(points / FIRST))
    if name == "asha":  # Li et al. 2018, arXiv:1810.05934
        return pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=2)
    if name == "median":
        return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=first - 1)
    if name == "hyperband":  # Li et al. 2018, arXiv:1603.06560
        return pruners.HyperbandPruner(
            min_resource=first,
            max_resource="auto" if points is None else max(first, points),
            reduction_factor=2,
        )
    return None
