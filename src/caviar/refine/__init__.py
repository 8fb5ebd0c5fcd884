"""Refine: from finished trials to the next ranges. NumPy, SciPy and scikit-learn, no torch."""

from caviar.refine.ranges import METHODS, Refinement, TooFewTrials, refine
from caviar.refine.surrogate import candidates

__all__ = ["METHODS", "Refinement", "TooFewTrials", "candidates", "refine"]
