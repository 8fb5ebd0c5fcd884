"""Spaces and scales: what is searched, and how each axis is drawn. NumPy only."""

from caviar.space.lint import Problem, lint
from caviar.space.scales import (
    Choice,
    Integer,
    Linear,
    Log,
    LogInteger,
    OneMinusLog,
    Scale,
)
from caviar.space.space import Axis, Space, SpaceError, scale_from_dict
from caviar.space.values import ScaleError

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
