"""SMAC3: its random forest proposes one trial after the other."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import joblib
from ConfigSpace import (
    CategoricalHyperparameter,
    ConfigurationSpace,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from smac import HyperparameterOptimizationFacade, Scenario
from smac.runhistory import TrialInfo, TrialValue

from caviar.space import Axis, Choice, Integer, Space

logging.getLogger("smac").setLevel(logging.ERROR)


class Forest:
    """A search of so many trials in search coordinates, by SMAC3's own defaults.

    A quarter of them, ten for each axis at most, are Sobol points. So it must be told how many
    there will be: told of a thousand, it would draw 80 such points for eight axes.

    It is the same once more where PYTHONHASHSEED is the same.
    """

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        self.space = space
        configs = ConfigurationSpace(seed=seed)
        configs.add([_parameter(axis) for axis in space])
        with tempfile.TemporaryDirectory() as folder:  # written to now, and not when it is told
            scenario = Scenario(
                configs,
                deterministic=True,
                n_trials=trials,
                seed=seed,
                output_directory=Path(folder),
            )
            self.smac = HyperparameterOptimizationFacade(scenario, logging_level=False)
        self.asked: TrialInfo | None = None

    def ask(self) -> tuple[Any, ...]:
        """The next point, by the space's order."""
        with joblib.parallel_config("sequential"):  # its forest takes every core otherwise
            self.asked = self.smac.ask()
        return tuple(_value(axis, self.asked.config[axis.name]) for axis in self.space)

    def tell(self, loss: float) -> None:
        """Of the point that was asked for last."""
        assert self.asked is not None
        self.smac.tell(self.asked, TrialValue(cost=loss), save=False)


def _parameter(axis: Axis) -> Any:
    """The same for SMAC3. A choice is among places in its list, whatever the values are."""
    name, scale = axis.name, axis.scale
    if isinstance(scale, Choice):
        places = range(len(scale.values))
        ordered = OrdinalHyperparameter if scale.ordered else CategoricalHyperparameter
        return ordered(name, list(places))
    kind = (
        UniformIntegerHyperparameter if isinstance(scale, Integer) else UniformFloatHyperparameter
    )
    return kind(name, scale.low, scale.high, log=scale.logarithmic)


def _value(axis: Axis, found: Any) -> Any:
    if isinstance(axis.scale, Choice):
        return axis.scale.values[int(found)]
    return int(found) if isinstance(axis.scale, Integer) else float(found)
