"""How much each hyperparameter matters, measured: beside the lecture's tiers, with intervals.

measure.py   fANOVA and PED-ANOVA on unit coordinates, bootstrapped
verdict.py   the measurement against the tiers, in plain sentences
"""

from caviar.importance.measure import Importance, measure
from caviar.importance.verdict import sentences

__all__ = ["Importance", "measure", "sentences"]
