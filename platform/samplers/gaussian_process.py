"""Gaussian process regression.

Axes: N known points, M points to predict, P parameters, C columns (a categorical parameter takes several).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

Array = NDArray[np.float64]

MOST_STEPS = 10  # of the optimizer, which starts at the centers of the priors; more steps did not change any search
JITTER = 1e-8
# Log-normal priors of the hyperparameters, and their bounds. A length scale of 1 is the whole range of a parameter;
# noise and scale are variances, relative to the variance of the values.
LENGTH_PRIOR_SD, LENGTHS = 1.0, (0.05, 20.0)
NOISE_PRIOR, NOISE_PRIOR_SD, NOISES = 0.02, 1.5, (1e-4, 1.0)
SCALE_PRIOR, SCALE_PRIOR_SD, SCALES = 1.0, 1.0, (0.05, 10.0)
FIRST_NOISE = 0.05


class GaussianProcess:
    """A zero-mean Gaussian process with a Matern 5/2 kernel, one length scale per parameter, and observation noise.

    Equations 2.25, 2.26, 4.17 and 5.9 of Rasmussen and Williams 2006. The hyperparameters maximize the posterior
    density. The prior median of a length scale grows with the fourth root of the number of parameters, because among
    many parameters each one matters less; in Hvarfner et al. 2024 it grows with the square root.

    Args:
        rows_NC: the known points.
        values_N: their values, which should have a mean near zero.
        starts_P: the first column of each parameter.
        hyperparameters: of another process, used unchanged; None: fit them to the values.
    """

    def __init__(
        self, rows_NC: Array, values_N: Array, starts_P: NDArray[Any], *, hyperparameters: Array | None = None
    ) -> None:
        self._rows, self._starts = rows_NC, starts_P
        self._unit = max(float(values_N.std()), 1e-12)
        self._values = values_N / self._unit
        self._length_prior = math.log(0.5) + 0.25 * math.log(len(starts_P))
        self.hyperparameters = self._fit() if hyperparameters is None else hyperparameters
        kernel_NN, _, _ = _matern(self._squares_to(rows_NC), self.hyperparameters)
        self._factor, self._weights = self._solve(kernel_NN, self.hyperparameters)

    def predict(self, rows_MC: Array) -> tuple[Array, Array]:
        """Return the posterior mean and standard deviation of the noise-free value at each row."""
        kernel_MN, _, _ = _matern(self._squares_to(rows_MC), self.hyperparameters)
        explained_NM = solve_triangular(self._factor, kernel_MN.T, lower=True)
        variance_M = math.exp(self.hyperparameters[-1]) - (explained_NM**2).sum(0)
        return kernel_MN @ self._weights * self._unit, np.sqrt(np.maximum(variance_M, 1e-10)) * self._unit

    def _squares_to(self, rows_MC: Array) -> Array:
        """Return the squared distances to the known points, in length scales, of shape (M, N)."""
        widths_P = np.diff([*self._starts, rows_MC.shape[1]])
        scales_C = np.repeat(np.exp(-self.hyperparameters[:-2]), widths_P)
        return np.asarray(cdist(rows_MC * scales_C, self._rows * scales_C, "sqeuclidean"))

    def _fit(self) -> Array:
        """Return the hyperparameters of highest posterior density: log length scales, log noise, log scale."""
        num_parameters = len(self._starts)
        first = np.array([*[self._length_prior] * num_parameters, math.log(FIRST_NOISE), math.log(SCALE_PRIOR)])
        bounds = np.log([*[LENGTHS] * num_parameters, NOISES, SCALES])
        steps = {"maxiter": MOST_STEPS}
        found = minimize(
            self._loss, first, self._squares_per_parameter(), jac=True, method="L-BFGS-B", bounds=bounds, options=steps
        )
        return np.asarray(found.x)

    def _squares_per_parameter(self) -> Array:
        """Return the squared distances between the known points in each parameter, of shape (N, N, P)."""
        columns_NNC: Array = (self._rows[:, None, :] - self._rows[None, :, :]) ** 2
        return np.add.reduceat(columns_NNC, self._starts, axis=2)

    def _loss(self, hyperparameters: Array, squares_NNP: Array) -> tuple[float, Array]:
        """Return the negative log posterior density, up to a constant, and its gradient."""
        lengths = np.exp(-2 * hyperparameters[:-2])
        kernel, slope, smooth = _matern(squares_NNP @ lengths, hyperparameters)
        factor, weights = self._solve(kernel, hyperparameters)
        inverse = cho_solve((factor, True), np.eye(len(factor)))
        outer = 0.5 * (inverse - np.outer(weights, weights))
        loss = 0.5 * self._values @ weights + np.log(np.diag(factor)).sum()
        gradient = np.array(
            [
                *np.tensordot(outer * slope * smooth, squares_NNP, 2) * lengths,
                math.exp(hyperparameters[-2]) * np.trace(outer),
                (outer * kernel).sum(),
            ]
        )
        centers = [*[self._length_prior] * len(lengths), math.log(NOISE_PRIOR), math.log(SCALE_PRIOR)]
        sds = np.array([*[LENGTH_PRIOR_SD] * len(lengths), NOISE_PRIOR_SD, SCALE_PRIOR_SD])
        away = (hyperparameters - centers) / sds
        return float(loss + 0.5 * away @ away), gradient + away / sds

    def _solve(self, kernel_NN: Array, hyperparameters: Array) -> tuple[Array, Array]:
        """Return the Cholesky factor of the covariance, and its inverse times the values."""
        covariance = kernel_NN.copy()
        covariance[np.diag_indices_from(covariance)] += math.exp(hyperparameters[-2]) + JITTER
        factor = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
        return factor, cho_solve((factor, True), self._values)


def _matern(squares: Array, hyperparameters: Array) -> tuple[Array, Array, Array]:
    """Return the kernel and two factors of its derivative.

    The derivative by the logarithm of a length scale is the product of both factors and squares / length^2.

    Args:
        squares: squared distances, in length scales.
    """
    distance = math.sqrt(5) * np.sqrt(squares + 1e-12)
    decay = math.exp(hyperparameters[-1]) * np.exp(-distance)
    return (1 + distance + distance**2 / 3) * decay, 5 / 3 * (1 + distance), decay
