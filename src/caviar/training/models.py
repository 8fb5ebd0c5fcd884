"""The template's own models. Yours goes into a file of its own; see the README."""

from __future__ import annotations

from torch import Tensor, nn

from caviar.training.modules import Classifier


class MLP(Classifier):
    """Fully connected classifier: `depth` hidden layers of `width` ReLU units.

    Arguments:
        in_features: length of one example.
        num_classes: number of logits.
        width: units in each hidden layer.
        depth: hidden layers; 0 is multinomial logistic regression.
        dropout: share of hidden units dropped while training.
    """

    def __init__(
        self, in_features: int, num_classes: int, width: int, depth: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        features = in_features
        for _ in range(depth):
            # Dropout of 0 does nothing, and draws nothing; it is there to be changed.
            layers += [nn.Linear(features, width), nn.ReLU(), nn.Dropout(dropout)]
            features = width
        self.net = nn.Sequential(*layers, nn.Linear(features, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # (batch, in_features) -> (batch, num_classes)
