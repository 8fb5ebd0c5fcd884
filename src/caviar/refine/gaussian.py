"""A Gaussian process with a Matérn 5/2 kernel and noise: exact for few points, quick for many.

    process = fitted(inputs, targets)
    process.mean(others)        # of the smooth part, elsewhere
    process.left_out_mean()     # at each input, by a process that has not seen its target
    process.kernel.noise        # variance that no smooth function explains

Equations are those of Rasmussen & Williams, "Gaussian Processes for Machine Learning" (2006). Up to
`FEW` points it is exact. Beyond, time would grow with the cube of their number and memory with its
square, so it becomes what they call projected process approximation (8.3.4), and others
deterministic training conditional: the kernel is fitted to FEW representatives of the points, and
the smooth part is a sum of kernels about them, with weights learned from all points.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

Array = NDArray[np.float64]

FEW = 400  # points: 512 take twice as long, 1000 ten times, and choose no better a region
PIECE = 256  # points at a time: pieces that fit into the processor's cache, twice as fast

# Targets have a variance of about 1, inputs a range of about 1.
LENGTHS = (0.1, 30.0)  # shorter, each point would stand alone; at 30 an axis is flat: no effect
SIGNAL = (0.05, 20.0)  # variance of the smooth part
NOISE = (1e-3, 2.0)  # variance of the rest: a little always, for the inversion; at 2 all is noise
START = (1.0, 1.0, 0.1)  # signal, each length, noise: where the ascent begins
JITTER = 1e-9  # of the signal: columns of kernels that lie close together are the same but for it


@dataclass(frozen=True)
class Kernel:
    """The covariance of targets: signal (1 + √5 r + 5/3 r²) exp(-√5 r) of two points at distance r
    in units of the lengths (eq. 4.17), and the noise of each alone."""

    signal: float
    lengths: Array
    noise: float

    def __call__(self, rows: Array, columns: Array) -> Array:
        """Of the smooth part, shapes (n, inputs), (m, inputs) → (n, m)."""
        root = np.sqrt(5 * _squares(rows / self.lengths, columns / self.lengths))
        return self.signal * (1 + root + root**2 / 3) * np.exp(-root)


def _squares(rows: Array, columns: Array) -> Array:
    """Squared distances, shape (n, m), without an array of n by m by inputs."""
    squares = -2 * rows @ columns.T
    squares += (rows**2).sum(axis=1)[:, None]
    squares += (columns**2).sum(axis=1)
    return np.maximum(squares, 0, out=squares)  # rounding may fall below


def cost(logs: Array, inputs: Array, targets: Array) -> tuple[float, Array]:
    """Negative log likelihood of the targets and its gradient (eqs. 5.8 and 5.9).

    Arguments:
        logs: natural logarithms of signal, lengths and noise, shape (inputs + 2,).
        inputs: shape (n, inputs).
        targets: shape (n,).
    """
    from scipy.linalg import lapack

    signal, lengths, noise = np.exp(logs[0]), np.exp(logs[1:-1]), np.exp(logs[-1])
    scaled = inputs / lengths
    root = np.sqrt(5 * _squares(scaled, scaled))
    decay = signal * np.exp(-root)
    slope = decay * (1 + root)  # (n, n)
    smooth = slope + decay * root**2 / 3
    covariance = smooth.copy()
    covariance[np.diag_indices_from(covariance)] += noise
    factor, _ = lapack.dpotrf(covariance, lower=1)
    half, _ = lapack.dpotri(factor, lower=1)
    inverse = np.tril(half) + np.tril(half, -1).T
    alpha = inverse @ targets
    value = targets @ alpha / 2 + np.log(np.diag(factor)).sum()
    value += len(targets) / 2 * np.log(2 * np.pi)

    outer = inverse - np.outer(alpha, alpha)
    # The derivative by log length j is 5/3 slope (a - b)² in scaled inputs a, b. Its sum over all
    # pairs with weights w is 2 (Σ a² Σ w - Σ a w b): no array of pairs by lengths.
    weights = outer * slope * (5 / 3)
    gradient = np.empty_like(logs)
    gradient[0] = (outer * smooth).sum() / 2
    gradient[1:-1] = weights.sum(axis=1) @ scaled**2 - (scaled * (weights @ scaled)).sum(axis=0)
    gradient[-1] = noise * np.trace(outer) / 2
    return float(value), gradient


def fit(inputs: Array, targets: Array) -> Kernel:
    """The kernel of greatest likelihood within the bounds, from START uphill."""
    from scipy.optimize import minimize

    count = inputs.shape[1]
    signal, length, noise = START
    start = np.log([signal, *[length] * count, noise])
    bounds = np.log([SIGNAL, *[LENGTHS] * count, NOISE])
    found = minimize(cost, start, (inputs, targets), "L-BFGS-B", jac=True, bounds=bounds)
    best = np.exp(found.x)
    return Kernel(float(best[0]), best[1:-1], float(best[-1]))


def representatives(targets: Array, few: int) -> NDArray[np.int64]:
    """Positions of the points that stand for all, ascending: all, if there are so few.

    Half are those of lowest targets, where the region is that is looked for, and half evenly spaced
    by rank among the others: as good and as bad as those are, without chance.
    """
    order = np.argsort(targets, kind="stable")
    if len(order) <= few:
        return np.sort(order)
    best, others = order[: few // 2], order[few // 2 :]
    places = np.linspace(0, len(others) - 1, few - len(best)).round().astype(int)
    return np.sort([*best, *others[places]])


class Process:
    """The process of a given kernel, which has seen its targets.

    Arguments:
        kernel: of the smooth part, and the noise.
        basis: the points whose kernels add up to the smooth part, shape (m, inputs); the inputs
            themselves make this the exact process.
        inputs: shape (n, inputs).
        targets: shape (n,).
    """

    def __init__(self, kernel: Kernel, basis: Array, inputs: Array, targets: Array) -> None:
        from scipy.linalg import cho_solve, cholesky, solve_triangular

        self.kernel = kernel
        self.basis, self.inputs, self.targets = basis, inputs, targets
        own = self.kernel(self.basis, self.basis)
        own[np.diag_indices_from(own)] += JITTER * self.kernel.signal
        self._root = cholesky(own, lower=True)
        # Linear regression on orthonormal functions, as many as points of the basis; where those
        # are the inputs, the functions' inner products are the kernel: the exact process.
        precision = self.kernel.noise * np.eye(len(basis))
        moments = np.zeros(len(basis))
        for piece, functions in self._functions():
            precision += functions @ functions.T
            moments += functions @ targets[piece]
        self._precision = cholesky(precision, lower=True)
        weights = cho_solve((self._precision, True), moments)
        self._weights = solve_triangular(self._root, weights, lower=True, trans="T")

    def mean(self, inputs: Array) -> Array:
        """Expected target, shape (m, inputs) → (m,)."""
        means = np.empty(len(inputs))
        for first in range(0, len(inputs), PIECE):
            piece = slice(first, first + PIECE)
            means[piece] = self.kernel(inputs[piece], self.basis) @ self._weights
        return means

    def deviation(self, inputs: Array) -> Array:
        """Standard deviation of the smooth part, shape (m, inputs) → (m,)."""
        from scipy.linalg import solve_triangular

        functions = solve_triangular(self._root, self.kernel(self.basis, inputs), lower=True)
        parts = solve_triangular(self._precision, functions, lower=True)
        known = self.kernel.noise * (parts**2).sum(axis=0) - (functions**2).sum(axis=0)
        return np.sqrt(np.maximum(self.kernel.signal + known, 0.0))

    def left_out_mean(self) -> Array:
        """Expected target at each input by a process without it, of the same kernel, (n,).

        In closed form: what is left over grows by the share that a target has in its own mean, as
        in any linear regression (of the exact process this is eq. 5.12).
        """
        from scipy.linalg import solve_triangular

        shares = np.empty(len(self.targets))
        for piece, functions in self._functions():
            parts = solve_triangular(self._precision, functions, lower=True)
            shares[piece] = (parts**2).sum(axis=0)
        left_over = self.targets - self.mean(self.inputs)
        return self.targets - left_over / (1 - shares)

    def _functions(self) -> Iterator[tuple[slice, Array]]:
        """Of the inputs, a piece at a time, the values of the functions, (functions, piece)."""
        from scipy.linalg import solve_triangular

        for first in range(0, len(self.inputs), PIECE):
            piece = slice(first, first + PIECE)
            across = self.kernel(self.basis, self.inputs[piece])
            yield piece, solve_triangular(self._root, across, lower=True)


def one_thread() -> AbstractContextManager[Any]:
    """While it is entered, matrices are worked on by one thread: small ones are up to ten times
    slower on several threads of a busy machine."""
    return _threads().limit(limits=1)


@functools.cache
def _threads() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401  its library has threads of its own, found once it is loaded

    return ThreadpoolController()


def fitted(inputs: Array, targets: Array, few: int = FEW) -> Process:
    """The process of the likeliest kernel.

    Arguments:
        inputs: shape (n, inputs).
        targets: shape (n,).
        few: points to learn the kernel from, and to make the basis of.
    """
    basis = representatives(targets, few)
    return Process(fit(inputs[basis], targets[basis]), inputs[basis], inputs, targets)
