"""MLflow without a server: every run below `runs/` in one SQLite file, to be compared.

    python train.py -m logger=mlflow search.study=mine
    mlflow ui --backend-store-uri sqlite:///runs/mlflow.db

A training that was interrupted goes on with the run that it had.
"""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import MLFlowLogger
from pytorch_lightning.utilities import rank_zero_only

from caviar.base.files import locked

STORE, ARTIFACTS, LOCK = "mlflow.db", "mlflow", "mlflow.lock"  # below runs/
NOTE = "mlflow_run"  # in the run's folder: the id that MLflow gave it


class MLFlow(MLFlowLogger):
    """Lightning's logger, in a file below `runs/`, and of one run however often it is stopped.

    Arguments:
        output: the run's folder.
        runs: the folder of all runs.
        settings: as Lightning's; a `tracking_uri` takes the place of the file.
    """

    def __init__(self, output: str, runs: str, **settings: Any) -> None:
        # It would tell its makers, over the network, that it is used.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow  # noqa: F401  sets its levels, so before ours

        for noisy in ("mlflow", "alembic", "pytorch_lightning.loggers.mlflow"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        folder, above = Path(output).absolute(), Path(runs).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        self._note = folder / NOTE
        known = self._note.read_text(encoding="utf-8") if self._note.exists() else None
        named = folder.relative_to(above) if folder.is_relative_to(above) else folder
        own = {
            "tracking_uri": f"sqlite:///{above / STORE}",
            "artifact_location": (above / ARTIFACTS).as_uri(),
            "run_name": str(named),
        }
        above.mkdir(parents=True, exist_ok=True)
        self._lock = above / LOCK
        with locked(self._lock):  # trials side by side would make the same tables
            super().__init__(**{**own, **settings, "run_id": known})

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Once: MLflow refuses a parameter that is another when the run goes on."""
        with locked(self._lock):  # nor the same experiment
            known = self._is_there()
        if known:
            return
        super().log_hyperparams(params)
        self._note.write_text(str(self.run_id), encoding="utf-8")

    def _is_there(self) -> bool:
        """Whether MLflow has the run that was noted; else a new one takes its place."""
        from mlflow.exceptions import MlflowException

        try:
            noted = self._run_id is not None
            assert self.experiment
            return noted
        except MlflowException:
            self._run_id = None
            assert self.experiment
            return False
