"""Trials side by side on one machine, one warm process each: `hydra/launcher=pool`.

pool.py      which job runs where and when, and what became of it
worker.py    the life of one process, from fork to result
settings.py  what a user can say
machine.py   cores and GPUs, dealt out in slots
"""
