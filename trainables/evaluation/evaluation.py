"""What a model is evaluated on: the images of a split, their labels, and what chance reaches.

`trainables.evaluation.evaluate` evaluates a model on it; importing this module does not import torch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from shards_tools.command import command_line
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from trainables.evaluation.metric_names import CLASSIFYING, RANKING
from trainables.metrics.chance import chance_metrics
from trainables.metrics.classification import chance_of_classes
from trainables.metrics.cross_role import CrossRoleMetrics

Metrics = dict[str, float]


class RankedLabels(TypedDict):
    """Works and roles of queries and gallery: keyword arguments of the functions in `trainables.metrics`."""

    query_works: np.ndarray
    gallery_works: np.ndarray
    query_roles: np.ndarray
    gallery_roles: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """The images of one split to evaluate a model on, and their labels."""

    manifest: Manifest
    split: str  # val or test
    fold: int = 0
    class_names: tuple[str, ...] | None = None  # of the classifier's rows; None: the trained works of the manifest

    @property
    def ranks(self) -> bool:
        """Whether the model ranks works or identities; otherwise it classifies."""
        return self.manifest.layout != "classes"

    @property
    def objectives(self) -> tuple[str, ...]:
        """The metrics that a search may maximize, the default first."""
        return RANKING if self.ranks else CLASSIFYING

    @property
    def pairs(self) -> np.ndarray:
        """iCartoonFace's official test pairs, [num_pairs, 2], or none; with pairs, the gallery is the distractors."""
        return self.manifest.pairs if self.split == "test" else self.manifest.pairs[:0]

    @property
    def query(self) -> np.ndarray:
        """Indices of the query images, or of the images to classify."""
        split = self.manifest.split(self.fold)
        if self.ranks:
            return split.val_query if self.split == "val" else split.test_query
        return split.val if self.split == "val" else split.test

    @property
    def gallery(self) -> np.ndarray:
        """Indices of the gallery images."""
        split = self.manifest.split(self.fold)
        return split.val_gallery if self.split == "val" else split.test_gallery

    @property
    def images(self) -> np.ndarray:
        """Indices of all images to evaluate: the queries and the gallery, or the images to classify."""
        return np.concatenate([self.query, self.gallery]) if self.ranks else self.query

    @property
    def ranked_images(self) -> np.ndarray:
        """Indices of the images to compare: the queries, or both sides of the pairs, and the gallery."""
        return np.concatenate([*self.pairs.T, self.gallery]) if len(self.pairs) else self.images

    def chance(self) -> Metrics:
        """Return the expected metrics of a model that ignores its input.

        Raises:
            Error: there is nothing to evaluate.
        """
        if not len(self.query):
            raise Error(self._why_empty())
        if len(self.pairs):
            return {"pairs_rank1": 1 / (1 + len(self.gallery))}
        if self.ranks:
            metrics = chance_metrics(**self.labels)
            if not metrics.num_valid_queries:
                raise Error(self._why_no_positives())
            return by_name(metrics)
        return chance_of_classes(len(self._rows), *self.classes())

    def _why_empty(self) -> str:
        """Return that the split is missing, and what to do instead."""
        store, split = self.manifest.store, self.split
        other = Evaluation(self.manifest, "test" if split == "val" else "val", self.fold)
        fold = " --fold K" if self.manifest.num_folds > 1 else ""
        instead = f"Evaluate with --split {other.split}{fold}, or build" if len(other.query) else "Build"
        needed = f"what val needs (see `{command_line('shards_tools', 'show', store)}`)"
        needed = "a test split" if split == "test" else needed
        return f"{store} has no {split} split. {instead} shards with {needed}."

    def _why_no_positives(self) -> str:
        """Return that no query can be answered, and what to do about it."""
        store, split = self.manifest.store, self.split
        if self.manifest.layout == "identities":
            return (
                f"{store}: no {split} query has an image of its identity in the gallery. Give query and gallery the"
                " same labels, and build the shards again."
            )
        return (
            f"{store}: no {split} query has a positive in the gallery. A positive is an image of its work in another"
            f" role: build the shards from works with at least two roles in {split}."
        )

    @property
    def trained_works(self) -> tuple[str, ...]:
        """The names of the trained works, in the order of the rows of a classifier that is trained on them."""
        return tuple(self.manifest.works[work] for work in np.unique(self._trained))

    @property
    def unknown_classes(self) -> list[str]:
        """The names of the classes in the split that the classifier does not have."""
        names = {self.manifest.works[work] for work in np.unique(self.manifest.work[self.query])}
        return sorted(names - self._rows.keys())

    @property
    def _rows(self) -> dict[str, int]:
        """The row of the classifier of each of its classes."""
        names = self.trained_works if self.class_names is None else self.class_names
        return {name: row for row, name in enumerate(names)}

    @property
    def _trained(self) -> np.ndarray:
        """The works of the training images."""
        works: np.ndarray = self.manifest.work[self.manifest.split(self.fold).train]
        return works

    @property
    def labels(self) -> RankedLabels:
        """The works and roles of queries and gallery."""
        query_roles, gallery_roles = self.manifest.role[self.query], self.manifest.role[self.gallery]
        if self.manifest.layout == "identities":  # identities have no roles, and no image of them is junk
            query_roles, gallery_roles = np.zeros_like(query_roles), np.ones_like(gallery_roles)
        return RankedLabels(
            query_works=self.manifest.work[self.query],
            gallery_works=self.manifest.work[self.gallery],
            query_roles=query_roles,
            gallery_roles=gallery_roles,
        )

    def classes(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the classes of the images to classify, and the number of training images per class.

        Classes are numbered as the rows of the classifier, which must know all of them. The numbers are None if the
        training images of the manifest are not of exactly the classifier's classes.
        """
        rows = self._rows
        row_of_work = np.array([rows.get(name, -1) for name in self.manifest.works])
        works, counts = np.unique(self._trained, return_counts=True)
        images_of_class = None
        if set(self.trained_works) == rows.keys():
            images_of_class = np.zeros(len(rows), np.int64)
            images_of_class[row_of_work[works]] = counts
        return row_of_work[self.manifest.work[self.query]], images_of_class


def by_name(metrics: CrossRoleMetrics, *, counted: bool = False) -> Metrics:
    """Return the metrics by the names in reports and stores: mAP, mINP, cmc_1 and so on.

    Args:
        counted: add `num_valid_queries`.
    """
    named = {"mAP": metrics.mAP, "mINP": metrics.mINP, **{f"cmc_{rank}": value for rank, value in metrics.cmc.items()}}
    return {**named, "num_valid_queries": metrics.num_valid_queries} if counted else named


def without_nan(metrics: Metrics) -> dict[str, float | None]:
    """Return the metrics for JSON, which has neither NaN nor infinity: both become None."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def with_nan(metrics: Mapping[str, float | None]) -> Metrics:
    """Return metrics from JSON, with NaN in place of None."""
    return {name: math.nan if value is None else value for name, value in metrics.items()}
