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
        calls.append(f"data split {self._split()}")
        if fails:
            raise fails.pop()

    def _split(self) -> int:
        return self.split_seed


class Renames(Prepares):
    """Keeps it under another name than that of the argument."""

    def __init__(self, split_seed: int, **digits: Any) -> None:
        super().__init__(split_seed=0, **digits)
        self._number = split_seed
        del self.split_seed

    def setup(self, stage: str | None = None) -> None:
        self.split_seed = self._number
        super().setup(stage)

    def _split(self) -> int:
        return self._number


class PreparingModel(MLP):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.save_hyperparameters()

    def prepare_data(self) -> None:
        calls.append("model")
