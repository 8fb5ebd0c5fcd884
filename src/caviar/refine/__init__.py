"""Refine: from finished trials to the next stage's ranges. NumPy and scikit-learn, no torch."""

from caviar.refine.candidates import candidates
from caviar.refine.ranges import METHODS, Refinement, TooFewTrials, refine

__all__ = ["METHODS", "Refinement", "TooFewTrials", "candidates", "refine"]
