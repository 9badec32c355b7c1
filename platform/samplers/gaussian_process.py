"""Gaussian process regression.

Axes: N known points, M points to predict, P parameters, C columns (a categorical parameter takes several).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize

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
        self._squares = self._squares_to(rows_NC)
        self._length_prior = math.log(0.5) + 0.25 * math.log(len(starts_P))
        self.hyperparameters = self._fit() if hyperparameters is None else hyperparameters
        self._factor, self._weights, _ = self._solve(self.hyperparameters)

    def predict(self, rows_MC: Array) -> tuple[Array, Array]:
        """Return the posterior mean and standard deviation of the noise-free value at each row."""
        kernel_MN, _, _ = _matern(self._squares_to(rows_MC), self.hyperparameters)
        explained_NM = solve_triangular(self._factor, kernel_MN.T, lower=True)
        variance_M = math.exp(self.hyperparameters[-1]) - (explained_NM**2).sum(0)
        return kernel_MN @ self._weights * self._unit, np.sqrt(np.maximum(variance_M, 1e-10)) * self._unit

    def _squares_to(self, rows_MC: Array) -> Array:
        """Return the squared distances to the known points per parameter, of shape (M, N, P)."""
        columns: Array = (rows_MC[:, None, :] - self._rows[None, :, :]) ** 2
        return np.add.reduceat(columns, self._starts, axis=2)

    def _fit(self) -> Array:
        """Return the hyperparameters of highest posterior density: log length scales, log noise, log scale."""
        num_parameters = len(self._starts)
        first = np.array([*[self._length_prior] * num_parameters, math.log(FIRST_NOISE), math.log(SCALE_PRIOR)])
        bounds = [*[LENGTHS] * num_parameters, NOISES, SCALES]
        found = minimize(
            self._loss, first, jac=True, method="L-BFGS-B", bounds=np.log(bounds), options={"maxiter": MOST_STEPS}
        )
        return np.asarray(found.x)

    def _loss(self, hyperparameters: Array) -> tuple[float, Array]:
        """Return the negative log posterior density, up to a constant, and its gradient."""
        factor, weights, (kernel, slope, smooth) = self._solve(hyperparameters)
        inverse = cho_solve((factor, True), np.eye(len(factor)))
        outer = 0.5 * (inverse - np.outer(weights, weights))
        loss = 0.5 * self._values @ weights + np.log(np.diag(factor)).sum()
        lengths = np.exp(-2 * hyperparameters[:-2])
        gradient = np.array(
            [
                *np.tensordot(outer * slope * smooth, self._squares, 2) * lengths,
                math.exp(hyperparameters[-2]) * np.trace(outer),
                (outer * kernel).sum(),
            ]
        )
        centers = [*[self._length_prior] * len(lengths), math.log(NOISE_PRIOR), math.log(SCALE_PRIOR)]
        sds = np.array([*[LENGTH_PRIOR_SD] * len(lengths), NOISE_PRIOR_SD, SCALE_PRIOR_SD])
        away = (hyperparameters - centers) / sds
        return float(loss + 0.5 * away @ away), gradient + away / sds

    def _solve(self, hyperparameters: Array) -> tuple[Array, Array, Sequence[Array]]:
        """Return the Cholesky factor of the covariance, its inverse times the values, and the parts of the kernel."""
        parts = _matern(self._squares, hyperparameters)
        covariance = parts[0].copy()
        covariance[np.diag_indices_from(covariance)] += math.exp(hyperparameters[-2]) + JITTER
        factor = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
        return factor, cho_solve((factor, True), self._values), parts


def _matern(squares: Array, hyperparameters: Array) -> tuple[Array, Array, Array]:
    """Return the kernel and two factors of its derivative.

    The derivative by the logarithm of a length scale is the product of both factors and squares / length^2.
    """
    distance = math.sqrt(5) * np.sqrt(squares @ np.exp(-2 * hyperparameters[:-2]) + 1e-12)
    decay = math.exp(hyperparameters[-1]) * np.exp(-distance)
    return (1 + distance + distance**2 / 3) * decay, 5 / 3 * (1 + distance), decay
