"""A project's own task is tuned: what is under its `@hydra.main` trains, and we look on.

    task.py       the task as a trial of a study, in whatever process a launcher runs it
    watched.py    every Trainer that runs inside of it: curve, divergence, pruning
    factory.py    how these Trainers come to have our callback; Lightning asks it for each

Nothing of the project is imported or changed: Hydra hands us its function, and Lightning asks
installed packages for callbacks. Where no Lightning is used, the number that the task returns is
the result.
"""
