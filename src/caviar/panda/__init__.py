"""Panda: look after one model. Watch its curve, nudge it, go back when it went wrong.

    caviar panda start search.study=mine                              # trains, day by day
    caviar panda set optimizer.lr=*1.5 --why "flat since day 2"       # from another terminal
    caviar panda back --to day3
    caviar panda watch

settings.py  the `panda` node of the config
journal.py   what happened, append-only: the one truth, all else follows from it
lineage.py   branches and days, read from the journal
record.py    every metric of every branch; logger.py writes it
levers.py    what can be changed while it trains, and to what

begin.py     which run a command is about; requests.py, fork.py: what it asks of it
inbox.py     from other terminals to the run, and back
screen.py    what a person sees; plot.py in characters, picture.py as PNG

drive.py     one process of the run
callback.py  days and nudges, inside the training
actions.py   what is done to a run, always in the journal as well
apply.py     a value in the optimizer, the schedule, the model
keeper.py    the rules for the night
"""
