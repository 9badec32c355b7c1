"""Works and roles of queries and gallery as integer codes, and the number of positives of each query.

Axes: Q queries, G gallery.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shards_tools.errors import Error

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """Works and roles as codes; equal codes mean equal labels, on both sides."""

    query_works_Q: Codes
    gallery_works_G: Codes
    query_roles_Q: Codes  # the same role name in two works is two roles
    gallery_roles_G: Codes

    def num_junk_Q(self) -> Codes:
        """Count the gallery images of each query's own work and role."""
        return _occurrences(self.query_roles_Q, self.gallery_roles_G)

    def num_positives_Q(self) -> Codes:
        """Count the gallery images of each query's work in another role."""
        return _occurrences(self.query_works_Q, self.gallery_works_G) - self.num_junk_Q()


def read_labels(query_works: Any, gallery_works: Any, query_roles: Any, gallery_roles: Any) -> Labels:
    """Return the labels as codes.

    Args:
        query_works: a sequence of integers or of strings, like the others.

    Raises:
        Error: lengths or types do not match.
    """
    query_works_Q, gallery_works_G = _codes("works", query_works, gallery_works)
    query_names_Q, gallery_names_G = _codes("roles", query_roles, gallery_roles)
    for side, works, names in (
        ("query", query_works_Q, query_names_Q),
        ("gallery", gallery_works_G, gallery_names_G),
    ):
        if len(works) != len(names):
            raise Error(
                f"{side}_works holds {len(works)} labels and {side}_roles {len(names)}. Pass one of each per image."
            )
    num_names = 1 + max(query_names_Q.max(initial=0), gallery_names_G.max(initial=0))
    return Labels(
        query_works_Q=query_works_Q,
        gallery_works_G=gallery_works_G,
        query_roles_Q=query_works_Q * num_names + query_names_Q,
        gallery_roles_G=gallery_works_G * num_names + gallery_names_G,
    )


def as_numpy(values: Any) -> npt.NDArray[Any]:
    """Return values as a numpy array.

    Args:
        values: a sequence, an array, or a torch tensor on any device and of any type.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        # numpy has no bfloat16
        values = values.float() if values.is_floating_point() and values.element_size() < 4 else values
        return np.asarray(values.numpy())
    return np.asarray(values)


def _codes(what: str, query: Any, gallery: Any) -> tuple[Codes, Codes]:
    query_Q = _label_array(f"query_{what}", query)
    gallery_G = _label_array(f"gallery_{what}", gallery)
    if query_Q.size and gallery_G.size and (query_Q.dtype.kind in "iu") != (gallery_G.dtype.kind in "iu"):
        raise Error(
            f"query_{what} holds {query_Q.dtype} and gallery_{what} {gallery_G.dtype}, which never match. "
            "Pass both as integers or both as strings."
        )
    # An empty side has no meaningful type and must not turn the other's integers into floats.
    filled = [labels for labels in (query_Q, gallery_G) if labels.size] or [np.zeros(0, np.int64)]
    codes = np.unique(np.concatenate(filled), return_inverse=True)[1].astype(np.int64)
    return codes[: len(query_Q)], codes[len(query_Q) :]


def _label_array(name: str, values: Any) -> npt.NDArray[Any]:
    labels = as_numpy(values)
    if labels.dtype == object and all(isinstance(label, str) for label in labels.flat):
        labels = labels.astype(str)
    if labels.ndim != 1:
        raise Error(f"{name} has the shape {labels.shape}. Pass one label per image, as a flat sequence.")
    if labels.size and labels.dtype.kind not in "iuUT":
        raise Error(f"{name} holds {labels.dtype}. Pass integers or strings.")
    return labels


def _occurrences(wanted: Codes, among: Codes) -> Codes:
    counts = np.bincount(among, minlength=int(wanted.max(initial=0)) + 1)
    return counts[wanted].astype(np.int64)
