"""Hyperparameter tuning done right: spaces, scales, coarse to fine, confirmed."""
