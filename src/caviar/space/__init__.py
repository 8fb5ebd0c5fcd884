"""Spaces and scales: what is searched, and how each axis is drawn. NumPy only."""

from caviar.space.axes import Axis, Space, SpaceError
from caviar.space.continuous import Linear, Log, OneMinusLog, ScaleError
from caviar.space.discrete import Choice, Integer, LogInteger
from caviar.space.lint import Problem, lint
from caviar.space.scales import Scale, scale_from_dict

__all__ = [
    "Axis",
    "Choice",
    "Integer",
    "Linear",
    "Log",
    "LogInteger",
    "OneMinusLog",
    "Problem",
    "Scale",
    "ScaleError",
    "Space",
    "SpaceError",
    "lint",
    "scale_from_dict",
]
