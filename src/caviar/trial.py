"""One trial of a study: claim it in the ledger, train, write the result.

The worker writes its own result, whichever launcher started it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from caviar.errors import UserError
from caviar.ledger import Ledger
from caviar.result import FAILED, Result
from caviar.search.settings import TEST, storage_of
from caviar.signals import uninterrupted


def run_trial(config: DictConfig, output: Path) -> float | None:
    """Run trial `config.trial` unless somebody else has it already.

    Any exception becomes the trial's result and is raised again for the launcher; a signal puts
    the trial back among the waiting ones.
    """
    stage, number = config.trial.stage, config.trial.number
    if config.test and stage != TEST:
        raise UserError("test=true: the test set is locked during a search; confirm opens it once")
    ledger = Ledger.open(storage_of(config), str(config.search.study))
    claimed = False
    try:
        with uninterrupted():
            claimed = ledger.claim(stage, number)
        if not claimed:
            return None
        result, error = _outcome(config, output, partial(ledger.report, stage, number))
        with uninterrupted():
            ledger.finish(stage, number, result)
    except BaseException:  # a signal, or a ledger that cannot be written
        if claimed:
            with suppress(OSError):
                ledger.release(stage, number)
        raise
    if error is not None:
        raise RuntimeError(result.error) from error
    return result.best


def _outcome(
    config: DictConfig, output: Path, report: Callable[[int, float], None]
) -> tuple[Result, BaseException | None]:
    """What training gave, or the exception that it ended with, written down."""
    try:
        from caviar.training import train

        return train(config, output, report), None
    except (Exception, SystemExit) as error:
        if type(error).__name__ == "SIGTERMException":  # Lightning's, where main is not ours
            raise
        output.mkdir(parents=True, exist_ok=True)
        (output / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        result = Result(FAILED, seed=config.seed, error=_one_line(error))
        result.write(output)
        return result, error


def _one_line(error: BaseException) -> str:
    """`ValueError: what it says`, of the innermost cause, since Hydra wraps what it calls."""
    while error.__cause__ is not None:
        error = error.__cause__
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}"[:300]
