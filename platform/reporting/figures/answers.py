"""Compute the answers of a model on a split once, for all figures.

Axes: N images, D feature width, Q queries, K positions of a ranked list, B queries of one chunk, G gallery images.
"""

from dataclasses import dataclass

import numpy as np
import torch

from platform.evaluation import Asked
from shards_tools.errors import Error
from trainables.evaluation.evaluate import IMAGES_AT_ONCE, extract_features, places_of_classes
from trainables.metrics.cross_role import ranked_galleries

KINDS = {"classes": ("class", "classes"), "identities": ("identity", "identities")}  # by layout; others have works
LIST_LENGTH = 10  # positions of each query's ranked list that are kept


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The queries of a split and the model's answers; images and works are indices into the manifest."""

    asked: Asked
    images_N: np.ndarray  # every image that the model saw
    features_ND: np.ndarray  # their test features
    queries_Q: np.ndarray  # the evaluated images: queries with a correct gallery image, or images to classify
    places_Q: np.ndarray  # the position of the first correct answer of each, from 1
    answered_Q: np.ndarray  # the work of the first answer of each

    @property
    def works_Q(self) -> np.ndarray:
        """The correct work of each query."""
        works: np.ndarray = self.asked.evaluation.manifest.work[self.queries_Q]
        return works

    @property
    def is_right_Q(self) -> np.ndarray:
        """Whether the first answer of each query is correct; its mean is R1 or top-1."""
        right: np.ndarray = self.places_Q == 1
        return right

    @property
    def kind(self) -> str:
        """What the model answers: work, identity or class."""
        return KINDS.get(self.asked.evaluation.manifest.layout, ("work", "works"))[0]

    @property
    def kinds(self) -> str:
        """The plural of `kind`."""
        return KINDS.get(self.asked.evaluation.manifest.layout, ("work", "works"))[1]

    def named(self, work: int) -> str:
        """Return the name of a work."""
        return self.asked.evaluation.manifest.works[work]


@dataclass(frozen=True, kw_only=True)
class Rankings(Answers):
    """The answers of a retrieval model: the gallery ranked for each query, without junk images."""

    nearest_QK: np.ndarray  # the first images of each list; -1 beyond its end
    first_right_Q: np.ndarray  # the nearest image of the correct work
    average_precision_Q: np.ndarray

    @property
    def is_right_QK(self) -> np.ndarray:
        """Which of the nearest images are of the query's work."""
        works = self.asked.evaluation.manifest.work
        right: np.ndarray = (works[self.nearest_QK] == self.works_Q[:, None]) & (self.nearest_QK >= 0)
        return right


def compute_answers(asked: Asked) -> Answers:
    """Run the model once over the images of a split, and rank the gallery or classify the images.

    Raises:
        Error: the split consists of verification pairs, or the data lack a class of the checkpoint.
    """
    evaluation = asked.evaluation
    if len(evaluation.pairs):
        raise Error("A split of verification pairs among distractors has no works to plot. Use --split val.")
    if not evaluation.ranks and set(asked.info.works) - set(evaluation.manifest.works):
        raise Error(f"{evaluation.manifest.store} lacks classes of the checkpoint. Use the data of its training.")
    return _rank(asked) if evaluation.ranks else _classify(asked)


def _rank(asked: Asked) -> Rankings:
    evaluation, labels = asked.evaluation, asked.evaluation.labels
    images_N = np.concatenate([evaluation.query, evaluation.gallery])
    features_ND = extract_features(asked.model, asked.inputs, images_N, asked.device).cpu().numpy()
    query_QD, gallery_GD = np.split(features_ND, [len(evaluation.query)])
    parts = []
    for queries_B, nearest_BG in ranked_galleries(query_QD, gallery_GD, **labels):
        right_BG = labels["gallery_works"][nearest_BG] == labels["query_works"][queries_B, None]
        right_BG &= nearest_BG >= 0
        first_B = right_BG.argmax(axis=1)
        first_right_B = nearest_BG[np.arange(len(first_B)), first_B]
        nearest_BK = nearest_BG[:, :LIST_LENGTH]
        nearest_BK = np.where(nearest_BK < 0, -1, evaluation.gallery[nearest_BK])
        parts.append((queries_B, first_B + 1, first_right_B, nearest_BK, _average_precision(right_BG)))
    queries, places_Q, first_right_Q, nearest_QK, average_precision_Q = map(np.concatenate, zip(*parts, strict=True))
    return Rankings(
        asked=asked,
        images_N=images_N,
        features_ND=features_ND,
        queries_Q=evaluation.query[queries],
        places_Q=places_Q,
        answered_Q=evaluation.manifest.work[nearest_QK[:, 0]],
        nearest_QK=nearest_QK,
        first_right_Q=evaluation.gallery[first_right_Q],
        average_precision_Q=average_precision_Q,
    )


def _average_precision(right_BG: np.ndarray) -> np.ndarray:
    """Return the mean precision at the positions of each query's correct images."""
    precision_BG = right_BG.cumsum(axis=1) / np.arange(1, right_BG.shape[1] + 1)
    mean_B: np.ndarray = (precision_BG * right_BG).sum(axis=1) / right_BG.sum(axis=1)
    return mean_B


def _classify(asked: Asked) -> Answers:
    evaluation, model = asked.evaluation, asked.model
    works = {name: work for work, name in enumerate(evaluation.manifest.works)}
    works_of_rows = np.array([works[name] for name in asked.info.works])
    classes_Q, _ = evaluation.classes()
    features, places, predicted = [], [], []
    with torch.inference_mode():
        for start in range(0, len(evaluation.query), IMAGES_AT_ONCE):
            part = slice(start, start + IMAGES_AT_ONCE)
            branches = model.backbone(*asked.inputs.at(evaluation.query[part], asked.device))
            logits_BC = model.head(branches).logits[0]
            features.append(model.head.embed(branches).cpu().numpy())  # type: ignore[operator]
            classes_B = asked.device.upload(torch.from_numpy(classes_Q[part]))
            places.append(places_of_classes(logits_BC, classes_B).cpu().numpy())
            # In a tie, numpy takes the first class, as `places_of_classes` does.
            predicted.append(logits_BC.cpu().numpy().argmax(axis=1))
    return Answers(
        asked=asked,
        images_N=evaluation.query,
        features_ND=np.concatenate(features),
        queries_Q=evaluation.query,
        places_Q=np.concatenate(places),
        answered_Q=works_of_rows[np.concatenate(predicted)],
    )
