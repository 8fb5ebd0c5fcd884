"""How much each hyperparameter matters, measured: beside the lecture's tiers, with intervals.

measure.py   both measures on unit coordinates, bootstrapped
fanova.py    shares of the variance of a forest, interactions, maps
ped.py       how far the best trials lie from the others, axis by axis
verdict.py   the measurement against the tiers, in plain sentences
"""

from caviar.importance.measure import Importance, measure, prepared
from caviar.importance.verdict import sentences

__all__ = ["Importance", "measure", "prepared", "sentences"]
