"""Where trials and results are kept: Optuna's storages, or W&B sweeps. No torch."""

from caviar.ledger.ledger import Ledger
from caviar.ledger.registered import RECORD
from caviar.ledger.storages import HEARTBEAT, JOURNAL, exists
from caviar.ledger.trials import RUNNING, WAITING, Planned, Trial

__all__ = [
    "HEARTBEAT",
    "JOURNAL",
    "RECORD",
    "RUNNING",
    "WAITING",
    "Ledger",
    "Planned",
    "Trial",
    "exists",
]
