"""The digits that come with scikit-learn, as a LightningDataModule."""

import torch
from lightning import LightningDataModule
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


class DigitsDataModule(LightningDataModule):
    """Three parts of 1,797 images."""

    def __init__(self, batch_size: int = 64, split: tuple[int, int, int] = (600, 600, 597)) -> None:
        super().__init__()
        self.batch_size, self.split = batch_size, split

    def setup(self, stage: str | None = None) -> None:
        images, labels = load_digits(return_X_y=True)
        data = TensorDataset(torch.tensor(images / 16).float(), torch.tensor(labels).long())
        fixed = torch.Generator().manual_seed(42)
        self.parts = random_split(data, self.split, generator=fixed)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.parts[0], self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.parts[1], 256)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(self.parts[2], 256)
