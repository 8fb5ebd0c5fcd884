"""Stages as W&B sweeps: the same files, drawn and given out by W&B's service."""
