"""Optuna's CMA-ES sampler, without its trust in pickles: everyone who can write to the study can write one there."""

from __future__ import annotations

import io
import pickle  # noqa: TID251  # with a reader that creates nothing but numbers and arrays
import pickletools
from typing import Any

import cmaes
import numpy as np
from optuna.samplers import CmaEsSampler
from optuna.trial import FrozenTrial

from shards_tools.errors import Error

LARGEST = 1e32  # as cmaes limits its own numbers
LARGEST_GENERATION = 2**31


class SafeCmaEsSampler(CmaEsSampler):
    """Optuna's sampler; the state that it finds in the study is read as numbers and checked."""

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> cmaes.CMA | None:
        """Return the optimizer that the latest trial with one holds.

        Raises:
            Error: its state is damaged, or has objects that could run code.
        """
        for trial in reversed(completed_trials):
            parts = {key: text for key, text in trial.system_attrs.items() if key.startswith(self._attr_key_optimizer)}
            if parts:
                try:
                    return restored(bytes.fromhex(self._concat_optimizer_attrs(parts)))
                except Exception:  # damaged bytes can raise nearly anything
                    raise Error(
                        f"Trial {trial.number} of the study has a CMA-ES state that is damaged or could run code."
                        " Use another --sampler, or start another study with --study NAME."
                    ) from None
        return None


def restored(pickled: bytes) -> cmaes.CMA:
    """Return the optimizer of a pickle that Optuna has written.

    Only the numbers that change from generation to generation are taken from it; all others follow from the number of
    parameters.

    Raises:
        Exception: of any kind; the pickle is not one of these, or its numbers are impossible.
    """
    if any("PUT" in opcode.name for opcode, _, _ in pickletools.genops(pickled)):  # could take any amount of memory
        raise pickle.UnpicklingError("a place in the memo is given")
    state = _Unpickler(io.BytesIO(pickled)).load().values
    num_params = len(state["_mean"])
    shapes = {
        "_mean": (num_params,),
        "_pc": (num_params,),
        "_p_sigma": (num_params,),
        "_bounds": (num_params, 2),
        "_c_1d": (num_params * (num_params + 1) // 2,),
    }
    changing: dict[str, Any] = {name: _checked(state[name], shape) for name, shape in shapes.items()}
    sigma, generation = float(state["_sigma"]), int(state["_g"])
    if not (0 < sigma <= LARGEST and 0 <= generation < LARGEST_GENERATION):
        raise ValueError(f"sigma={sigma}, generation={generation}")
    optimizer = cmaes.CMA(mean=np.zeros(num_params), sigma=1.0, n_max_resampling=10 * num_params)  # as Optuna makes it
    optimizer.__setstate__({**changing, "_sigma": sigma, "_g": generation})
    return optimizer


def _checked(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape != shape or array.dtype != np.float64 or not (np.abs(array) <= LARGEST).all():
        raise ValueError(f"an array of shape {array.shape} and type {array.dtype}")
    return array


class _State:
    """Stands for the optimizer while its pickle is read: holds its attributes and has no code."""

    values: dict[str, Any]

    def __setstate__(self, values: dict[str, Any]) -> None:
        self.values = values


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return what a name in the pickle stands for; see the functions of numpy of the same names."""
        match module.removeprefix("numpy._core.").removeprefix("numpy.core."), name:
            case "cmaes._cma", "CMA":
                return _State
            case "numpy", "dtype":
                return np.dtype
            case "numpy", "ndarray":
                return None  # an argument of `_reconstruct`; calling it could take any amount of memory
            case "multiarray", "scalar":
                return _scalar
            case "multiarray", "_reconstruct":
                return _reconstruct
        raise pickle.UnpicklingError(f"{module}.{name}")


def _scalar(kind: np.dtype[Any], data: bytes) -> Any:
    return np.frombuffer(data, kind)[0]


def _reconstruct(kind: None, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    if shape != (0,):  # its own state follows
        raise pickle.UnpicklingError(f"an array of shape {shape}")
    return np.empty(shape, np.uint8)
