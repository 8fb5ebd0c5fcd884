"""Where trials and results are kept: Optuna's storages, and what registers itself. No torch."""

from caviar.ledger.ledger import Ledger
from caviar.ledger.overview import Overview
from caviar.ledger.storages import HEARTBEAT, JOURNAL, exists, known_storage
from caviar.ledger.trials import RUNNING, WAITING, Planned, Trial

__all__ = [
    "HEARTBEAT",
    "JOURNAL",
    "RUNNING",
    "WAITING",
    "Ledger",
    "Overview",
    "Planned",
    "Trial",
    "exists",
    "known_storage",
]
