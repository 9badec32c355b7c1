"""A Gaussian process: what values at new points are to be expected, and how surely.

Axes: N points known, M points asked about, P parameters, C columns that parameters take.
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

MOST_STEPS = 10  # of the fit; it starts at the priors' centres, and more changed no search
JITTER = 1e-8
# Normal priors of the logarithms, and the ends of the search for them: length scales in ranges of a parameter,
# variances in those of the values.
LENGTH_PRIOR_SD, LENGTHS = 1.0, (0.05, 20.0)
NOISE_PRIOR, NOISE_PRIOR_SD, NOISES = 0.02, 1.5, (1e-4, 1.0)
SCALE_PRIOR, SCALE_PRIOR_SD, SCALES = 1.0, 1.0, (0.05, 10.0)
FIRST_NOISE = 0.05


class GaussianProcess:
    """Values of mean zero under a Matern 5/2 kernel with a length scale per parameter, and noise.

    Rasmussen and Williams 2006, equations 2.25, 2.26, 4.17 and 5.9. Length scales, noise and scale are those of highest
    posterior density. The prior of a length scale grows with the square root of the square root of the number of
    parameters: with many, one alone seldom decides (Hvarfner et al. 2024 let it grow with the square root).
    """

    def __init__(
        self, rows_NC: Array, values_N: Array, starts_P: NDArray[Any], *, hyperparameters: Array | None = None
    ) -> None:
        """Fit to the values; with `hyperparameters` of another process only take the values in.

        Args:
            starts_P: the first column of each parameter.
        """
        self._rows, self._starts = rows_NC, starts_P
        self._unit = max(float(values_N.std()), 1e-12)
        self._values = values_N / self._unit
        self._squares = self._squares_to(rows_NC)
        self._length_prior = math.log(0.5) + 0.25 * math.log(len(starts_P))
        self.hyperparameters = self._fitted() if hyperparameters is None else hyperparameters
        self._factor, self._weights, _ = self._solved(self.hyperparameters)

    def predict(self, rows_MC: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value without noise at each row."""
        kernel_MN, _, _ = _matern(self._squares_to(rows_MC), self.hyperparameters)
        explained_NM = solve_triangular(self._factor, kernel_MN.T, lower=True)
        variance_M = math.exp(self.hyperparameters[-1]) - (explained_NM**2).sum(0)
        return kernel_MN @ self._weights * self._unit, np.sqrt(np.maximum(variance_M, 1e-10)) * self._unit

    def _squares_to(self, rows_MC: Array) -> Array:
        """Squared distances to the known points, parameter by parameter: M x N x P."""
        columns: Array = (rows_MC[:, None, :] - self._rows[None, :, :]) ** 2
        return np.add.reduceat(columns, self._starts, axis=2)

    def _fitted(self) -> Array:
        num_parameters = len(self._starts)
        first = np.array([*[self._length_prior] * num_parameters, math.log(FIRST_NOISE), math.log(SCALE_PRIOR)])
        bounds = [*[LENGTHS] * num_parameters, NOISES, SCALES]
        found = minimize(
            self._loss, first, jac=True, method="L-BFGS-B", bounds=np.log(bounds), options={"maxiter": MOST_STEPS}
        )
        return np.asarray(found.x)

    def _loss(self, hyperparameters: Array) -> tuple[float, Array]:
        """Minus the logarithm of the posterior density, and its gradient."""
        factor, weights, (kernel, slope, smooth) = self._solved(hyperparameters)
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
        centres = [*[self._length_prior] * len(lengths), math.log(NOISE_PRIOR), math.log(SCALE_PRIOR)]
        sds = np.array([*[LENGTH_PRIOR_SD] * len(lengths), NOISE_PRIOR_SD, SCALE_PRIOR_SD])
        away = (hyperparameters - centres) / sds
        return float(loss + 0.5 * away @ away), gradient + away / sds

    def _solved(self, hyperparameters: Array) -> tuple[Array, Array, Sequence[Array]]:
        """Cholesky factor of the covariance of the values, the values times its inverse, and the kernel's parts."""
        parts = _matern(self._squares, hyperparameters)
        covariance = parts[0].copy()
        covariance[np.diag_indices_from(covariance)] += math.exp(hyperparameters[-2]) + JITTER
        factor = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
        return factor, cho_solve((factor, True), self._values), parts


def _matern(squares: Array, hyperparameters: Array) -> tuple[Array, Array, Array]:
    """The kernel, and two factors of its slope along the logarithm of a length, which is times squares / length^2."""
    distance = math.sqrt(5) * np.sqrt(squares @ np.exp(-2 * hyperparameters[:-2]) + 1e-12)
    decay = math.exp(hyperparameters[-1]) * np.exp(-distance)
    return (1 + distance + distance**2 / 3) * decay, 5 / 3 * (1 + distance), decay
