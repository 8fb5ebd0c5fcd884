"""Where trials and results are kept. Optuna's storages, no torch."""

from caviar.ledger.ledger import RUNNING, WAITING, Ledger, Trial
from caviar.ledger.locks import only_driver

__all__ = ["RUNNING", "WAITING", "Ledger", "Trial", "only_driver"]
