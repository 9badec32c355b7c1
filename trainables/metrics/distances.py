"""Distances from queries to a gallery, in which equal gallery images are at equal distances.

Axes: Q queries, G gallery, D feature dimension, B queries of one chunk.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shards_tools.errors import Error
from trainables.device import Device

# A gallery whose mean is farther from the origin than this multiple of its spread is shifted; else few bits are lost.
FAR_FROM_ORIGIN = 4.0
LARGEST_EXPONENT = {torch.float32: 126, torch.float64: 1022}  # 2 to the power of +-this is a normal number
# Features whose largest value is within 2 to the power of +-this are not scaled: sums of their squares are normal.
UNSCALED_EXPONENT = 24


class GalleryDistances(Protocol):
    """Distances from queries to a gallery, by which queries rank it."""

    @property
    def device(self) -> torch.device:
        """Where the distances are."""

    @property
    def num_queries(self) -> int:
        """Q."""

    @property
    def num_gallery(self) -> int:
        """G."""

    def of(self, queries_B: Tensor) -> Tensor:
        """Return the distances [B, G] of these queries; the next call may overwrite them."""


class Distances:
    """Squared Euclidean distances up to terms that do not change ranks: halved, without the query's norm.

    They are on the gallery's device, in float32; in float64 if a side is float64 or integers.

    Args:
        query_features: [Q, D], numpy or torch on any device.
        gallery_features: [G, D].

    Raises:
        Error: shapes or types do not match, or a feature is not finite.
    """

    def __init__(self, query_features: Any, gallery_features: Any) -> None:
        query_QD, gallery_GD = _read_features(query_features, gallery_features)
        largest = max(_largest("query", query_QD), _largest("gallery", gallery_GD))
        self._scale = _scale(largest, gallery_GD.dtype)
        self._shift_D: Tensor | None = None
        self._shift_D = _shift(self._moved(gallery_GD))
        self._query_QD, self._gallery_GD = query_QD, self._moved(gallery_GD)
        with _full_precision(self.device):
            self._half_norms_G = torch.linalg.vecdot(self._gallery_GD, self._gallery_GD) / 2
        self._copies, self._originals = _equal_rows(self._gallery_GD)
        self._memory = torch.empty(0, dtype=gallery_GD.dtype, device=gallery_GD.device)

    @property
    def device(self) -> torch.device:
        """Where the distances are computed."""
        return self._gallery_GD.device

    @property
    def num_queries(self) -> int:
        """Q."""
        return len(self._query_QD)

    @property
    def num_gallery(self) -> int:
        """G."""
        return len(self._gallery_GD)

    def of(self, queries_B: Tensor) -> Tensor:
        """Return the distances [B, G] of these queries; the next call overwrites them."""
        query_BD = self._moved(self._query_QD.index_select(0, queries_B))
        if len(self._memory) < len(query_BD):
            self._memory = self._half_norms_G.new_empty(len(query_BD), self.num_gallery)
        distances_BG = self._memory[: len(query_BD)]
        if self.device.type == "cpu" and not _is_intel():
            np.matmul(query_BD.numpy(), self._gallery_GD.numpy().T, out=distances_BG.numpy())
            torch.sub(self._half_norms_G, distances_BG, out=distances_BG)
        else:
            with _full_precision(self.device):
                torch.addmm(self._half_norms_G, query_BD, self._gallery_GD.T, alpha=-1, out=distances_BG)
        # A matrix product may round equal columns differently: a tie must stay a tie.
        if len(self._copies):
            distances_BG[:, self._copies] = distances_BG[:, self._originals]
        return distances_BG

    def _moved(self, features_ND: Tensor) -> Tensor:
        """Return features scaled and shifted, neither of which changes ranks."""
        if self._scale != 1:
            features_ND = features_ND * self._scale
        return features_ND if self._shift_D is None else features_ND + self._shift_D


def nearest_columns(distances_BG: npt.NDArray[Any], num_columns: int) -> npt.NDArray[np.int64]:
    """Return the columns of each row's smallest distances, [B, K], ascending; ties are in the order of the columns.

    Args:
        num_columns: K, at most G.
    """
    last_B1 = np.partition(distances_BG, num_columns - 1, axis=1)[:, num_columns - 1 : num_columns]
    rows, columns = np.nonzero(distances_BG <= last_B1)  # K of each row, or more if the last is tied
    order = np.lexsort((columns, distances_BG[rows, columns], rows))
    rows, columns = rows[order], columns[order]
    places = np.arange(len(rows)) - np.searchsorted(rows, rows)
    nearest: npt.NDArray[np.int64] = columns[places < num_columns].reshape(len(distances_BG), num_columns)
    return nearest


@cache
def _is_intel() -> bool:
    """Return whether this machine's CPU is Intel's: only there torch's MKL multiplies faster than numpy's OpenBLAS."""
    with suppress(OSError):
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text()
    return False


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Compute float32 matrix products in float32, whatever the training allows."""
    with Device(str(device)).precision("fp32"), torch.autocast(device.type, enabled=False):
        yield


def _scale(largest: float, dtype: torch.dtype) -> float:
    """Return the factor that keeps squares of features within the range of the type; 1 for usual features.

    A power of two, so nothing is rounded.
    """
    exponent, limit = math.frexp(largest)[1], LARGEST_EXPONENT[dtype]
    return 1.0 if abs(exponent) <= UNSCALED_EXPONENT else 2.0 ** min(max(-exponent, -limit), limit)


def _shift(gallery_GD: Tensor) -> Tensor | None:
    """Return the vector to add to all features so that the gallery is near the origin; None if it almost is.

    Far from the origin, subtracting large products would cancel the distance. The shift does not change distances. It
    is a multiple of a power of two near the spread, so that features on a grid stay on it. It is estimated from a
    sample of the gallery, because any shift is correct.
    """
    sample_BD = gallery_GD[:: len(gallery_GD) // 256 + 1].double()
    mean_D = sample_BD.mean(dim=0)
    spread = float((sample_BD - mean_D).square().mean().sqrt())
    if not float(mean_D.square().mean().sqrt()) > FAR_FROM_ORIGIN * spread:  # also for an empty gallery's NaN
        return None
    grid = 2.0 ** math.floor(math.log2(max(spread, 2.0**-100)))
    return (0.0 - (mean_D / grid).round() * grid).to(gallery_GD.dtype)


def _equal_rows(features_GD: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows that repeat an earlier row, and for each that earlier row."""
    # Rows with different first values differ: only the few others are compared in full.
    _, inverse, counts = np.unique(features_GD[:, 0].cpu().numpy(), return_inverse=True, return_counts=True)
    suspects = np.flatnonzero(counts[inverse] > 1)
    rows = features_GD[torch.from_numpy(suspects).to(features_GD.device)].cpu().numpy() + 0.0  # -0.0 becomes 0.0
    first: dict[bytes, int] = {}
    pairs = [(row, first.setdefault(rows[place].tobytes(), row)) for place, row in enumerate(suspects.tolist())]
    repeated = torch.tensor([pair for pair in pairs if pair[0] != pair[1]], dtype=torch.int64).view(-1, 2)
    copies, originals = repeated.to(features_GD.device).unbind(1)
    return copies, originals


def _read_features(query_features: Any, gallery_features: Any) -> tuple[Tensor, Tensor]:
    query_QD, gallery_GD = _as_tensor("query", query_features), _as_tensor("gallery", gallery_features)
    if query_QD.shape[1] != gallery_GD.shape[1]:
        raise Error(
            f"query_features has {query_QD.shape[1]} columns and gallery_features {gallery_GD.shape[1]}. "
            "Compute both with the same model."
        )
    narrow = all(side.is_floating_point() and side.element_size() <= 4 for side in (query_QD, gallery_GD))
    dtype = torch.float32 if narrow else torch.float64
    return query_QD.to(gallery_GD.device, dtype), gallery_GD.to(dtype)


def _as_tensor(side: str, features: Any) -> Tensor:
    found = features.detach() if isinstance(features, Tensor) else np.asarray(features)
    if len(found.shape) != 2 or not found.shape[1]:
        raise Error(f"{side}_features has the shape {tuple(found.shape)}. Pass (images, dimension), one row per image.")
    kind = str(found.dtype).removeprefix("torch.")
    if not kind.startswith(("float", "bfloat", "int", "uint", "bool")):
        raise Error(f"{side}_features holds {kind}. Pass numbers.")
    return found if isinstance(found, Tensor) else torch.from_numpy(_readable(found))


def _readable(features: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array of a type, order and memory that torch can share."""
    narrow = features.dtype in (np.float32, np.float16)
    return np.require(features, np.float32 if narrow else np.float64, requirements=("C", "W"))


def _largest(side: str, features: Tensor) -> float:
    """Return the largest absolute value; 0 without images.

    Raises:
        Error: a feature is not finite.
    """
    largest = max(map(abs, torch.stack(torch.aminmax(features)).tolist())) if len(features) else 0.0
    if not math.isfinite(largest):
        row = int((~features.isfinite().all(dim=1)).nonzero()[0])
        raise Error(f"{side}_features holds NaN or infinity, first in row {row}. Did the training diverge?")
    return largest
