"""The model: python train.py model.width=128 model.dropout=0.2

Any LightningModule will do, with its own losses and optimizers. A `Classifier` has cross-entropy,
accuracy and the optimizer of conf/optimizer/. Its arguments are in conf/model/package_name.yaml.
"""

from __future__ import annotations

from caviar.training import Classifier
from torch import Tensor, nn


class Net(Classifier):
    """One hidden layer.

    Arguments:
        num_features: columns of the table.
        num_classes: of the labels.
        width: hidden units.
        dropout: share of them that is left out while training.
    """

    def __init__(self, num_features: int, num_classes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(num_features, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)  # (batch, num_features) -> (batch, num_classes)
        return logits
