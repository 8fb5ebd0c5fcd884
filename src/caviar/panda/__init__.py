"""Panda: look after one model. Watch its curve, nudge it, go back when it went wrong.

    caviar panda start search.study=mine                              # trains, day by day
    caviar panda set optimizer.lr=*1.5 --why "flat since day 2"       # from another terminal
    caviar panda back --to day3
    caviar panda watch

What a run leaves in its folder, and what other terminals do with it; no torch:

journal.py   what happened, append-only: the one truth; branches and days follow from it
record.py    every metric of every branch
levers.py    what can be changed while it trains
groups.py    whose values the parameter groups of a module's own optimizers are
nudge.py     a change, checked: what the config and the groups will have
inbox.py     what other terminals ask of the run, and how it gets there
begin.py     which run a command is about; how one is begun, gone on with, copied
keeper.py    the settings, and the rules for the night
screen.py    what a person sees in a terminal

The training itself:

run.py       one process of the run, from its journal's end to the next
callback.py  days, nudges and the keeper, between the steps
actions.py   a change, never without its journal's line
force.py     a value in optimizers, model, data, trainer, and in the config
optimizers.py  what optimizers and schedules have, and how it is changed

The picture and the page are the report's: `caviar.pages.panda`.
"""
