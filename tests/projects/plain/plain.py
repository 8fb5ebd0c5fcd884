"""A plain loop over batches, without Lightning.

python train.py experiment=plain
"""

from typing import Any

import torch
from sklearn.datasets import load_iris
from torch import nn
from torch.nn.functional import cross_entropy

from caviar.plain import report


def train(config: Any) -> None:
    """Learn irises; the loss on the last third counts."""
    torch.manual_seed(config.seed)
    inputs, labels = (torch.as_tensor(values) for values in load_iris(return_X_y=True))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    inputs, labels = inputs.float()[order], labels[order]
    training, validation = slice(100), slice(100, None)

    width, lr = config.model.width, config.optimizer.lr
    model = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr, config.optimizer.momentum)
    for epoch in range(config.epochs):
        for rows in torch.randperm(100).split(10):
            loss = cross_entropy(model(inputs[training][rows]), labels[training][rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            report(epoch, cross_entropy(model(inputs[validation]), labels[validation]).item())
