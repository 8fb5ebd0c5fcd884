"""Panda: look after one model. Watch its curve, nudge it, go back when it went wrong.

    caviar panda start search.study=mine                              # trains, day by day
    caviar panda set optimizer.lr=*1.5 --why "flat since day 2"       # from another terminal
    caviar panda back --to day3
    caviar panda watch

settings.py  the `panda` node of the config
journal.py   what happened, append-only: the one truth, all else follows from it
lineage.py   branches and days, read from the journal
record.py    every metric of every branch
inbox.py     from other terminals to the run, and back
levers.py    what can be changed while it trains, and how
checks.py    whether a change may be made
callback.py  days, nudges and rollbacks, inside the training
keeper.py    the rules for the night
drive.py     one process of the run
"""
