"""`caviar.Ledger`: the trials of a study, to read.

ledger = caviar.Ledger("runs/digits")
ledger.stages()                            # ["01_coarse", "02_fine", …]
ledger.trials("01_coarse")[0].result.best
pandas.DataFrame(ledger.rows())            # a row a trial: its setting, and what came of it
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from caviar.base.errors import UserError
from caviar.ledger import ledger as written
from caviar.ledger.storages import JOURNAL, exists, known_storage
from caviar.ledger.trials import Trial
from caviar.space import OneMinusLog
from caviar.space.scales import one_minus


class Ledger:
    """A study's trials, as they are now: one that runs may be read at any time, and nothing is
    written.

    Arguments:
        folder: `runs/<study>`. A ledger in a database is found from there, too.

    Raises:
        UserError: there is no study.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        storage = known_storage(folder) or str(folder / JOURNAL)
        if not exists(storage):
            raise UserError(f"{folder} is the folder of no study: it has no ledger")
        self._reader = written.Ledger.open(storage, folder.resolve().name)

    def stages(self) -> list[str]:
        """Names of all stages, in the order in which they were begun; `confirm` and `test` last."""
        return self._reader.stages()

    def trials(self, stage: str) -> list[Trial]:
        """The trials of a stage, by number: their points in search coordinates, their learning
        curves, and their results.

        Raises:
            UserError: there is no such stage.
        """
        if stage not in self.stages():
            raise UserError(f"no stage {stage}; there are {', '.join(self.stages()) or 'none'}")
        return self._reader.trials(stage)

    def rows(self) -> list[dict[str, Any]]:
        """A flat row a trial of all stages: `stage`, `number`, `status`, `seed`, the config keys of
        its setting with their natural values, `best`, `best_epoch`, `seconds`."""
        return [_row(trial) for stage in self.stages() for trial in self._reader.trials(stage)]


def _row(trial: Trial) -> dict[str, Any]:
    result = trial.result
    row: dict[str, Any] = {"stage": trial.stage, "number": trial.number, "status": trial.status}
    row |= {"note": trial.note, "seed": trial.seed}
    for name, value in trial.point.items():
        inverse = name.startswith(OneMinusLog.prefix)
        row[name.removeprefix(OneMinusLog.prefix)] = one_minus(value) if inverse else value
    row["best"] = None if result is None else result.best
    row["best_epoch"] = None if result is None else result.best_epoch
    row["seconds"] = None if result is None else result.seconds
    return row
