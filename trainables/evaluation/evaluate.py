"""Evaluate a model on a split, by ranking works or identities or by classifying, and measure its latency.

N and Q images, D feature dimension, C classes.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from trainables.data.reading import Inputs
from trainables.distributed import ALONE, DistributedContext
from trainables.evaluation.task import Evaluation, Metrics, by_name
from trainables.metrics.classification import classification_metrics
from trainables.metrics.cross_role import cross_role_metrics
from trainables.metrics.pairs import rank1_of_pairs
from trainables.models.model import Model

IMAGES_AT_ONCE = 256  # TEST.IMS_PER_BATCH in the papers' code
IMAGES_OF_LATENCY = 64  # batch size; smaller if val has fewer images
REPEATS = 3  # of latency, after one warm-up; the fastest counts, because other load only makes runs slower


def evaluate(
    model: Model, evaluation: Evaluation, inputs: Inputs, device: torch.device | str, ranks: DistributedContext = ALONE
) -> Metrics:
    """Evaluate the model and return its metrics; the ranks share the images, and all get the metrics.

    Args:
        inputs: of all images of the evaluation's manifest.

    Returns:
        Fractions in 0..1 by name: mAP, mINP and CMC with `num_valid_queries`, or accuracies, or `pairs_rank1`.
    """
    if len(evaluation.pairs):
        own = ranks.share(np.concatenate([*evaluation.pairs.T, evaluation.gallery]))
        features_ND = ranks.gather(extract_features(model, inputs, own, device)).cpu().numpy()
        num_pairs = len(evaluation.pairs)
        probe, partner, distractors = np.split(features_ND, [num_pairs, 2 * num_pairs])
        return {"pairs_rank1": rank1_of_pairs(probe, partner, distractors)}
    if evaluation.ranks:
        own = ranks.share(evaluation.images)
        features_ND = ranks.gather(extract_features(model, inputs, own, device)).cpu().numpy()
        query_ND, gallery_ND = np.split(features_ND, [len(evaluation.query)])
        return by_name(cross_role_metrics(query_ND, gallery_ND, **evaluation.labels), counted=True)
    classes, images_of_class = evaluation.classes()
    own, own_classes = ranks.share(evaluation.query), torch.from_numpy(ranks.share(classes))
    places_N = ranks.gather(_places_of_classes(model, inputs, own, own_classes, device)).cpu().numpy()
    return classification_metrics(places_N, classes, images_of_class)


def extract_features(
    model: Model,
    inputs: Inputs,
    indices: np.ndarray,
    device: torch.device | str,
    batch_size: int = IMAGES_AT_ONCE,
) -> Tensor:
    """Compute the test features of some images, then restore the model's mode.

    Args:
        model: on `device`; it runs in evaluation mode.
        inputs: of all images of the manifest.
        indices: of the images, [N]; may be empty.
        device: where the images are moved to and the features are.
        batch_size: images per forward pass.

    Returns:
        Unit vectors, float32 [N, D], in the order of `indices`.
    """
    found = [torch.empty(0, model.num_features, device=device)]
    with _evaluating(model):
        for part in _parts(indices, batch_size):
            found.append(model.embed(*inputs.at(indices[part], device)))
    return torch.cat(found)


def ms_per_image(model: Model, evaluation: Evaluation, inputs: Inputs, device: torch.device) -> float:
    """Measure the milliseconds per image to compute its feature or logits, for a batch that is already on the device.

    The network runs as in `evaluate`, in the precision of its weights; reading and decoding are not included.

    Args:
        model: on `device`.
        evaluation: its first images form the batch; if it ranks, the features are computed, else the logits.
        inputs: of all images of the evaluation's manifest.
        device: of the model and the batch.
    """
    images_BHWC, words_BL = inputs.at(evaluation.images[:IMAGES_OF_LATENCY], device)
    network = model.embed if evaluation.ranks else model.classify
    seconds = []
    with _evaluating(model):
        for _ in range(1 + REPEATS):
            start = time.perf_counter()
            network(images_BHWC, words_BL)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds[1:]) / len(images_BHWC)


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


def places_of_classes(logits_QC: Tensor, classes_Q: Tensor) -> Tensor:
    """Return the rank of the right class in the order of the logits, from 1; ties rank in the order of the classes."""
    own_Q1 = logits_QC.gather(1, classes_Q[:, None])
    before_QC = torch.arange(logits_QC.shape[1], device=logits_QC.device) < classes_Q[:, None]
    return ((logits_QC > own_Q1) | ((logits_QC == own_Q1) & before_QC)).sum(dim=1) + 1


def _parts(indices: np.ndarray, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, len(indices), size)]


@contextmanager
def _evaluating(model: Model) -> Iterator[None]:
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        yield
    model.train(was_training)
