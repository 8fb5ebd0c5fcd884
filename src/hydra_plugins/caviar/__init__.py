"""Thin Hydra plugins; all they know of is `caviar`."""
