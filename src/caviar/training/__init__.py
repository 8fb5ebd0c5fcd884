"""Training with Lightning: what a user's own model and data plug into.

    from caviar.training import Classifier, DataModule

    run.py          one training, from config to result
    building.py     its parts, from the config; quiet.py what they need not say
    package.py      pytorch_lightning or lightning, whichever the model comes from
    callbacks.py    the declared metric, its best, and whether training diverged
    length.py       epochs, steps and validations of a training
    reading.py      which optimizer a model has read, and what nobody does
    checkpoints.py  the best epoch's and the last; what to know before one is loaded
    safe.py         checkpoints that can be read back
    winner.py       a trained model back from its folder
    rehearsal.py    two batches of everything before a search; check.py says what works
    resume.py       to stop, and go on to the same bits: loaders.py how data is read, streams.py
                    random states, gathered.py what a module has logged
    ddp.py          which of several processes failed
    data.py         splits, order, loaders; text.py for text
    modules.py      what a model of yours derives from; models.py the template's own
    optim.py        the optimizer that the config declares, and schedule.py its schedule

Importing anything from here imports torch, which takes seconds; the layers below never do.
"""

from caviar.training.data import DataModule
from caviar.training.modules import Classifier, Module, Regressor
from caviar.training.run import train

__all__ = ["Classifier", "DataModule", "Module", "Regressor", "train"]
