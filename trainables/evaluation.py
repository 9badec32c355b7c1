"""Evaluate a model on a split: rank works or identities, or classify.

N images, D feature dimension, C classes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from trainables.metric_names import CLASSIFYING, RANKING
from trainables.metrics.chance import chance_metrics
from trainables.metrics.classification import chance_of_classes, classification_metrics, places_of_classes
from trainables.metrics.cross_role import CrossRoleMetrics, cross_role_metrics
from trainables.metrics.pairs import rank1_of_pairs
from trainables.models.model import Model
from trainables.ranks import ALONE, Ranks
from trainables.reading import Inputs

IMAGES_AT_ONCE = 256  # TEST.IMS_PER_BATCH in the papers' code

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

    def chance(self) -> Metrics:
        """Return the expected metrics of a model that ignores its input.

        Raises:
            Error: there is nothing to evaluate.
        """
        if len(self.pairs):
            return {"pairs_rank1": 1 / (1 + len(self.gallery))}
        if self.ranks:
            metrics = chance_metrics(**self.labels)
            if not metrics.num_valid_queries:
                raise Error(
                    f"{self.manifest.store}: no {self.split} query has a positive in the gallery. A work must have at"
                    f" least two roles in {self.split}; build the shards from more roles."
                )
            return by_name(metrics)
        if not len(self.query):
            raise Error(f"{self.manifest.store} has no {self.split} images. Build the shards with some.")
        classes, images_of_class = self._classes()
        return chance_of_classes(len(images_of_class), classes, images_of_class)

    def of(self, model: Model, inputs: Inputs, device: torch.device | str, ranks: Ranks = ALONE) -> Metrics:
        """Evaluate the model and return its metrics; the ranks share the images, and all get the metrics."""
        if len(self.pairs):
            own = ranks.share(np.concatenate([*self.pairs.T, self.gallery]))
            features_ND = ranks.gather(extract_features(model, inputs, own, device)).cpu().numpy()
            probe, partner, distractors = np.split(features_ND, [len(self.pairs), 2 * len(self.pairs)])
            return {"pairs_rank1": rank1_of_pairs(probe, partner, distractors)}
        if self.ranks:
            both = ranks.share(np.concatenate([self.query, self.gallery]))
            features_ND = ranks.gather(extract_features(model, inputs, both, device)).cpu().numpy()
            query_ND, gallery_ND = np.split(features_ND, [len(self.query)])
            return by_name(cross_role_metrics(query_ND, gallery_ND, **self.labels), counted=True)
        classes, images_of_class = self._classes()
        own, own_classes = ranks.share(self.query), torch.from_numpy(ranks.share(classes))
        places_N = ranks.gather(_places_of_classes(model, inputs, own, own_classes, device)).cpu().numpy()
        return classification_metrics(places_N, classes, images_of_class)

    @property
    def trained_works(self) -> tuple[str, ...]:
        """The names of the trained works, in the order of the classifier's rows."""
        return tuple(self.manifest.works[work] for work in np.unique(self._trained))

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

    def _classes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the classes of the images to classify, and the number of training images per class.

        Classes are numbered as the rows of the classifier.
        """
        works, counts = np.unique(self._trained, return_counts=True)
        return np.searchsorted(works, self.manifest.work[self.query]), counts  # every class is trained


def extract_features(
    model: Model,
    inputs: Inputs,
    indices: np.ndarray,
    device: torch.device | str,
    batch_size: int = IMAGES_AT_ONCE,
) -> Tensor:
    """Return the test features of these images, float32 N x D, then restore the model's mode."""
    found = [torch.empty(0, model.num_features, device=device)]
    with _evaluating(model):
        for part in _parts(indices, batch_size):
            found.append(model.embed(*inputs.at(indices[part], device)))
    return torch.cat(found)


def _places_of_classes(
    model: Model, inputs: Inputs, indices: np.ndarray, classes_N: Tensor, device: torch.device | str
) -> Tensor:
    """Return the rank of the right class for each image, from 1, without keeping the logits."""
    found = [torch.empty(0, dtype=torch.int64, device=device)]
    with _evaluating(model):
        for part in _parts(indices, IMAGES_AT_ONCE):
            logits_BC = model.classify(*inputs.at(indices[part], device))
            found.append(places_of_classes(logits_BC, classes_N[part].to(device)))
    return torch.cat(found)


def _parts(indices: np.ndarray, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, len(indices), size)]


@contextmanager
def _evaluating(model: Model) -> Iterator[None]:
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        yield
    model.train(was_training)


def by_name(metrics: CrossRoleMetrics, *, counted: bool = False) -> Metrics:
    """Return the metrics by the names in reports and stores: mAP, mINP, cmc_1 and so on.

    Args:
        counted: add `num_valid_queries`.
    """
    named = {"mAP": metrics.mAP, "mINP": metrics.mINP, **{f"cmc_{rank}": value for rank, value in metrics.cmc.items()}}
    return {**named, "num_valid_queries": metrics.num_valid_queries} if counted else named
