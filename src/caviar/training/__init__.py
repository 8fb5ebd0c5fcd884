"""Training with Lightning: what a user's own model and data plug into.

    from caviar.training import Classifier, DataModule

Importing anything from here imports torch; the layers below never do.
"""

from caviar.training.data import DataModule
from caviar.training.modules import Classifier, Module
from caviar.training.run import train

__all__ = ["Classifier", "DataModule", "Module", "train"]
