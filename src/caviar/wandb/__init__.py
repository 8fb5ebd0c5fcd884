"""Stages as W&B sweeps: the same files, drawn and given out by W&B's service.

record    what was registered, and whether the service still says the same
register  a stage becomes a sweep
agents    W&B's agents on this machine
child     a run that an agent started: what is added to its command, and its last word
runs      a sweep's runs as trials
ledger    a study whose stages are sweeps
client    the calls to W&B's own client, and what was trained offline
"""
