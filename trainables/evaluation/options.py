"""Evaluate a model with flip augmentation, query expansion or re-ranking, and without them.

N images, D feature dimension, B images at a time, C classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from shards_tools.errors import Error
from trainables.data.reading import Inputs
from trainables.device import Device
from trainables.evaluation.evaluate import (
    Network,
    evaluating,
    first_batch_size,
    metrics_of_features,
    network_of,
    outputs_of,
    places_of_classes,
)
from trainables.evaluation.evaluation import Evaluation, Metrics, by_name
from trainables.metrics.classification import classification_metrics
from trainables.metrics.cross_role import metrics_of
from trainables.metrics.distances import Distances
from trainables.metrics.expansion import expand_features
from trainables.metrics.labels import read_labels
from trainables.metrics.rerank import RerankedDistances
from trainables.models.model import Model


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What an evaluation does beyond comparing the features, or logits, of the images; by default nothing.

    With several options the features are averaged first, then expanded, then re-ranked.
    """

    flip: bool = False  # average the features or logits of an image and of its mirror image
    query_expansion: int = 0  # nearest gallery images that are averaged into the feature of each image
    rerank: bool = False  # k-reciprocal re-ranking

    def check(self, evaluation: Evaluation) -> None:
        """Refuse options that the evaluation cannot have.

        Raises:
            Error: an option needs a ranked gallery, or a larger one.
        """
        store, num_neighbors = evaluation.manifest.store, self.query_expansion
        for option, is_set in (("--rerank", self.rerank), ("--query-expansion", bool(num_neighbors))):
            if is_set and not evaluation.ranks:
                raise Error(f"{option} needs a gallery, but {store} has classes. Leave it out; --tta flip works.")
            if is_set and len(evaluation.pairs):
                raise Error(
                    f"{option} needs a gallery, but the test split of {store} has pairs. Leave it out, or use"
                    " --split val."
                )
        if num_neighbors and num_neighbors >= len(evaluation.gallery):
            raise Error(
                f"--query-expansion {num_neighbors} needs more than {num_neighbors} gallery images, but {store} has"
                f" {len(evaluation.gallery)}. Give a smaller number."
            )


def evaluate_with(
    options: EvaluationOptions,
    model: Model,
    evaluation: Evaluation,
    inputs: Inputs,
    device: Device,
    *,
    precision: str,
) -> tuple[Metrics, Metrics]:
    """Evaluate the model with the options and without them, with one pass over the images.

    Args:
        options: checked for this evaluation.
        model: on `device`.
        inputs: of all images of the evaluation's manifest.
        precision: of the backbone, as in a recipe.

    Returns:
        The metrics with the options and those without, each as `evaluate` returns them.
    """
    network = network_of(model, device, precision, ranks=evaluation.ranks)
    if not evaluation.ranks:
        return _classified(with_mirror(network), model, evaluation, inputs, device)
    views = with_mirror(network) if options.flip else network
    with evaluating(model):
        found = torch.cat(list(outputs_of(views, inputs, evaluation.ranked_images, device, first_batch_size(device))))
    if options.flip:
        plain_ND, features_ND = found[:, 0], functional.normalize(found.sum(dim=1), dim=1)
    else:
        plain_ND, features_ND = found, found
    plain = metrics_of_features(plain_ND, evaluation)
    if len(evaluation.pairs):
        return metrics_of_features(features_ND, evaluation), plain
    return _ranked(features_ND, evaluation, options), plain


def with_mirror(network: Network) -> Network:
    """Return the network that computes the outputs of each image and of its mirror image, [B, 2, ...]."""

    def run(images_BHWC: Tensor, words_BL: Tensor | None) -> Tensor:
        return torch.stack([network(images_BHWC, words_BL), network(images_BHWC.flip(2), words_BL)], dim=1)

    return run


def _ranked(features_ND: Tensor, evaluation: Evaluation, options: EvaluationOptions) -> Metrics:
    query_ND, gallery_ND = features_ND.tensor_split([len(evaluation.query)])
    if options.query_expansion:
        query_ND, gallery_ND = expand_features(query_ND, gallery_ND, options.query_expansion)
    distances = (RerankedDistances if options.rerank else Distances)(query_ND, gallery_ND)
    return by_name(metrics_of(distances, read_labels(**evaluation.labels)), counted=True)


def _classified(
    views: Network, model: Model, evaluation: Evaluation, inputs: Inputs, device: Device
) -> tuple[Metrics, Metrics]:
    """Return the metrics of the mean logits of each image and its mirror image, and those of the image alone."""
    classes, images_of_class = evaluation.classes()
    classes_N = device.upload(torch.from_numpy(classes))
    flipped, plain, start = [], [], 0
    with evaluating(model):
        for logits_B2C in outputs_of(views, inputs, evaluation.query, device, first_batch_size(device)):
            classes_B = classes_N[start : start + len(logits_B2C)]
            flipped.append(places_of_classes(logits_B2C.mean(dim=1), classes_B))
            plain.append(places_of_classes(logits_B2C[:, 0], classes_B))
            start += len(logits_B2C)
    of_flip, of_plain = (
        classification_metrics(torch.cat(places).cpu().numpy(), classes, images_of_class) for places in (flipped, plain)
    )
    return of_flip, of_plain
