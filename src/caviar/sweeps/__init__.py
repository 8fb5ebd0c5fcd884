"""Stages as W&B sweeps: the same files, drawn and given out by W&B's service.

register.py   a stage becomes a sweep, and is remembered beside the study
compare.py    whether the service still has what was registered
agents.py     W&B's agents on this machine, one per GPU
child.py      what `python train.py` does when an agent started it
sync.py       upload what was trained offline

What comes of the runs is read by `caviar.ledger.sweeps`.
"""
