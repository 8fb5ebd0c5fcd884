"""Functional ANOVA of a random forest, exactly, on unit coordinates.

    forest = Forest(space, units, scores, seed=0)
    forest.shares()             # of the variance, by each axis alone
    forest.interaction(0, 1)    # by two axes together, beyond what each does alone
    forest.surface(0, 1, grid)  # the mean over all other axes, as a map

Hutter, Hoos & Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance" (ICML
2014). A tree is constant on boxes, so a mean over some axes is a sum over its leaves of value
times volume: a matrix product. Optuna's evaluator gives the same shares from the same forest (a
test holds them against one another), but neither interactions nor maps, and takes several times as
long (figures in `importance`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caviar.refine.surrogate import features
from caviar.space import Choice, Space

Array = NDArray[np.float64]

TREES = 16  # of the forest; time grows with it, and its spread is small beside that of the trials
DEPTH = 6  # of a tree, up to 64 leaves; deeper ones learn the noise, and take long


@dataclass(frozen=True)
class _Tree:
    """A tree's leaves."""

    values: Array  # (leaves,)
    low: Array  # (leaves, columns): a leaf holds what is above,
    high: Array  # and not above


class Forest:
    """A forest that has learned the scores of trials, and what explains them.

    Arguments:
        space: of the first stage.
        units: the trials, shape (n, axes); may lie outside of [0, 1], where a stage has grown.
        scores: shape (n,).
        seed: of the forest.
    """

    def __init__(self, space: Space, units: Array, scores: Array, seed: int) -> None:
        from sklearn.ensemble import RandomForestRegressor

        self.space = space
        self.columns = _columns(space)
        inputs = features(space, units)
        fitted = RandomForestRegressor(TREES, max_depth=DEPTH, random_state=seed)
        fitted.fit(inputs, scores)
        # The box that means are taken over: the first stage's, and what later stages grew beyond.
        ends = np.array([np.minimum(inputs.min(0), 0.0), np.maximum(inputs.max(0), 1.0)])
        self.ends = ends  # (2, columns)
        trees = [_leaves(e.tree_, ends) for e in fitted.estimators_]
        # A lone leaf explains nothing, and has no variance to take a share of.
        self._trees = [tree for tree in trees if len(tree.values) > 1]

    def shares(self) -> Array:
        """Share of the variance that each axis explains by itself, shape (axes,)."""
        return np.mean([self._main(t) for t in self._trees] or [np.zeros(len(self.space))], axis=0)

    def interaction(self, one: int, other: int) -> float:
        """Share of the variance that two axes explain together, beyond what each does alone."""
        return float(np.mean([self._pair(t, one, other) for t in self._trees] or [0.0]))

    def surface(self, one: int, other: int, across: Array, up: Array) -> Array:
        """Mean score over all other axes, shape (len(up), len(across)).

        Arguments:
            one: the axis across, by position.
            other: the axis up.
            across: unit coordinates.
            up: unit coordinates.
        """
        mean = np.zeros((len(up), len(across)))
        for tree in self._trees:
            lengths = self._cut(tree)[2]
            weights = tree.values * np.delete(lengths, [one, other], axis=1).prod(axis=1)
            inside = self._inside(tree, other, up), self._inside(tree, one, across)
            mean += (inside[0] * weights[:, None]).T @ inside[1]
        return mean / max(1, len(self._trees))

    def _main(self, tree: _Tree) -> Array:
        """Share of a tree's variance that each axis explains by itself, shape (axes,)."""
        inside, widths, lengths = self._cut(tree)
        variance = _variance(tree.values, lengths.prod(axis=1))
        shares = np.empty(len(self.space))
        for j, held in enumerate(inside):
            weights = tree.values * np.delete(lengths, j, axis=1).prod(axis=1)
            shares[j] = _variance(weights @ held, widths[j]) / variance
        return shares

    def _pair(self, tree: _Tree, one: int, other: int) -> float:
        """Share of a tree's variance that two axes explain together only."""
        inside, widths, lengths = self._cut(tree)
        wide, tall = widths[one], widths[other]
        weights = tree.values * np.delete(lengths, [one, other], axis=1).prod(axis=1)
        both = (inside[one] * weights[:, None]).T @ inside[other]  # (across, up)
        # The mean over both is in each of the two main effects, so it is taken off once.
        alone = (both @ tall)[:, None] + (wide @ both)[None, :] - wide @ both @ tall
        area = np.outer(wide, tall)
        return _variance((both - alone).ravel(), area.ravel()) / _variance(
            tree.values, lengths.prod(axis=1)
        )

    def _cut(self, tree: _Tree) -> tuple[list[Array], list[Array], Array]:
        """By axis, which leaf holds which of the pieces that the tree cuts it into, (leaves,
        pieces), and their widths, (pieces,); and each leaf's share of each axis, (leaves, axes)."""
        parts = [self._segments(tree, j) for j in range(len(self.space))]
        inside = [self._inside(tree, j, middles) for j, (middles, _) in enumerate(parts)]
        widths = [w for _, w in parts]
        lengths = np.column_stack([held @ w for held, w in zip(inside, widths, strict=True)])
        return inside, widths, lengths

    def _segments(self, tree: _Tree, j: int) -> tuple[Array, Array]:
        """The pieces that a tree cuts an axis into: a point in each, and their shares of it."""
        columns = self.columns[j]
        count = columns.stop - columns.start
        if count > 1:  # one column a value: each value has the same share of the axis
            return (np.arange(count) + 0.5) / count, np.full(count, 1 / count)
        # A tree is constant between neighbouring cuts, so one point in each piece stands for it.
        cuts = np.unique([*tree.low[:, columns.start], *tree.high[:, columns.start]])
        widths = np.diff(cuts)
        return (cuts[1:] + cuts[:-1]) / 2, widths / widths.sum()

    def _inside(self, tree: _Tree, j: int, points: Array) -> Array:
        """Whether each leaf holds each point of an axis, shape (leaves, points)."""
        columns = self.columns[j]
        count = columns.stop - columns.start
        inputs = points[:, None]  # (points, columns)
        if count > 1:
            inputs = np.equal.outer(np.floor(points * count), np.arange(count)).astype(float)
        above = inputs[None] > tree.low[:, None, columns]
        above |= tree.low[:, None, columns] == self.ends[0, columns]  # ends belong to the box
        return (above & (inputs[None] <= tree.high[:, None, columns])).all(axis=2).astype(float)


def _columns(space: Space) -> list[slice]:
    """Where each axis lies among a model's inputs: an unordered choice has a column a value."""
    columns, start = [], 0
    for axis in space:
        scale = axis.scale
        count = len(scale.values) if isinstance(scale, Choice) and not scale.ordered else 1
        columns.append(slice(start, start + count))
        start += count
    return columns


def _leaves(tree: Any, ends: Array) -> _Tree:
    """The boxes of a fitted tree of scikit-learn's, from its root, which is the box `ends`."""
    values, lows, highs = [], [], []
    waiting = [(0, ends[0], ends[1])]
    while waiting:
        node, low, high = waiting.pop()
        column = tree.feature[node]
        if column < 0:  # a leaf
            values.append(tree.value[node].item())
            lows.append(low)
            highs.append(high)
            continue
        left, right = high.copy(), low.copy()
        left[column] = right[column] = tree.threshold[node]
        waiting += [(tree.children_left[node], low, left), (tree.children_right[node], right, high)]
    return _Tree(np.array(values), np.array(lows), np.array(highs))


def _variance(values: Array, weights: Array) -> float:
    """Variance under weights whose sum is 1."""
    mean = values @ weights
    return float((values - mean) ** 2 @ weights)
