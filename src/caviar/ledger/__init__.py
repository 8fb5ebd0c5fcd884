"""Where trials and results are kept. Optuna's storages, no torch."""

from caviar.ledger.ledger import Ledger
from caviar.ledger.storages import HEARTBEAT, exists
from caviar.ledger.trials import RUNNING, WAITING, Planned, Trial

__all__ = ["HEARTBEAT", "RUNNING", "WAITING", "Ledger", "Planned", "Trial", "exists"]
