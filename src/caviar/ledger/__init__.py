"""Where trials and results are kept: Optuna's storages, and what registers itself. No torch."""

from caviar.ledger.ledger import Ledger
from caviar.ledger.storages import HEARTBEAT, JOURNAL, exists, known_storage
from caviar.ledger.trials import RUNNING, WAITING, Planned, Trial

__all__ = [
    "HEARTBEAT",
    "JOURNAL",
    "RUNNING",
    "WAITING",
    "Ledger",
    "Planned",
    "Trial",
    "exists",
    "known_storage",
]
