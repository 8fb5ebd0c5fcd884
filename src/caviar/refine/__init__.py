"""Refine: from finished trials to the next ranges. NumPy, SciPy and scikit-learn, no torch."""

from caviar.refine.acquire import picked
from caviar.refine.ranges import METHODS, Refinement, TooFewTrials, refine
from caviar.refine.stopping import Outlook, expected_gain
from caviar.refine.surrogate import candidates

__all__ = [
    "METHODS",
    "Outlook",
    "Refinement",
    "TooFewTrials",
    "candidates",
    "expected_gain",
    "picked",
    "refine",
]
