"""Refine: from finished trials to the next stage's ranges. NumPy and scikit-learn, no torch."""

from caviar.refine.ranges import METHODS, Refinement, TooFewTrials, candidates, refine

__all__ = ["METHODS", "Refinement", "TooFewTrials", "candidates", "refine"]
