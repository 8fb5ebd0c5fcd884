"""The template's own models: `model=mlp`, `mlp_regressor`, `conv_net` and `char_gru`.

Yours goes into a file of its own; see the README. All dropout is by layers of nn.Dropout, also
where it is 0, so that it can be changed while a model trains.
"""

from __future__ import annotations

import math
from numbers import Integral

from torch import Tensor, nn

from caviar.base.errors import UserError, check_rules
from caviar.training.modules import Classifier, Regressor


def check_sizes(depth: int, **sizes: int) -> None:
    """Refuse layers without units, which train to the mean of the labels without a word.

    Raises:
        UserError: names the key of the config.
    """
    rules = [
        (
            name,
            size,
            isinstance(size, Integral) and size >= least,
            f"a whole number from {least} on",
        )
        for name, size, least in [("depth", depth, 0), *((n, s, 1) for n, s in sizes.items())]
    ]
    check_rules("model.", rules)


def perceptron(
    in_features: int, out_features: int, width: int, depth: int, dropout: float
) -> nn.Sequential:
    """`depth` layers of `width` ReLU units, and a linear one."""
    check_sizes(depth, width=width)
    layers: list[nn.Module] = []
    features = in_features
    for _ in range(depth):
        # A dropout of 0 does nothing, and draws nothing: the same bits as without the layer.
        layers += [nn.Linear(features, width), nn.ReLU(), nn.Dropout(dropout)]
        features = width
    return nn.Sequential(*layers, nn.Linear(features, out_features))


class MLP(Classifier):
    """Fully connected classifier.

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
        self.net = perceptron(in_features, num_classes, width, depth, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # (batch, in_features) -> (batch, num_classes)


class MLPRegressor(Regressor):
    """The same network, for numbers in the place of classes.

    Arguments:
        in_features: length of one example.
        num_outputs: numbers that it predicts.
        width: units in each hidden layer.
        depth: hidden layers; 0 is linear regression.
        dropout: share of hidden units dropped while training.
    """

    def __init__(
        self, in_features: int, num_outputs: int, width: int, depth: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.net = perceptron(in_features, num_outputs, width, depth, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # (batch, in_features) -> (batch, num_outputs)


class ConvNet(Classifier):
    """Convolutional classifier of small square images in one channel.

    A block is a convolution that keeps the size, ReLU, and 2×2 max-pooling while the image is
    larger than 2×2: 8×8 images end as 2×2 behind two blocks, and stay there behind more.

    Arguments:
        in_features: pixels of an image, which comes as one row.
        num_classes: number of logits.
        channels: of each convolution.
        depth: blocks; 0 is multinomial logistic regression.
        kernel_size: side of a convolution's window; odd.
        dropout: share of the last block's outputs dropped while training.

    Raises:
        UserError: the images are not square, or the kernel has no centre.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        channels: int,
        depth: int,
        kernel_size: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes(depth, channels=channels, kernel_size=kernel_size)
        side = math.isqrt(in_features)
        if side * side != in_features:
            raise UserError(
                f"model.in_features={in_features} pixels make no square image; use other data or "
                "another model"
            )
        if kernel_size % 2 != 1:
            raise UserError(f"model.kernel_size={kernel_size} is even; write {kernel_size + 1}")
        layers: list[nn.Module] = [nn.Unflatten(1, (1, side, side))]
        before = 1  # channels
        for _ in range(depth):
            conv = nn.Conv2d(before, channels, kernel_size, padding=kernel_size // 2)
            layers += [conv, nn.ReLU()]
            if side > 2:
                layers.append(nn.MaxPool2d(2))
                side //= 2
            before = channels
        layers += [nn.Flatten(), nn.Dropout(dropout)]
        self.net = nn.Sequential(*layers, nn.Linear(before * side * side, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # (batch, in_features) -> (batch, num_classes)


class CharGRU(Classifier):
    """Recurrent network that predicts each next character of a text.

    Its losses are nats per character; its accuracy is the share of characters predicted right.

    Arguments:
        num_symbols: of the vocabulary.
        width: length of a symbol's embedding, and units in each recurrent layer.
        depth: recurrent layers.
        dropout: share of the embedding and of each layer's outputs dropped while training.
    """

    def __init__(self, num_symbols: int, width: int, depth: int, dropout: float = 0.0) -> None:
        super().__init__()
        check_sizes(depth, width=width)
        self.embedding = nn.Embedding(num_symbols, width)
        # One by one: the dropout that nn.GRU has of its own could not be changed while it trains.
        self.layers = nn.ModuleList(nn.GRU(width, width, batch_first=True) for _ in range(depth))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_symbols)

    def forward(self, x: Tensor) -> Tensor:
        h = self.dropout(self.embedding(x))  # (batch, length) -> (batch, length, width)
        for layer in self.layers:
            h = self.dropout(layer(h)[0])
        return self.head(h).transpose(1, 2)  # (batch, num_symbols, length)
