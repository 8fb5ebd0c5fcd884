"""Training with Lightning: what a user's own model and data plug into.

    from caviar.training import Classifier, DataModule

    run.py          one training, from config to result
    callbacks.py    the declared metric, its best, and whether training diverged
    checkpoints.py  the best epoch's and the last; what to know before one is loaded
    resume.py       to stop, and go on to the same bits
    ddp.py          which of several processes failed
    data.py         splits, order, loaders; text.py for text
    modules.py      what a model of yours derives from; models.py the template's own
    optim.py        the optimizer and the schedule that the config declares

Importing anything from here imports torch, which takes seconds; the layers below never do.
"""

from caviar.training.data import DataModule
from caviar.training.modules import Classifier, Module
from caviar.training.run import train

__all__ = ["Classifier", "DataModule", "Module", "train"]
