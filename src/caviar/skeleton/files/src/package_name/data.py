"""The data: python train.py data.batch_size=64

Any LightningDataModule will do. This one splits a table into training, validation and test, and
scales its columns. Its arguments are in conf/data/package_name.yaml.
"""

from __future__ import annotations

from typing import Any

from caviar.training import DataModule
from sklearn.datasets import load_digits


class Digits(DataModule):
    """1,797 handwritten digits, each 8×8 shades of grey in a row."""

    def load(self) -> tuple[Any, Any]:
        inputs, labels = load_digits(return_X_y=True)
        return inputs, labels  # (examples, features), (examples,)
