"""Data modules and a model with a prepare_data of their own, which say when it is called."""

from typing import Any

from caviar.training.data import SklearnData
from caviar.training.models import MLP

calls: list[str] = []
fails: list[Exception] = []  # what the next calls raise


class Prepares(SklearnData):
    """Reads one of its arguments by its name, in a method that it calls."""

    def __init__(self, **digits: Any) -> None:
        super().__init__("digits", **digits)

    def prepare_data(self) -> None:
        calls.append(f"data {self._split()}")
        if fails:
            raise fails.pop()

    def _split(self) -> str:
        return f"split {self.split_seed}"


class PreparingModel(MLP):
    def prepare_data(self) -> None:
        calls.append("model")
