"""Small images of four kinds of stripes, drawn once and kept in a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split

SIZE = 8
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))  # of the stripes, by class


class StripesDataModule(LightningDataModule):
    """Arguments: the file's folder, the noise, images of each part, and what a loader takes."""

    def __init__(
        self,
        data_dir: str,
        noise: float = 0.5,
        lengths: Sequence[int] = (240, 80, 80),
        batch_size: int = 32,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.path = Path(data_dir) / f"stripes-{sum(lengths)}-{noise}.npz"
        self.parts: list[Dataset[Any]] = []

    @property
    def num_classes(self) -> int:
        return len(DIRECTIONS)

    def prepare_data(self) -> None:
        if self.path.exists():
            return
        rng = np.random.default_rng(0)
        count = sum(self.hparams.lengths)
        labels = rng.integers(len(DIRECTIONS), size=count)
        rows, columns = np.mgrid[:SIZE, :SIZE]
        down, right = np.array(DIRECTIONS)[labels].T[..., None, None]  # (count, 1, 1) each
        stripes = np.sin(2 * np.pi * (down * rows + right * columns) / 4)
        noise = self.hparams.noise * rng.normal(size=stripes.shape)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(self.path, images=(stripes + noise).astype(np.float32), labels=labels)

    def setup(self, stage: str | None = None) -> None:
        if self.parts:
            return
        kept = np.load(self.path)
        images, labels = torch.from_numpy(kept["images"])[:, None], torch.from_numpy(kept["labels"])
        generator = torch.Generator().manual_seed(42)
        every = TensorDataset(images, labels)
        self.parts = list(random_split(every, self.hparams.lengths, generator=generator))

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(0, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(1, shuffle=False)

    def test_dataloader(self) -> DataLoader[Any]:
        return self._loader(2, shuffle=False)

    def _loader(self, part: int, shuffle: bool) -> DataLoader[Any]:
        return DataLoader(
            self.parts[part],
            batch_size=self.hparams.batch_size,
            num_workers=self.hparams.num_workers,
            pin_memory=self.hparams.pin_memory,
            shuffle=shuffle,
        )
