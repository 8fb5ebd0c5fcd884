"""The Gaussian process behind refine: against finite differences, scikit-learn and brute force."""

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from threadpoolctl import threadpool_limits

from caviar.refine.gaussian import (
    LENGTHS,
    NOISE,
    SIGNAL,
    START,
    Kernel,
    Process,
    cost,
    fitted,
    representatives,
)
from caviar.refine.surrogate import normal_scores

AXES = 4
seeds = pytest.mark.parametrize("seed", range(3))


def trials(count, seed=0):
    """Inputs, losses and their scores; two axes matter, and one trial in five diverged."""
    rng = np.random.default_rng(seed)
    inputs = rng.random((count, AXES))
    loss = (inputs[:, 0] - 0.4) ** 2 + 0.5 * inputs[:, 1] + 0.1 * rng.standard_normal(count)
    loss[inputs[:, 0] > 0.8] = np.inf
    return inputs, loss, normal_scores(loss)


def drawn_logs(seed):
    """Of signal, lengths and noise, within their bounds."""
    return np.random.default_rng(seed).uniform(*np.log([SIGNAL, *[LENGTHS] * AXES, NOISE]).T)


def kernel_of(logs):
    return Kernel(np.exp(logs[0]), np.exp(logs[1:-1]), np.exp(logs[-1]))


def theirs(logs, **options):
    """The same process of scikit-learn's."""
    signal, lengths, noise = np.exp(logs[0]), np.exp(logs[1:-1]), np.exp(logs[-1])
    smooth = ConstantKernel(signal, SIGNAL) * Matern(lengths, LENGTHS, nu=2.5)
    return GaussianProcessRegressor(smooth + WhiteKernel(noise, NOISE), **options)


@seeds
def test_the_gradient_is_that_of_finite_differences(seed):
    inputs, _, targets = trials(30, seed)
    logs, step = drawn_logs(seed), 1e-5
    ahead, behind = (
        [cost(logs + move, inputs, targets)[0] for move in way * step * np.eye(len(logs))]
        for way in (1, -1)
    )
    numeric = np.subtract(ahead, behind) / (2 * step)
    assert cost(logs, inputs, targets)[1] == pytest.approx(numeric, rel=1e-5, abs=1e-5)


@seeds
def test_likelihood_and_mean_are_those_of_scikit_learn(seed):
    inputs, _, targets = trials(40, seed)
    elsewhere = np.random.default_rng(seed).random((1000, AXES))
    logs = drawn_logs(seed)
    other = theirs(logs, optimizer=None).fit(inputs, targets)
    assert -cost(logs, inputs, targets)[0] == pytest.approx(other.log_marginal_likelihood_value_)
    ours = Process(kernel_of(logs), inputs, inputs, targets)
    assert ours.mean(elsewhere) == pytest.approx(other.predict(elsewhere), abs=1e-5)


@seeds
@pytest.mark.filterwarnings("ignore:The optimal value found")  # at a bound: no effect
def test_the_fit_is_no_less_likely_than_scikit_learns(seed):
    inputs, _, targets = trials(60, seed)
    start = np.log([START[0], *[START[1]] * AXES, START[2]])
    other = theirs(start).fit(inputs, targets)
    found = fitted(inputs, targets).kernel
    logs = np.log([found.signal, *found.lengths, found.noise])
    assert -cost(logs, inputs, targets)[0] > other.log_marginal_likelihood_value_ - 1e-4


@seeds
@pytest.mark.parametrize("few", [25, 10])  # the exact process, and one of fewer points
def test_left_out_means_are_those_of_processes_without_the_trial(seed, few):
    inputs, _, targets = trials(25, seed)
    kernel, basis = kernel_of(drawn_logs(seed)), inputs[representatives(targets, few)]
    found = Process(kernel, basis, inputs, targets).left_out_mean()
    for i in range(len(targets)):
        rest = np.arange(len(targets)) != i
        without = Process(kernel, basis, inputs[rest], targets[rest])
        assert found[i] == pytest.approx(without.mean(inputs[[i]])[0], abs=1e-6)


@seeds
def test_few_points_stand_for_many(seed):
    inputs, _, targets = trials(300, seed)
    elsewhere = np.random.default_rng(seed).random((500, AXES))
    exact = fitted(inputs, targets)
    quick = Process(exact.kernel, inputs[representatives(targets, 100)], inputs, targets)
    assert np.corrcoef(exact.mean(elsewhere), quick.mean(elsewhere))[0, 1] > 0.99
    assert np.corrcoef(exact.left_out_mean(), quick.left_out_mean())[0, 1] > 0.99


@pytest.mark.parametrize("few", [1, 7, 39, 40, 41])
def test_representatives_are_the_best_and_some_of_all_the_others(few):
    _, _, targets = trials(40)
    chosen = representatives(targets, few)
    assert chosen.tolist() == sorted({*chosen.tolist()})
    assert len(chosen) == min(few, 40)
    best = np.argsort(targets, kind="stable")
    assert {*best[: few // 2]} <= {*chosen}
    assert few == 1 or targets[chosen].max() == targets.max()


def test_memory_is_linear_in_the_number_of_trials():
    count = 4000
    inputs, loss, _ = trials(count)
    tracemalloc.start()
    fitted(inputs, normal_scores(loss), few=50).left_out_mean()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < count**2 * 8 / 10


MEANS = """
import numpy as np
from caviar.refine.surrogate import Surrogate
from caviar.space import Axis, Log, Space

units = np.random.default_rng(0).random((400, 4))
model = Surrogate(Space(tuple(Axis(f"x{j}", Log(1e-4, 1.0)) for j in range(4))), units, units[:, 0])
print(model.left_out_mean().tolist(), model.mean(units / 2).tolist())
"""


def test_threads_change_nothing(capsys):
    printed = []
    for threads in 1, 4:
        with threadpool_limits(threads):
            exec(MEANS, {})
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


@pytest.mark.slow
def test_threads_change_nothing_where_refine_is_the_first_to_load_scipy():
    printed = []
    for threads in "14":
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", MEANS]
        printed.append(subprocess.check_output(command, env=environment))
    assert printed[0] == printed[1]


def test_deviation_is_that_of_the_textbook():
    rng = np.random.default_rng(3)
    inputs, others = rng.random((40, 3)), rng.random((7, 3))
    kernel = Kernel(1.3, np.array([0.4, 0.9, 3.0]), 0.2)
    process = Process(kernel, inputs, inputs, np.sin(4 * inputs[:, 0]))
    # Rasmussen & Williams, eq. 2.26.
    across = kernel(others, inputs)
    whole = kernel(inputs, inputs) + 0.2 * np.eye(40)
    variance = 1.3 - np.einsum("ij,ij->i", across, np.linalg.solve(whole, across.T).T)
    assert process.deviation(others) == pytest.approx(np.sqrt(variance), abs=1e-6)
    assert process.deviation(others + 50) == pytest.approx(np.sqrt(1.3), rel=1e-6)
