"""Functional ANOVA of a random forest, exactly, on unit coordinates.

    forest = Forest(space, units, scores, seed=0)
    forest.main_effects()          # of each axis alone, at trials that the trees have not seen
    forest.interaction(0, 1)       # of two axes together, there, beyond what each does alone
    forest.surface(0, 1, *places)  # the mean over all other axes, as a map
    forest.shares()                # of the trees' variance: fANOVA as published, chance included

Hutter, Hoos & Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance" (ICML
2014). A tree is constant on boxes, so a mean over some axes is a sum over its leaves of value
times volume: a matrix product. Optuna's evaluator gives the same shares from the same forest (a
test holds them against one another), but neither effects nor maps, and takes several times as long
(figures in `importance`).

The published share is of the variance of the trees. They fit noise as well, and share that out
among the axes: of two axes without effect, each has 36 % at 54 trials. Each tree has left out about
a third of the trials (Breiman, "Random Forests", Machine Learning 2001), and what it has learned of
noise says nothing of those.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """A tree's leaves, and the trials that it has not seen."""

    values: Array  # (leaves,)
    low: Array  # (leaves, columns): a leaf holds what is above,
    high: Array  # and not above
    left_out: NDArray[np.int64]  # positions of trials


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
        self._units = units
        # The box that means are taken over: the first stage's, and what later stages grew beyond.
        ends = np.array([np.minimum(inputs.min(0), 0.0), np.maximum(inputs.max(0), 1.0)])
        self.ends = ends  # (2, columns)
        trees = [
            _leaves(fit.tree_, ends, np.setdiff1d(np.arange(len(scores)), seen))
            for fit, seen in zip(fitted.estimators_, fitted.estimators_samples_, strict=True)
        ]
        # A lone leaf explains nothing, and has no variance to take a share of.
        self._trees = [tree for tree in trees if len(tree.values) > 1]

    def main_effects(self) -> Array:
        """What each axis by itself adds to the mean score at each trial, shape (n, axes)."""
        return self._effects([[j] for j in range(len(self.space))])

    def interaction(self, one: int, other: int) -> Array:
        """What two axes add at each trial together, beyond what each does alone, shape (n,)."""
        alone_one, alone_other, both = self._effects([[one], [other], [one, other]]).T
        return both - alone_one - alone_other

    def shares(self) -> Array:
        """Share of the trees' variance that each axis explains by itself, shape (axes,)."""
        return np.mean([self._main(t) for t in self._trees] or [np.zeros(len(self.space))], axis=0)

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

    def _effects(self, groups: Sequence[Sequence[int]]) -> Array:
        """The mean over all axes but a group's, less the mean over all: shape (n, groups).

        At each trial by the trees that have left it out, on average; 0 if none has.
        """
        total, left_out = np.zeros((len(self._units), len(groups))), np.zeros(len(self._units))
        for tree in self._trees:
            lengths, units = self._cut(tree)[2], self._units[tree.left_out]
            mean = tree.values @ lengths.prod(axis=1)
            for i, group in enumerate(groups):
                weights = tree.values * np.delete(lengths, group, axis=1).prod(axis=1)
                inside = np.prod([self._inside(tree, j, units[:, j]) for j in group], axis=0)
                total[tree.left_out, i] += weights @ inside - mean
            left_out[tree.left_out] += 1
        return total / np.maximum(left_out, 1)[:, None]

    def _main(self, tree: _Tree) -> Array:
        """Share of a tree's variance that each axis explains by itself, shape (axes,)."""
        inside, widths, lengths = self._cut(tree)
        variance = _variance(tree.values, lengths.prod(axis=1))
        shares = np.empty(len(self.space))
        for j, held in enumerate(inside):
            weights = tree.values * np.delete(lengths, j, axis=1).prod(axis=1)
            shares[j] = _variance(weights @ held, widths[j]) / variance
        return shares

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


def _leaves(tree: Any, ends: Array, left_out: NDArray[np.int64]) -> _Tree:
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
    return _Tree(np.array(values), np.array(lows), np.array(highs), left_out)


def _variance(values: Array, weights: Array) -> float:
    """Variance under weights whose sum is 1."""
    mean = values @ weights
    return float((values - mean) ** 2 @ weights)
