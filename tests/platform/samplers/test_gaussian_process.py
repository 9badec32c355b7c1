"""The Gaussian process against scikit-learn's, and what it learns of parameters that do nothing."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from platform.samplers.gaussian_process import GaussianProcess


def known(num: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Values that the first of four parameters decides, the third a little; noise of 0.05."""
    rng = np.random.default_rng(0)
    rows = rng.random((num, 4))
    return rows, np.sin(5 * rows[:, 0]) + 0.3 * rows[:, 2] - 0.7 + 0.05 * rng.normal(size=num)


def test_means_and_deviations_are_those_of_scikit_learn() -> None:
    rows, values = known()
    process = GaussianProcess(rows, values, np.arange(4))
    *lengths, noise, scale = np.exp(process.hyperparameters)
    oracle = GaussianProcessRegressor(
        ConstantKernel(scale, "fixed") * Matern(lengths, "fixed", nu=2.5), alpha=noise, optimizer=None
    ).fit(rows, values / values.std())
    asked = np.random.default_rng(1).random((20, 4))
    means, sds = process.predict(asked)
    expected_means, expected_sds = oracle.predict(asked, return_std=True)
    assert means == pytest.approx(expected_means * values.std(), rel=1e-4, abs=1e-6)
    assert sds == pytest.approx(expected_sds * values.std(), rel=1e-4)


def test_the_slope_of_the_fit_is_the_slope() -> None:
    rows, values = known(15)
    process = GaussianProcess(rows, values, np.array([0, 1, 3]))
    at, squares = process.hyperparameters + 0.3, process._squares_per_parameter()
    slope = approx_fprime(at, lambda x: process._loss(x, squares)[0], 1e-6)
    assert process._loss(at, squares)[1] == pytest.approx(slope, rel=1e-3)


def test_a_parameter_that_does_nothing_gets_a_long_length() -> None:
    rows, values = known()
    lengths = np.exp(GaussianProcess(rows, values, np.arange(4)).hyperparameters[:4])
    assert lengths[0] < 0.6 < 1.5 < min(lengths[1], lengths[3])


def test_a_belief_lowers_the_doubt_and_leaves_the_mean() -> None:
    rows, values = known(20)
    process = GaussianProcess(rows, values, np.arange(4))
    point = np.full((1, 4), 0.5)
    mean, sd = process.predict(point)
    believing = GaussianProcess(
        np.vstack([rows, point]), np.append(values, mean), np.arange(4), hyperparameters=process.hyperparameters
    )
    mean_after, sd_after = believing.predict(point)
    assert mean_after == pytest.approx(mean, abs=0.02)
    assert sd_after < 0.8 * sd
